"""The candidates' ids inside a graph: from names to rows and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

_LARGEST = np.iinfo(np.int64).max


class CandidateIds(tf.Module):
    """Looks up rows by id and ids by row.

    Ids are found by binary search over sorted keyed hashes, and compared as
    strings. Everything is a variable: no table has to be initialised, and no
    list of a million strings lies in the graph.

    Args:
        ids: N names, each once.
        name: Of the module.

    Raises:
        ValueError: There are none, or one comes twice.
    """

    def __init__(self, ids: Sequence[str], name: str = "candidate_ids") -> None:
        super().__init__(name=name)
        names = tf.constant(list(ids), tf.string)
        if not ids:
            raise ValueError("There are no candidates; expected at least one.")
        for key in range(100):
            self._key = [key, 0]
            hashes = self._hash(names).numpy()
            if len(np.unique(hashes)) == len(hashes):
                break
        else:
            raise ValueError("An id comes twice among the candidates; expected each once.")
        order = np.argsort(hashes)
        self.ids = tf.Variable(names, trainable=False, name="ids")
        self.hashes = tf.Variable(hashes[order], trainable=False, name="hashes")
        self.hash_row = tf.Variable(order.astype(np.int32), trainable=False, name="hash_row")
        self.size = len(order)

    def _hash(self, names: tf.Tensor) -> tf.Tensor:
        return tf.strings.to_hash_bucket_strong(names, _LARGEST, self._key)

    def rows(self, names: tf.Tensor) -> tf.Tensor:
        """Returns the row of each name: [...] string -> [...] int32, -1 if it is no candidate."""
        flat = tf.reshape(names, [-1])
        at = tf.minimum(tf.searchsorted(self.hashes, self._hash(flat)), self.size - 1)
        row = tf.gather(self.hash_row, at)
        found = tf.gather(self.ids, row) == flat
        return tf.reshape(tf.where(found, row, -1), tf.shape(names))

    def names(self, rows: tf.Tensor) -> tf.Tensor:
        """Returns the name of each row: [...] int32 -> [...] string, "" for negative rows."""
        return tf.where(rows < 0, "", tf.gather(self.ids, tf.maximum(rows, 0)))
