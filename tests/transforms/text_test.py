from __future__ import annotations

import tensorflow as tf

from transforms.text import clean
from transforms.text import merge_texts
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


def test_only_the_first_words_are_kept():
    assert _words("a b c d", limit=2) == ["a", "b"]


def test_shapes_follow_the_input():
    texts = _ragged([["a b", "c"], [], [""]])
    tokens = words(clean(texts), 8)
    assert tokens.to_list() == [[[b"a", b"b"], [b"c"]], [], [[]]]
    assert tokens.row_splits.dtype == tokens.values.row_splits.dtype == tf.int64
    assert merge_texts(tokens).to_list() == [[b"a", b"b", b"c"], [], []]
