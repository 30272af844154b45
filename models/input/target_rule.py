"""Selection and draw of training targets."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from models.input.timelines import Timelines
from models.input.timelines import context_lengths
from models.input.timelines import is_one_of
from transforms import features as f
from transforms.ragged import per_value
from transforms.ragged import positions
from transforms.targets import first_target

if TYPE_CHECKING:
    from models.config import RetrievalTrainerConfig
    from models.training.data import TrainingData


@dataclasses.dataclass(frozen=True)
class TargetRule:
    """Rule of the events that may be training targets, by index.

    Attributes:
        entities: [V + 1] bool, which entities may be targets.
        types: Indices of the event types that count; None is all.
    """

    entities: np.ndarray
    types: tuple[int, ...] | None = None

    @classmethod
    def of(cls, config: RetrievalTrainerConfig, data: TrainingData) -> TargetRule:
        """Makes the rule of a configuration.

        Raises:
            ValueError: The log has none of the event types that may be targets.
        """
        types = data.event_types(config.target_events)
        if types == ():
            raise ValueError(
                f"Expected `target_events` to name event types of the log, received "
                f"{list(config.target_events)}, none of which it has. Choose some of its event "
                "types, and the same for the example generator and Transform, or `*` for all."
            )
        return cls(data.target_counts > 0, types)

    def eligible(self, timelines: Timelines) -> tf.Tensor:
        """Says which events may be targets.

        An event may from `first_targets` on, when its type and its entity count.

        Args:
            timelines: Transformed features of U timelines with E events in all.

        Returns:
            [E] bool.
        """
        events = timelines[f.EVENT_ENTITY]
        chosen = positions(events) >= per_value(first_targets(timelines), events)
        chosen &= tf.gather(tf.constant(self.entities), events.flat_values)
        if self.types is not None:
            chosen &= is_one_of(timelines[f.EVENT_TYPE].flat_values, self.types)
        return chosen


def first_targets(timelines: Timelines) -> tf.Tensor:
    """Returns `transforms.targets.first_target` of each timeline, [U] int64."""
    first = context_lengths(timelines)
    if f.CHUNK not in timelines:
        return first
    chunk = timelines[f.CHUNK].to_tensor(0, shape=[None, 1])[:, 0]
    return first_target(first, chunk)


def draw_targets(
    timelines: Timelines, rule: TargetRule, limit: int, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws training targets of a pool of timelines, in random order.

    Args:
        timelines: Transformed features of U timelines.
        rule: Which events may be targets.
        limit: At most so many of a timeline; 0 takes all.
        seed: [2] int64.

    Returns:
        The timeline of each target and its position there, two [P] int64.
    """
    events = timelines[f.EVENT_ENTITY]
    index = tf.where(rule.eligible(timelines))[:, 0]  # [P]
    rows = tf.gather(events.value_rowids(), index)
    if limit:
        # Rows apart, in random order within a row: the first `limit` of each stay.
        draw = tf.random.stateless_uniform(tf.shape(index), seed, dtype=tf.float64)
        order = tf.argsort(tf.cast(rows, tf.float64) + draw)
        ordered = tf.gather(rows, order)
        rank = tf.range(tf.size(order)) - tf.searchsorted(ordered, ordered, side="left")
        kept = tf.boolean_mask(order, rank < limit)
        index, rows = tf.gather(index, kept), tf.gather(rows, kept)
    # Another draw: the one that chose would put targets drawn from many before all others.
    order = tf.argsort(tf.random.stateless_uniform(tf.shape(index), seed + 1))
    rows, index = tf.gather(rows, order), tf.gather(index, order)
    return rows, index - tf.gather(events.row_starts(), rows)
