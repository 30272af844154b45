"""A vocabulary's lookup: index 0 is unknown or none, the others follow frequency."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_transform as tft

from transforms.config import NgramConfig
from transforms.text import ngrams


class Lookup:
    """Replaces values by their indices in one vocabulary.

    All features share one table, so that a million entities are in memory
    once, whatever the number of features that name entities.

    Args:
        path: The deferred path of the vocabulary's file, scalar string.
        oov_buckets: Indices after the vocabulary's among which a hash deals
            out the values that it lacks; with 0 they share index 0.
        ngrams: Which n-grams of words get an index, too, after all others'.
    """

    def __init__(
        self, path: tf.Tensor, oov_buckets: int = 0, ngrams: NgramConfig | None = None
    ) -> None:
        self._path = path
        self._oov_buckets = oov_buckets
        self._ngrams = ngrams
        self._table: tf.lookup.StaticHashTable | None = None

    def __call__(self, values: tf.RaggedTensor) -> tf.RaggedTensor:
        """Looks values up.

        Args:
            values: Ragged tensor of any rank, string.

        Returns:
            The same shape, int64: 1 + the line of the vocabulary's file, 0 for
            the empty string and (without hash buckets) for unknown values. With n-grams each
            innermost row goes on with theirs.
        """
        return tft.apply_vocabulary(values, self._path, default_value=0, lookup_fn=self._look_up)

    def _look_up(
        self, values: tf.RaggedTensor, path: tf.Tensor
    ) -> tuple[tf.RaggedTensor, tf.Tensor]:
        """Returns the indices and how many there are; Transform keeps the number as a domain."""
        if self._table is None:
            self._table = _make_table(path)
        flat = values.flat_values
        size = self._table.size() + 1
        index = self._table.lookup(flat) + 1  # [V]
        if self._oov_buckets:
            bucket = size + tf.strings.to_hash_bucket_fast(flat, self._oov_buckets)
            unknown = tf.equal(index, 0) & tf.not_equal(flat, "")
            index = tf.where(unknown, bucket, index)
        size += self._oov_buckets
        found = values.with_flat_values(index)
        if self._ngrams is None:
            return found, size
        return _with_ngrams(values, found, size, self._ngrams), size + self._ngrams.buckets


def _with_ngrams(
    words: tf.RaggedTensor, index: tf.RaggedTensor, size: tf.Tensor, config: NgramConfig
) -> tf.RaggedTensor:
    """Appends indices of n-grams, from `size` on, to those of words; both ragged to the words."""
    if words.ragged_rank > 1:
        return words.with_values(_with_ngrams(words.values, index.values, size, config))
    found = ngrams(words, config)
    bucket = size + tf.strings.to_hash_bucket_fast(found.flat_values, config.buckets)
    return tf.concat([index, found.with_flat_values(bucket)], axis=1)


def _make_table(path: tf.Tensor) -> tf.lookup.StaticHashTable:
    def make() -> tf.lookup.StaticHashTable:
        initializer = tf.lookup.TextFileInitializer(
            path,
            key_dtype=tf.string,
            key_index=tf.lookup.TextFileIndex.WHOLE_LINE,
            value_dtype=tf.int64,
            value_index=tf.lookup.TextFileIndex.LINE_NUMBER,
        )
        return tf.lookup.StaticHashTable(initializer, default_value=-1)

    if tf.inside_function() and not tf.is_symbolic_tensor(path):
        # The file is there already: the table is made once, not in every call.
        with tf.init_scope():
            return make()
    return make()
