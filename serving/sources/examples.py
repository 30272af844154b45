"""Examples that the combination is learned from: held-out items of the validation split."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from serving.index.candidates import CandidateIds
from serving.index.embedding.records import read_batches
from serving.sources.features import bucket_of
from serving.sources.fitting import Examples
from serving.sources.joined import Described
from transforms import features
from transforms.timelines import without_history

_BATCH = 128
Describe = Callable[[tf.Tensor], tuple[Described, tf.Tensor]]


def collect(
    describe: Describe,
    candidates: CandidateIds,
    files: Sequence[str],
    count: int,
    without: int = 0,
) -> Examples:
    """Describes the candidates of validation timelines.

    Few logs hold out events of users of whom nothing is known, and every shop has such users: so
    the first timelines are asked a second time without history.

    Args:
        describe: The servable's graph: [B] serialised timelines to candidates, with their
            features, and the [B] int64 lengths of the histories.
        candidates: Ids of the index.
        files: TFRecord files of raw timelines with targets.
        count: Timelines at most.
        without: How many of them are asked again.

    Raises:
        ValueError: No timeline has a target.
    """
    parts = [_describe(describe, candidates, batch) for batch in _batches(files, count, without)]
    parts = [part for part in parts if len(part.user)]
    if not parts:
        raise ValueError(
            "Expected held-out targets in the split `validation`, found none: sources cannot be "
            "combined. Set `retrieval.sources.enabled: false`, or hold events out."
        )
    width = max(part.target.shape[1] for part in parts)
    most = max(part.real.shape[1] for part in parts)
    return Examples(
        **{
            name: np.concatenate([_widened(part, name, most, width) for part in parts])
            for name in Examples.__dataclass_fields__
        }
    )


def _batches(files: Sequence[str], count: int, without: int) -> Iterator[list[bytes]]:
    """Yields batches of timelines, and again the first ones without their histories."""
    for batch in read_batches(files, _BATCH, count):
        yield list(batch)
    for batch in read_batches(files, _BATCH, min(count, without)):
        yield [without_history(one) for one in batch]


def _describe(describe: Describe, candidates: CandidateIds, batch: list[bytes]) -> Examples:
    spec = {
        features.TARGET_ENTITY: tf.io.RaggedFeature(tf.string, row_splits_dtype=tf.int64),
        features.USER_ID: tf.io.FixedLenFeature([], tf.string, ""),
    }
    parsed = tf.io.parse_example(batch, spec)
    targets = parsed[features.TARGET_ENTITY]
    present = tf.sequence_mask(targets.row_lengths()).numpy()  # [b, M]
    asked = present.any(axis=1)
    described, length = describe(tf.constant(batch))
    rows, values = described.rows.numpy(), described.features.numpy()
    real = (rows >= 0) & np.isfinite(values).all(axis=2)  # the servable answers none of the others
    wanted = candidates.rows(targets.to_tensor("")).numpy()  # [b, M]
    wanted = np.where(present, wanted, -1)
    same = (rows[:, None, :] == wanted[:, :, None]) & (wanted >= 0)[:, :, None]
    same &= real[:, None, :]  # [b, M, U]
    found = Examples(
        features=np.where(real[:, :, None], values, 0.0),
        real=real,
        sources=described.sources.numpy(),
        bucket=bucket_of(length).numpy(),
        target=np.where(same.any(axis=2), same.argmax(axis=2), -1).astype(np.int32),
        present=present,
        user=np.array([zlib.crc32(name) for name in parsed[features.USER_ID].numpy()], np.int64),
    )
    return found.where(asked)


def _widened(part: Examples, name: str, most: int, width: int) -> np.ndarray:
    """Pads candidates to `most` and targets to `width`."""
    value: np.ndarray = getattr(part, name)
    if value.ndim == 1:
        return value
    wanted = width if name in ("target", "present") else most
    pad = [(0, 0)] * value.ndim
    pad[1] = (0, wanted - value.shape[1])
    return np.pad(value, pad, constant_values=-1 if name == "target" else 0)
