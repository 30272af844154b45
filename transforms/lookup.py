"""A vocabulary and its lookup: index 0 is unknown or none, the others follow frequency."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_transform as tft


class Vocabulary:
    """A vocabulary that is counted once and looked up by any number of features.

    All features share one lookup table, so that a million entities are in
    memory once, whatever the number of features that name entities.

    Args:
        name: The vocabulary's name, by which `tft.TFTransformOutput` finds it.
        values: [V] string, what is counted; the empty string never is.
        weights: [V] int64, how much a value counts; a weight of 0 brings a
            value into the vocabulary without a count. 1 each when None.
        top_k: How many of the most frequent values are kept.
        min_count: Values that count less are left out.
        oov_buckets: Indices after the vocabulary's among which a hash deals
            out the values that it lacks; with 0 they share index 0.
    """

    def __init__(
        self,
        name: str,
        values: tf.Tensor,
        weights: tf.Tensor | None = None,
        *,
        top_k: int,
        min_count: int = 1,
        oov_buckets: int = 0,
    ) -> None:
        self._file = count(name, values, weights, top_k=top_k, min_count=min_count)
        self._oov_buckets = oov_buckets
        self._table: tf.lookup.StaticHashTable | None = None

    def __call__(self, values: tf.RaggedTensor) -> tf.RaggedTensor:
        """Replaces strings by indices.

        Args:
            values: Ragged tensor of any rank, string.

        Returns:
            The same shape, int64: 1 + the line of the vocabulary's file, 0 for
            the empty string and (without hash buckets) for unknown values.
        """
        return tft.apply_vocabulary(values, self._file, default_value=0, lookup_fn=self._look_up)

    def _look_up(
        self, values: tf.RaggedTensor, path: tf.Tensor
    ) -> tuple[tf.RaggedTensor, tf.Tensor]:
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


def count(
    name: str,
    values: tf.Tensor,
    weights: tf.Tensor | None = None,
    *,
    top_k: int,
    min_count: int = 1,
    store_frequency: bool = False,
) -> tf.Tensor:
    """Counts values over the analysed splits and writes them by descending count.

    Weights are always given to Transform: it then sums them per batch inside
    the graph, where without weights every single value would go through Beam.

    Args:
        name: Name of the vocabulary file.
        values: [V] string; empty strings and those with line breaks are left out.
        weights: [V] int64; 1 each when None.
        top_k: How many of the most frequent values are kept.
        min_count: Values that count less are left out.
        store_frequency: Whether lines are `count value` instead of `value`.

    Returns:
        The deferred path of the file, scalar string.
    """
    if weights is None:
        weights = tf.ones_like(values, dtype=tf.int64)
    return tft.vocabulary(
        values,
        weights=weights,
        top_k=top_k,
        frequency_threshold=min_count if min_count > 1 else None,
        vocab_filename=name,
        store_frequency=store_frequency,
    )


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
