from __future__ import annotations

import pytest
import tensorflow as tf
from pydantic import ValidationError

from transforms.config import NgramConfig
from transforms.text import clean
from transforms.text import merge_texts
from transforms.text import ngrams
from transforms.text import words


def _ragged(rows):
    return tf.ragged.constant(rows, dtype=tf.string, ragged_rank=1, row_splits_dtype=tf.int64)


def _words(text, limit=32):
    return [word.decode() for word in words(clean(_ragged([[text]])), limit).to_list()[0][0]]


def test_words_are_lower_case_runs_of_letters_and_digits():
    assert _words("Toy Story 2 (1999)") == ["toy", "story", "2", "1999"]
    assert _words("  --  ") == []
    assert _words("") == []
    assert _words("ÉTÉ, naïve_Straße") == ["été", "naïve", "straße"]
    assert _words("東京 物語") == ["東京", "物語"]
    assert _words("line\nbreak\ttab\x00nul") == ["line", "break", "tab", "nul"]


def test_invalid_bytes_part_words():
    assert _words(b"caf\xe9 Noir\xff\xfe42") == ["caf", "noir", "42"]


def _ngrams(text, **config):
    tokens = words(clean(_ragged([[text, "x"]])), 32).values
    found = ngrams(tokens, NgramConfig(**config))
    assert found.row_splits.dtype == tf.int64 and found.nrows() == 2
    return [gram.decode() for gram in found.to_list()[0]]


def test_ngrams_are_runs_of_words_then_of_characters_within_a_word():
    assert _ngrams("Red hats", words=(2,), characters=(3,)) == [
        *["red hats"],
        *["<re", "red", "ed>", "<ha", "hat", "ats", "ts>"],
    ]
    assert _ngrams("a b c", words=(1, 2), characters=()) == ["a", "b", "c", "a b", "b c"]
    assert _ngrams("été", words=(), characters=(3, 4)) == ["<ét", "été", "té>", "<été", "été>"]
    assert _ngrams("red hats", words=(2,), characters=(3,), limit=3) == ["red hats", "<re", "red"]
    assert _ngrams("") == []


def test_ngrams_without_a_length_are_refused():
    for config in ({"words": (), "characters": ()}, {"words": (0,)}):
        with pytest.raises(ValidationError, match="lengths of 1 and more"):
            NgramConfig(**config)


def test_only_the_first_words_are_kept():
    assert _words("a b c d", limit=2) == ["a", "b"]


def test_shapes_follow_the_input():
    texts = _ragged([["a b", "c"], [], [""]])
    tokens = words(clean(texts), 8)
    assert tokens.to_list() == [[[b"a", b"b"], [b"c"]], [], [[]]]
    assert tokens.row_splits.dtype == tokens.values.row_splits.dtype == tf.int64
    assert merge_texts(tokens).to_list() == [[b"a", b"b", b"c"], [], []]
