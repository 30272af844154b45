"""Small operations on transformed timelines."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from transforms import features as f

Timelines = dict[str, tf.RaggedTensor]

_EVENT = f.EVENT_ENTITY.rpartition("/")[0] + "/"


def known_events(timelines: Mapping[str, tf.RaggedTensor]) -> Timelines:
    """Leaves out events of unknown entities, which say next to nothing of what follows.

    Args:
        timelines: Transformed features of U timelines.

    Returns:
        The same without those events; repeated context counts the known ones.
    """
    events = timelines[f.EVENT_ENTITY]
    known = events.with_flat_values(events.flat_values > 0)
    kept = {
        name: tf.ragged.boolean_mask(values, known) if name.startswith(_EVENT) else values
        for name, values in timelines.items()
    }
    if f.CONTEXT_LENGTH in timelines:
        rows = tf.range(events.nrows())
        number = known_before(timelines, rows, context_lengths(timelines))
        kept[f.CONTEXT_LENGTH] = tf.RaggedTensor.from_tensor(number[:, None])
    return kept


def known_before(
    timelines: Mapping[str, tf.RaggedTensor], rows: tf.Tensor, ends: tf.Tensor
) -> tf.Tensor:
    """Counts the events of known entities before positions.

    Args:
        timelines: Transformed features of U timelines.
        rows: [N] int64, the timeline of each position.
        ends: [N] int64, positions among all of its events.

    Returns:
        [N] int64, the positions among `known_events`.
    """
    events = timelines[f.EVENT_ENTITY]
    known = tf.cast(events.flat_values > 0, tf.int64)
    before = tf.concat([[0], tf.cumsum(known)], axis=0)  # [E + 1]
    starts = tf.gather(events.row_starts(), rows)
    return tf.gather(before, starts + ends) - tf.gather(before, starts)


def context_lengths(timelines: Mapping[str, tf.RaggedTensor]) -> tf.Tensor:
    """Returns how many first events are repeated from an earlier chunk, [U] int64."""
    return timelines[f.CONTEXT_LENGTH].to_tensor(0, shape=[None, 1])[:, 0]


def is_one_of(types: tf.Tensor, chosen: tuple[int, ...]) -> tf.Tensor:
    """Says which event types are among the chosen: [...] int64 -> [...] bool."""
    return tf.reduce_any(tf.equal(types[..., None], tf.constant(chosen, tf.int64)), axis=-1)
