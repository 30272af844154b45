"""Cuts windows out of timelines: what a user did before a moment, newest first."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import tensorflow as tf

from models.input import batch as b
from models.input.timelines import is_one_of
from models.input.timelines import known_events
from transforms import features as f
from transforms import names

ALL = -1  # every event, however many


@dataclasses.dataclass(frozen=True)
class WindowSpec:
    """Contents of a window.

    Attributes:
        window: T, the most recent events.
        seen: S, the most recent events whose entities count as seen; `ALL` is
            as many as the longest history of a batch, 0 leaves them out.
        use_time: Whether ages are cut.
        attributes: A, the user's attributes; 0 leaves them out.
        query_tokens: Q, the query's words; 0 leaves them out.
        seen_types: Indices of the event types that count as seen; None is all.
        use_value: Whether the values of events are cut.
        event_query_tokens: Words of the query that led to an event; 0 leaves them out.
    """

    window: int
    seen: int = 0
    use_time: bool = False
    attributes: int = 0
    query_tokens: int = 0
    seen_types: tuple[int, ...] | None = None
    use_value: bool = False
    event_query_tokens: int = 0

    @property
    def timeline_features(self) -> tuple[str, ...]:
        """The transformed features of a timeline that such windows are cut from."""
        wanted = [f.EVENT_ENTITY, f.EVENT_TYPE]
        if self.use_time:
            wanted += [f.EVENT_TIMESTAMP, f.REQUEST_TIME]
        if self.use_value:
            wanted.append(f.EVENT_VALUE)
        if self.attributes:
            wanted.append(f.USER_ATTRIBUTES)
        if self.query_tokens:
            wanted.append(names.REQUEST_QUERY_TOKENS)
        if self.event_query_tokens:
            wanted.append(names.EVENT_QUERY_TOKENS)
        return tuple(wanted)


def cut_windows(
    timelines: Mapping[str, tf.RaggedTensor],
    rows: tf.Tensor,
    ends: tf.Tensor,
    spec: WindowSpec,
    request_time: tf.Tensor | None = None,
) -> dict[str, tf.Tensor]:
    """Cuts the events before given positions.

    Args:
        timelines: Transformed features of U timelines, each [U, (values)].
        rows: [B] int64, the timeline of each window.
        ends: [B] int64, the position of the first event that is not in the window,
            counted from the oldest.
        spec: What windows hold.
        request_time: [B] int64, microseconds, from which ages count; where it is
            None or not positive they count from the newest event of the window.

    Returns:
        By name (`models.input.batch`), tensors with B rows.
    """
    events = timelines[f.EVENT_ENTITY]
    starts = tf.gather(events.row_starts(), rows)  # [B]
    index, valid = _indices(starts, ends, spec.window)
    entity = _take(events.flat_values, index, valid)  # [B, T]
    cut = {
        b.HISTORY_ENTITY: entity,
        b.HISTORY_TYPE: _take(timelines[f.EVENT_TYPE].flat_values, index, valid),
        b.HISTORY_LENGTH: tf.minimum(ends, spec.window),
    }
    if spec.use_time:
        times = _take(timelines[f.EVENT_TIMESTAMP].flat_values, index, valid)
        cut[b.HISTORY_AGE] = _ages(times, valid, request_time)
    if spec.use_value:
        cut[b.HISTORY_VALUE] = _take(timelines[f.EVENT_VALUE].flat_values, index, valid)
    if spec.event_query_tokens:
        words = timelines[names.EVENT_QUERY_TOKENS].values  # of the E events of all timelines
        cut[b.HISTORY_QUERY] = _take_words(words, index, valid, spec.event_query_tokens)
    if spec.seen:
        cut[b.SEEN_ENTITY] = _seen(timelines, starts, ends, spec)
    if spec.attributes:
        cut[b.USER_ATTRIBUTES] = _rows(timelines[f.USER_ATTRIBUTES], rows, spec.attributes)
    if spec.query_tokens:
        tokens = timelines[names.REQUEST_QUERY_TOKENS]
        cut[b.QUERY_TOKENS] = _rows(tokens, rows, spec.query_tokens)
    return cut


def cut_last_windows(
    timelines: Mapping[str, tf.RaggedTensor], spec: WindowSpec
) -> dict[str, tf.Tensor]:
    """Cuts one window a timeline, which ends with its newest event of a known entity.

    Args:
        timelines: Transformed features of B timelines, each [B, (values)].
        spec: What windows hold.

    Returns:
        By name (`models.input.batch`), tensors with B rows.
    """
    timelines = known_events(timelines)
    events = timelines[f.EVENT_ENTITY]
    ends = tf.cast(events.row_lengths(), tf.int64)
    time = None
    if spec.use_time:
        time = timelines[f.REQUEST_TIME].to_tensor(0, shape=[None, 1])[:, 0]
    return cut_windows(timelines, tf.range(tf.size(ends, tf.int64)), ends, spec, time)


def _indices(
    starts: tf.Tensor, ends: tf.Tensor, window: int | tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the indices of windows in the flat values, newest first, and which exist."""
    rank = tf.range(tf.cast(window, tf.int64))[None, :]  # [1, T]
    valid = rank < ends[:, None]  # [B, T]
    index = tf.where(valid, (starts + ends)[:, None] - 1 - rank, 0)
    return index, valid


def _take(flat: tf.Tensor, index: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    """Gathers flat values, 0 where there is none (also when there are none at all)."""
    flat = tf.cond(tf.size(flat) > 0, lambda: flat, lambda: tf.zeros([1], flat.dtype))
    return tf.where(valid, tf.gather(flat, index), tf.zeros([], flat.dtype))


def _take_words(
    words: tf.RaggedTensor, index: tf.Tensor, valid: tf.Tensor, width: int
) -> tf.Tensor:
    """Gathers the words of events, [B, T, width] int64; the cost follows those that are there."""
    where = tf.where(valid)  # [n, 2]
    found = tf.gather(words, tf.gather_nd(index, where)).to_tensor(shape=[None, width])
    shape = tf.concat([tf.shape(index, tf.int64), [width]], axis=0)
    return tf.ensure_shape(tf.scatter_nd(where, found, shape), [None, None, width])


def _ages(times: tf.Tensor, valid: tf.Tensor, request_time: tf.Tensor | None) -> tf.Tensor:
    newest = times[:, :1]  # [B, 1]
    if request_time is None:
        now = newest
    else:
        now = tf.where(request_time > 0, request_time, newest[:, 0])[:, None]
    return tf.where(valid, tf.maximum(now - times, 0), 0)


def _seen(
    timelines: Mapping[str, tf.RaggedTensor], starts: tf.Tensor, ends: tf.Tensor, spec: WindowSpec
) -> tf.Tensor:
    width = tf.reduce_max(ends) if spec.seen == ALL else spec.seen
    index, valid = _indices(starts, ends, width)
    if spec.seen_types is not None:
        types = _take(timelines[f.EVENT_TYPE].flat_values, index, valid)  # [B, S]
        valid &= is_one_of(types, spec.seen_types)
    return _take(timelines[f.EVENT_ENTITY].flat_values, index, valid)


def _rows(values: tf.RaggedTensor, rows: tf.Tensor, width: int) -> tf.Tensor:
    return tf.gather(values.to_tensor(shape=[None, width]), rows)
