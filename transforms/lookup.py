"""A vocabulary's lookup: index 0 is unknown or none, the others follow frequency."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_transform as tft


class Lookup:
    """Replaces values by their indices in one vocabulary.

    All features share one table, so that a million entities are in memory
    once, whatever the number of features that name entities.

    Args:
        path: The deferred path of the vocabulary's file, scalar string.
        oov_buckets: Indices after the vocabulary's among which a hash deals
            out the values that it lacks; with 0 they share index 0.
    """

    def __init__(self, path: tf.Tensor, oov_buckets: int = 0) -> None:
        self._path = path
        self._oov_buckets = oov_buckets
        self._table: tf.lookup.StaticHashTable | None = None

    def __call__(self, values: tf.RaggedTensor) -> tf.RaggedTensor:
        """Looks values up.

        Args:
            values: Ragged tensor of any rank, string.

        Returns:
            The same shape, int64: 1 + the line of the vocabulary's file, 0 for
            the empty string and (without hash buckets) for unknown values.
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
        return values.with_flat_values(index), size + self._oov_buckets


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
