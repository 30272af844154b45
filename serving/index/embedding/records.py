"""Reads serialised examples from the files of a split."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def split_files(folder: str | Path) -> list[str]:
    """Returns the record files of a split's directory, sorted.

    Raises:
        FileNotFoundError: There are none.
    """
    found = sorted(str(file) for file in Path(folder).glob("*") if file.is_file())
    if not found:
        raise FileNotFoundError(
            f"`{folder}` holds no record files. Did the example generator write this split?"
        )
    return found


def read_batches(files: Sequence[str], size: int, limit: int | None = None) -> Iterator[np.ndarray]:
    """Reads serialised examples in batches, in the order of the files.

    Args:
        files: TFRecord files, gzip if their names end in `.gz`.
        size: Records of a batch.
        limit: Records in all, or None for every one.

    Yields:
        [<= size] bytes objects.
    """
    import tensorflow as tf

    left = limit
    for file in files:
        records = tf.data.TFRecordDataset(file, "GZIP" if file.endswith(".gz") else "")
        if left is not None:
            records = records.take(left)
        for batch in records.batch(size).as_numpy_iterator():
            left = None if left is None else left - len(batch)
            yield batch
        if left == 0:
            return
