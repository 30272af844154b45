"""Reads files of transformed timelines, many at a time."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

import tensorflow as tf

from models.training.replicas import WHOLE
from models.training.replicas import InputPart
from transforms import features as f

Spec = Mapping[str, tf.io.RaggedFeature]
Batch = Mapping[str, tf.Tensor]

_HELD = 2 << 30  # bytes of batches that stay in memory


def timeline_records(
    files: Sequence[str], shuffle_seed: int | None = None, part: InputPart = WHOLE
) -> tf.data.Dataset:
    """Reads serialised timelines.

    Args:
        files: Gzipped TFRecord files.
        shuffle_seed: Of the order of the files, anew in each epoch; sorted without it.
        part: Which of the timelines are read.

    Returns:
        Dataset of scalar strings, in the same order for the same seed.

    Raises:
        ValueError: There is no file.
    """
    if not files:
        raise ValueError(
            "Expected files of transformed timelines, found none. Check that the Trainer gets "
            "the artifact of Transform with the splits `train`, `validation` and `catalogue`."
        )
    paths = tf.data.Dataset.from_tensor_slices(sorted(files))
    if shuffle_seed is not None:
        paths = paths.shuffle(len(files), seed=shuffle_seed)
    records = paths.interleave(
        lambda path: tf.data.TFRecordDataset(path, "GZIP"),
        cycle_length=4,
        block_length=64,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    return records.shard(part.number, part.index)


def parsed_timelines(
    records: tf.data.Dataset, spec: Spec, size: int, wanted: Sequence[str]
) -> tf.data.Dataset:
    """Parses timelines, `size` at a time.

    Args:
        records: Of `timeline_records`.
        spec: The transformed feature spec.
        size: Timelines that are parsed together.
        wanted: The features that are read; those that the spec lacks are left out.

    Returns:
        Dataset of dictionaries of ragged tensors, [size, (values)] each.
    """
    chosen = {name: spec[name] for name in (*wanted, f.CHUNK, f.CONTEXT_LENGTH) if name in spec}
    return records.batch(size).map(
        lambda batch: tf.io.parse_example(batch, chosen), num_parallel_calls=tf.data.AUTOTUNE
    )


def held_in_memory(batches: tf.data.Dataset, most: int = _HELD) -> Iterable[Batch]:
    """Reads batches once where they fit memory; where not, each iteration reads them anew.

    Args:
        batches: Dataset of dictionaries of dense tensors, the same in each iteration.
        most: Bytes that may be held.

    Returns:
        The batches, to be iterated over any number of times.
    """
    held, size = [], 0
    for batch in batches:
        size += sum(values.dtype.size * int(tf.size(values)) for values in batch.values())
        if size > most:
            return batches
        held.append(batch)
    return held
