"""Selection of training events, and of those that may be targets."""

from __future__ import annotations

import re
from collections.abc import Sequence

import tensorflow as tf

from transforms.ragged import per_value
from transforms.ragged import positions

ANY = "*"


def counted_events(entities: tf.RaggedTensor, context_length: tf.Tensor) -> tf.Tensor:
    """Returns which events are counted: those that no earlier chunk of the user holds.

    Args:
        entities: [B, (events)] string.
        context_length: [B] int64, leading events repeated from the chunk before.

    Returns:
        [V] bool for the V events of the batch.
    """
    return positions(entities) >= per_value(context_length, entities)


def first_target(context_length: tf.Tensor, chunk: tf.Tensor) -> tf.Tensor:
    """Returns the index of the first event of a chunk that may be a target, [B] int64.

    The context that is repeated from an earlier chunk is none. Where a later chunk repeats
    nothing, its first event is none either, for its past is not there. A user's first
    event is one: it teaches what to recommend without a history.

    Args:
        context_length: [B] int64, leading events repeated from the chunk before.
        chunk: [B] int64, 0 for the first chunk of a user.
    """
    return tf.maximum(context_length, tf.cast(chunk > 0, tf.int64))


def target_events(
    entities: tf.RaggedTensor,
    types: tf.RaggedTensor,
    context_length: tf.Tensor,
    chunk: tf.Tensor,
    target_types: Sequence[str],
    candidate_types: Sequence[str],
) -> tf.Tensor:
    """Returns which events may be training targets.

    An event may be a target from `first_target` on, when its event type counts and when
    its entity is of a type that is retrieved.

    Args:
        entities: [B, (events)] string, `type:id`.
        types: [B, (events)] string, event types.
        context_length: [B] int64.
        chunk: [B] int64, 0 for the first chunk of a user.
        target_types: Event types that count; `*` is all.
        candidate_types: Entity types that are retrieved; `*` is all.

    Returns:
        [V] bool for the V events of the batch.
    """
    eligible = positions(entities) >= per_value(first_target(context_length, chunk), entities)
    if ANY not in target_types:
        eligible &= _among(types.flat_values, target_types)
    if ANY not in candidate_types:
        names = "|".join(re.escape(name) for name in candidate_types)
        eligible &= tf.strings.regex_full_match(entities.flat_values, f"(?s)(?:{names}):.*")
    return eligible


def _among(values: tf.Tensor, names: Sequence[str]) -> tf.Tensor:
    """Returns [V] bool, whether each of the [V] strings is one of the names."""
    return tf.reduce_any(tf.equal(values[:, None], tf.constant(list(names))[None, :]), axis=1)
