"""Features of a candidate for a request, which the combination weighs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from serving.sources.history import NewestEvents

TOWER, NEIGHBOURS, NEIGHBOURS_STRONG = "tower", "neighbours", "neighbours_strong"
NEIGHBOURS_OF_LAST = "neighbours_of_last"
POPULARITY, UNSEEN, FRESHNESS = "popularity", "unseen", "freshness"
REPEAT_COUNT, REPEAT_DECAYED = "repeat_count", "repeat_decayed"
REPEAT_HABIT, REPEAT_RECENCY = "repeat_habit", "repeat_recency"
REPEAT_NEIGHBOURS, REPEAT_OF_LAST = "repeat_neighbours", "repeat_of_last"
# The newest event of the candidate lies so many events back, at least; 0 is the last event.
STEPS = (0, 1, 2, 3, 5, 10)
REPEAT_STEPS = tuple(f"repeat_{step}_back" for step in STEPS)
FEATURES = (
    TOWER,
    NEIGHBOURS,
    NEIGHBOURS_STRONG,
    NEIGHBOURS_OF_LAST,
    POPULARITY,
    UNSEEN,
    FRESHNESS,
    REPEAT_COUNT,
    REPEAT_DECAYED,
    REPEAT_HABIT,
    REPEAT_RECENCY,
    REPEAT_NEIGHBOURS,
    REPEAT_OF_LAST,
    *REPEAT_STEPS,
)
# Weights of these are not negative. What goes with them may be: of items in the history neighbours
# are weighed freely, and so is that training had no event of an item.
MONOTONE = frozenset(
    {
        TOWER,
        NEIGHBOURS,
        NEIGHBOURS_STRONG,
        NEIGHBOURS_OF_LAST,
        POPULARITY,
        REPEAT_COUNT,
        REPEAT_DECAYED,
    }
)
# Events of a history from which a bucket begins.
BUCKETS = (0, 1, 3, 10)

_WEAK, _STRONG = 1e-4, 1e-2  # shares of neighbours' weight at which the logarithm bends
_REPEAT_DECAY = 0.6  # weight of an occurrence over that of the next newer event
_HOUR, _DAY = 3.6e9, 8.64e10  # microseconds
_OLDEST_DAYS = 1_000.0
_LONGEST_HOURS = 10_000.0


class Repeats(NamedTuple):
    """Occurrences of candidates in the newest events of the same user.

    Attributes:
        count: [B, U] float32.
        decayed: [B, U] float32, the same with each occurrence weighed by `0.6 ** steps back`.
        habit: [B, 1] float32, share of the events whose entity came before them.
        steps: [B, U] int32, how many events back the newest one is; R where there is none.
        timestamp: [B, U] int64, microseconds, of the newest one; 0 where there is none.
        width: R, how many of the newest events were looked at.
    """

    count: tf.Tensor
    decayed: tf.Tensor
    habit: tf.Tensor
    steps: tf.Tensor
    timestamp: tf.Tensor
    width: int


def find_repeats(rows: tf.Tensor, newest: NewestEvents) -> Repeats:
    """Looks candidates up in histories.

    Args:
        rows: [B, U] int32, -1 in padding.
        newest: [B, R] events.
    """
    width = newest.rows.shape[1]
    same = (rows[:, :, None] == newest.rows[:, None, :]) & (rows >= 0)[:, :, None]  # [B, U, R]
    steps = tf.reduce_min(tf.where(same, tf.range(width), width), 2)
    times = tf.pad(newest.timestamps, [[0, 0], [0, 1]])  # [B, R + 1]
    decay = _REPEAT_DECAY ** np.arange(width, dtype=np.float32)
    weights = tf.constant(np.stack([np.ones(width, np.float32), decay], 1))  # [R, 2]
    sums = tf.linalg.matmul(tf.cast(same, tf.float32), weights)  # [B, U, 2]
    return Repeats(
        count=sums[:, :, 0],
        decayed=sums[:, :, 1],
        habit=_habit(newest),
        steps=steps,
        timestamp=tf.gather(times, steps, batch_dims=1),
        width=width,
    )


def _habit(newest: NewestEvents) -> tf.Tensor:
    """Returns the share of the newest events whose entity came before: [B, 1] float32."""
    real = newest.rows >= 0  # [B, R]
    same = newest.rows[:, :, None] == newest.rows[:, None, :]
    older = np.triu(np.ones(same.shape[1:], bool), 1)  # later in the list is older
    again = tf.reduce_any(same & older, 2) & real
    count = tf.reduce_sum(tf.cast(tf.stack([again, real], 1), tf.float32), 2)  # [B, 2]
    return tf.math.divide_no_nan(count[:, :1], count[:, 1:])


def make_features(
    tower: tf.Tensor,
    share: tf.Tensor,
    events: tf.Tensor,
    age: tf.Tensor | None,
    repeats: Repeats,
    request_time: tf.Tensor,
) -> tf.Tensor:
    """Makes the features of candidates, in the order of `FEATURES`.

        neighbours           log(1 + share / 1e-4)
        neighbours_strong    log(1 + share / 1e-2), of items that the history does not have
        neighbours_of_last   the same of the newest event's neighbours alone
        repeat_neighbours    `neighbours_strong` of items that the history has: what was seen
                             together are neighbours anyway, so it may count less or against
        repeat_of_last       `neighbours_of_last` of these
        popularity           log(1 + training events)
        unseen               1 where training had none, of which counts say nothing, and else 0
        freshness            log(1001 / (1 + days)), days up to 1,000; 0 where nobody knows
        repeat_count         log(1 + occurrences in the history)
        repeat_decayed       log(1 + 100 sum over occurrences of 0.6 ** steps back)
        repeat_habit         share of the history that repeats, where the history has it; else 0
        repeat_recency       log(10001 / (1 + hours since the newest one)); 0 for none
        repeat_<n>_back      1 where the newest one lies n events back or more, up to the next n

    Args:
        tower: [B, U] float32, the tower's scores.
        share: [B, U, 2] float32, share of the weight of all neighbours, and of those of the
            newest event.
        events: [B, U] int64, training events.
        age: [B, U] int64, microseconds since a candidate became available, < 0 for unknown;
            None if nobody knows any.
        repeats: Of the candidates.
        request_time: [B] int64, microseconds; 0 or less is no moment.

    Returns:
        [B, U, F] float32.
    """
    known = repeats.count > 0.0
    since = tf.cast(tf.maximum(request_time[:, None] - repeats.timestamp, 0), tf.float32) / _HOUR
    timed = known & (request_time > 0)[:, None]
    fresh = tf.zeros_like(tower) if age is None else freshness(age)
    recent = np.log1p(_LONGEST_HOURS) - tf.math.log1p(tf.minimum(since, _LONGEST_HOURS))
    scaled = [
        share[:, :, 0] / _WEAK,
        tf.cast(events, tf.float32),
        repeats.count,
        100.0 * repeats.decayed,
        share[:, :, 0] / _STRONG,
        share[:, :, 1] / _STRONG,
    ]
    # One logarithm of all: on one request, operations cost more than what they compute.
    neighbours, popularity, count, decayed, strong, of_last = tf.unstack(
        tf.math.log1p(tf.stack(scaled)), axis=0
    )
    columns = [
        tower,
        neighbours,
        tf.where(known, 0.0, strong),
        tf.where(known, 0.0, of_last),
        popularity,
        tf.cast(events == 0, tf.float32),
        fresh,
        count,
        decayed,
        tf.where(known, repeats.habit, 0.0),
        tf.where(timed, recent, 0.0),
        tf.where(known, strong, 0.0),
        tf.where(known, of_last, 0.0),
    ]
    return tf.concat([tf.stack(columns, axis=-1), _steps_back(repeats)], axis=-1)


def _steps_back(repeats: Repeats) -> tf.Tensor:
    """Returns the features `REPEAT_STEPS`, [B, U, 6], by looking the steps up in a table."""
    steps = np.arange(repeats.width)
    bucket = np.searchsorted(STEPS, steps, side="right") - 1
    table = np.zeros((repeats.width + 1, len(STEPS)), np.float32)  # the last row is for none
    table[steps, bucket] = 1.0
    return tf.gather(tf.constant(table), repeats.steps)


def freshness(age: tf.Tensor) -> tf.Tensor:
    """Turns ages in microseconds into the feature; 0 for negative ones, which are unknown."""
    days = tf.minimum(tf.cast(age, tf.float32) / _DAY, _OLDEST_DAYS)
    fresh = np.float32(np.log1p(_OLDEST_DAYS)) - tf.math.log1p(tf.maximum(days, 0.0))
    return tf.where(age < 0, 0.0, fresh)


def bucket_of(length: tf.Tensor) -> tf.Tensor:
    """Returns the bucket of each history by its number of events: [B] int64 -> [B] int32."""
    edges = tf.constant(BUCKETS[1:], tf.int64)
    return tf.reduce_sum(tf.cast(length[:, None] >= edges[None], tf.int32), axis=1)
