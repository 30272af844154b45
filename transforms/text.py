"""Words and n-grams of titles and queries."""

from __future__ import annotations

import tensorflow as tf

from transforms.config import NgramConfig

# Letters, digits and the marks that combine with letters make a word.
_NOT_A_WORD = r"[^\p{L}\p{M}\p{N}]+"


def clean(text: tf.RaggedTensor) -> tf.RaggedTensor:
    """Normalises text: valid UTF-8, lower case, words parted by single spaces.

    Invalid bytes part words like punctuation does.

    Args:
        text: Ragged tensor of any rank, string.

    Returns:
        The same shape, string.
    """
    flat = tf.strings.unicode_transcode(
        text.flat_values, "UTF-8", "UTF-8", errors="replace", replace_control_characters=True
    )
    flat = tf.strings.lower(flat, encoding="utf-8")
    flat = tf.strings.strip(tf.strings.regex_replace(flat, _NOT_A_WORD, " "))
    return text.with_flat_values(flat)


def words(cleaned: tf.RaggedTensor, limit: int) -> tf.RaggedTensor:
    """Splits cleaned texts into words.

    Args:
        cleaned: [B, (texts)] string from `clean`.
        limit: How many words of a text are kept.

    Returns:
        [B, (texts), (words)] string, row splits int64.
    """
    split = tf.strings.split(cleaned.flat_values)  # [V, (words)]
    return cleaned.with_flat_values(split[:, :limit])


def ngrams(tokens: tf.RaggedTensor, config: NgramConfig) -> tf.RaggedTensor:
    """Finds the n-grams of texts: runs of words, and of the characters of each word.

    Args:
        tokens: [V, (words)] string, words of a text in each row.
        config: Which n-grams.

    Returns:
        [V, (n-grams)] string: runs of words with spaces between, then `<re`, `red`, `ed>`.
    """
    found = []
    if config.words:
        found.append(tf.strings.ngrams(tokens, config.words, separator=" "))
    if config.characters:
        marked = tf.strings.join(["<", tokens.flat_values, ">"])
        characters = tf.strings.unicode_split(marked, "UTF-8")  # [W, (characters)]
        runs = tf.strings.ngrams(characters, config.characters, separator="")
        found.append(tokens.with_values(runs).merge_dims(1, 2))
    return tf.concat(found, axis=1)[:, : config.limit]


def merge_texts(tokens: tf.RaggedTensor) -> tf.RaggedTensor:
    """Joins the words of a row's texts: [B, (texts), (words)] -> [B, (words)]."""
    return tokens.merge_dims(1, 2)
