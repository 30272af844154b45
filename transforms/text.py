"""Words of titles and queries."""

from __future__ import annotations

import tensorflow as tf

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


def merge_texts(tokens: tf.RaggedTensor) -> tf.RaggedTensor:
    """Joins the words of a row's texts: [B, (texts), (words)] -> [B, (words)]."""
    return tokens.merge_dims(1, 2)
