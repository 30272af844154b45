"""Reads the training timelines of a file as events of whole users."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from typing import NamedTuple

import numpy as np

from serving.index.config import EVERY
from serving.index.embedding.records import read_batches
from serving.sources.config import CountingConfig
from transforms import features
from transforms.arrow import pa

_BATCH = 256  # timelines


class UserEvents(NamedTuple):
    """Counted events of whole users, oldest first within each.

    Attributes:
        user: [E] int64, ascending numbers of users.
        entity: [E] binary array, `type:id`.
        time: [E] int64, microseconds.
    """

    user: np.ndarray
    entity: pa.Array
    time: np.ndarray


def read_users(file: str, config: CountingConfig) -> Iterator[UserEvents]:
    """Yields the counted events of a file's users, each event and each user once.

    The example generator writes the chunks of a long user one after the other into one
    file, and a chunk begins with events of the one before (`context_length`), which are
    left out here: a pair that two chunks divide is a pair like any other.

    Args:
        file: TFRecord file of raw timelines.
        config: Which events count, and how many of a user.
    """
    waiting: list[UserEvents] = []  # the last user may go on in the next batch
    users = 0  # that have begun
    for records in read_batches([file], _BATCH):
        begun, events = _parse(records, config)
        events = events._replace(user=events.user + users)
        users += begun
        joined = _newest(_join([*waiting, events]), config.user_events)
        last = int(np.searchsorted(joined.user, users - 1))
        if last:
            yield _part(joined, slice(0, last))
        waiting = [_part(joined, slice(last, None))]
    if waiting and len(waiting[0].user):
        yield waiting[0]


def _parse(records: np.ndarray, config: CountingConfig) -> tuple[int, UserEvents]:
    """Returns how many users begin in a batch, and its events; -1 is the user before."""
    import tensorflow as tf

    def ragged(dtype: Any) -> Any:
        return tf.io.RaggedFeature(dtype, row_splits_dtype=tf.int64)

    read_types = EVERY not in config.event_types
    spec = {
        features.EVENT_ENTITY: ragged(tf.string),
        features.EVENT_TIMESTAMP: ragged(tf.int64),
        features.CONTEXT_LENGTH: tf.io.FixedLenFeature([], tf.int64, 0),
        features.CHUNK: tf.io.FixedLenFeature([], tf.int64, 0),
    }
    if read_types:
        spec[features.EVENT_TYPE] = ragged(tf.string)
    parsed = tf.io.parse_example(tf.constant(records, tf.string), spec)
    entities = parsed[features.EVENT_ENTITY]
    begins = parsed[features.CHUNK].numpy() == 0
    lengths = entities.row_lengths().numpy()
    position = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    counted = position >= np.repeat(parsed[features.CONTEXT_LENGTH].numpy(), lengths)
    if read_types:
        types = parsed[features.EVENT_TYPE].flat_values.numpy()
        counted &= np.isin(types, [name.encode() for name in config.event_types])
    user = np.repeat(np.cumsum(begins) - 1, lengths)[counted]
    names = pa.array(entities.flat_values.numpy()[counted], pa.binary())
    time = parsed[features.EVENT_TIMESTAMP].flat_values.numpy()[counted]
    return int(begins.sum()), UserEvents(user, names, time)


def _join(parts: list[UserEvents]) -> UserEvents:
    user, entity, time = zip(*parts, strict=True)
    return UserEvents(np.concatenate(user), pa.concat_arrays(entity), np.concatenate(time))


def _newest(events: UserEvents, most: int) -> UserEvents:
    """Keeps the newest events of each user."""
    end = np.searchsorted(events.user, events.user, side="right")
    kept = end - np.arange(len(end)) <= most
    if kept.all():
        return events
    return UserEvents(events.user[kept], events.entity.filter(pa.array(kept)), events.time[kept])


def _part(events: UserEvents, part: slice) -> UserEvents:
    return UserEvents(events.user[part], events.entity[part], events.time[part])
