"""Cuts timelines into sequences to learn from, and batches those of like length."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from models.config import InputConfig
from models.input import batch as b
from models.input.bucketing import Buckets
from models.input.target_rule import TargetRule
from models.input.target_rule import first_targets
from models.input.timeline_files import Spec
from models.input.timeline_files import parsed_timelines
from models.input.timeline_files import timeline_records
from models.input.timelines import Timelines
from models.input.timelines import known_events
from models.training.replicas import WHOLE
from models.training.replicas import InputPart
from transforms import features as f

_ENTITY, _TYPE, _TIME, _IS_TARGET = range(4)  # columns of a window's events
Flat = tuple[tf.Tensor, tf.Tensor, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class SequenceSpec:
    """Contents of training sequences.

    Every sequence begins with the start token, whose target is a user's first event.

    Attributes:
        length: L, the most events of a sequence.
        every_window: Whether long timelines give all of their windows, or the newest.
        overlap: Events that a window shares with the next newer one.
        length_multiple: Lengths of batches are multiples of this, or the longest.
        use_time: Whether ages are cut.
        attributes: A, the user's attributes; 0 leaves them out.
        mask_share: Share of the events that are masked and to be found; 0 is
            the other objective, where each position is to find the next event.
        future: F, with hidden events: a sequence ends at a random place, and the F events that
            follow are to be found; 0 reads windows to their ends.
        forwards: Share of the sequences, with hidden events, in which none is hidden: each
            position is to find the next event.
    """

    length: int
    every_window: bool = True
    overlap: int = 0
    length_multiple: int = 8
    use_time: bool = False
    attributes: int = 0
    mask_share: float = 0.0
    future: int = 0
    forwards: float = 0.0

    @property
    def timeline_features(self) -> tuple[str, ...]:
        """The transformed features of a timeline that sequences are cut from."""
        wanted = [f.EVENT_ENTITY, f.EVENT_TYPE]
        if self.use_time:
            wanted.append(f.EVENT_TIMESTAMP)
        if self.attributes:
            wanted.append(f.USER_ATTRIBUTES)
        return tuple(wanted)

    @property
    def hides(self) -> bool:
        """True where events are masked and to be found."""
        return self.mask_share > 0

    @property
    def longest(self) -> int:
        """The positions of the longest sequence: the start, events, and one that is masked."""
        return 1 + self.length + int(self.hides)

    def padded(self, lengths: tf.Tensor) -> tf.Tensor:
        """Returns how long sequences of such lengths are in a batch, the same shape."""
        rounded = -(-lengths // self.length_multiple) * self.length_multiple
        return tf.minimum(rounded, tf.constant(self.longest, lengths.dtype))


class Windows(NamedTuple):
    """Stretches of timelines, each of which becomes a sequence.

    Attributes:
        events: [W, (events), 4] int64, of each event its entity, its type, its time, and
            whether it is a target of this window; the last event is a target alone.
        attributes: [W, A] int64, the user's.
    """

    events: tf.RaggedTensor
    attributes: tf.Tensor

    @classmethod
    def of(cls, flat: Flat) -> Windows:
        """Returns the windows of what `flat` returned."""
        return cls(tf.RaggedTensor.from_row_lengths(flat[0], flat[1]), flat[2])

    @property
    def flat(self) -> Flat:
        """The same as plain tensors: events, how many of them are each window's, attributes."""
        return self.events.values, self.events.row_lengths(), self.attributes

    def take(self, chosen: tf.Tensor) -> Windows:
        """Returns some of the windows."""
        return Windows(tf.gather(self.events, chosen), tf.gather(self.attributes, chosen))

    def join(self, others: Windows) -> Windows:
        """Returns these windows and others after them."""
        return Windows(
            tf.concat([self.events, others.events], axis=0),
            tf.concat([self.attributes, others.attributes], axis=0),
        )


def sequence_batches(
    files: Sequence[str],
    spec: Spec,
    sequences: SequenceSpec,
    rule: TargetRule,
    buckets: Buckets,
    config: InputConfig,
    seed: int,
    part: InputPart = WHOLE,
) -> tf.data.Dataset:
    """Batches sequences of like length, some `batch_size` events in each.

    Events of unknown entities are left out. Little is padding, and batches are full: the
    windows of a pool of timelines are shuffled and fill the batches of their lengths, and
    what fills none is kept for the next pool. Every epoch shuffles anew, and equal seeds
    shuffle equally.

    Args:
        files: Gzipped TFRecord files of transformed timelines.
        spec: The transformed feature spec.
        sequences: What sequences hold.
        rule: Which events may be targets.
        buckets: Lengths that share a batch (`plan_buckets`).
        config: Sizes of pools and buffers.
        seed: Of the shuffles, and of what is masked.
        part: The timelines that are read, and how many replicas share a batch.

    Returns:
        Dataset of dictionaries (`models.input.batch`), `buckets.batches` of them where one part
        is the whole; every sequence has a target.

    Raises:
        ValueError: There is no file.
    """
    records = timeline_records(files, seed, part).shuffle(config.shuffle_buffer, seed=seed)
    pools = parsed_timelines(records, spec, config.pool, sequences.timeline_features)
    nothing = _no_windows(sequences)
    cut = pools.map(
        lambda timelines: (cut_sequences(timelines, sequences, rule), False),
        num_parallel_calls=tf.data.AUTOTUNE,
    ).concatenate(tf.data.Dataset.from_tensors((nothing, True)))
    seeds = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(2)
    shared = buckets.share(part.replicas)

    @tf.autograph.experimental.do_not_convert
    def fill(rest: Flat, pool: tuple[tuple[Windows, tf.Tensor], tf.Tensor]):  # type: ignore[no-untyped-def]
        (windows, is_last), pool_seed = pool
        windows = Windows.of(rest).join(windows)
        chosen, splits, left = shared.fill(window_lengths(windows, sequences), is_last, pool_seed)
        return windows.take(left).flat, (windows.take(chosen), splits, pool_seed)

    @tf.autograph.experimental.do_not_convert
    def batches_of(windows: Windows, splits: tf.Tensor, pool_seed: tf.Tensor) -> tf.data.Dataset:
        number = tf.size(splits, tf.int64) - 1
        seeds = pool_seed[None, :] + tf.range(number)[:, None]

        @tf.autograph.experimental.do_not_convert
        def make(batch: tf.Tensor) -> dict[str, tf.Tensor]:
            chosen = tf.range(splits[batch], splits[batch + 1])
            return sequence_batch(windows.take(chosen), sequences, seeds[batch])

        shuffled = tf.random.experimental.stateless_shuffle(tf.range(number), pool_seed)
        batches = tf.data.Dataset.from_tensor_slices(shuffled)
        return batches.map(make, num_parallel_calls=tf.data.AUTOTUNE)

    filled = tf.data.Dataset.zip((cut, seeds)).scan(nothing.flat, fill)
    return filled.flat_map(batches_of).prefetch(8)


def plan_buckets(
    files: Sequence[str], spec: Spec, sequences: SequenceSpec, rule: TargetRule, batch_size: int
) -> Buckets:
    """Divides the lengths of sequences into buckets, by reading all timelines once."""
    counts = np.zeros([sequences.longest + 1], np.int64)
    records = timeline_records(files)
    for timelines in parsed_timelines(records, spec, 4096, sequences.timeline_features):
        lengths = window_lengths(cut_sequences(timelines, sequences, rule), sequences)
        counts += np.bincount(lengths, minlength=counts.size)
    return Buckets.plan(counts, batch_size)


def window_lengths(windows: Windows, sequences: SequenceSpec) -> tf.Tensor:
    """Returns the padded lengths of the sequences that windows become, [W] int64."""
    return sequences.padded(windows.events.row_lengths() + int(sequences.hides))


def cut_sequences(timelines: Timelines, sequences: SequenceSpec, rule: TargetRule) -> Windows:
    """Cuts windows of known events, from the newest one of each timeline backwards.

    The newest window ends with the newest event as its last target; the next one
    ends where that began, or `overlap` events later. So every event is the target of
    one window, the first event of a timeline that of its oldest window's start token.

    Args:
        timelines: Transformed features of U timelines.
        sequences: What sequences hold.
        rule: Which events may be targets.

    Returns:
        The windows that have a target, those of a timeline one after the other, newest first.
    """
    timelines = known_events(timelines)
    events = timelines[f.EVENT_ENTITY]
    number, lengths = _number_of_windows(timelines, sequences), events.row_lengths()
    advance = sequences.length - sequences.overlap
    rank = tf.ragged.range(number)  # 0 is the newest
    rows = rank.value_rowids()  # [W]
    ends = tf.gather(lengths, rows) - rank.values * advance
    starts = tf.maximum(ends - 1 - sequences.length, 0)
    # Targets that the next older window has, too: none where this is the oldest.
    is_oldest = tf.equal(rank.values, tf.gather(number, rows) - 1)
    shared = sequences.overlap if sequences.every_window else 0
    first = tf.where(is_oldest, tf.zeros_like(ends), shared) + tf.cast(starts > 0, tf.int64)
    position = tf.ragged.range(starts, ends)  # [W, (events)]
    flat = position.values + tf.gather(
        tf.gather(events.row_starts(), rows), position.value_rowids()
    )
    is_target = tf.gather(rule.eligible(timelines), flat)
    is_target &= (position - starts[:, None]).values >= tf.gather(first, position.value_rowids())
    columns = [tf.zeros_like(flat)] * 4
    columns[_ENTITY] = tf.gather(events.flat_values, flat)
    columns[_TYPE] = tf.gather(timelines[f.EVENT_TYPE].flat_values, flat)
    columns[_IS_TARGET] = tf.cast(is_target, tf.int64)
    if sequences.use_time:
        columns[_TIME] = tf.gather(timelines[f.EVENT_TIMESTAMP].flat_values, flat)
    attributes = tf.zeros([tf.size(rows), 0], tf.int64)
    if sequences.attributes:
        dense = timelines[f.USER_ATTRIBUTES].to_tensor(shape=[None, sequences.attributes])
        attributes = tf.gather(dense, rows)
    windows = Windows(position.with_values(tf.stack(columns, axis=1)), attributes)
    has_target = tf.reduce_any(position.with_values(is_target), axis=1)
    return windows.take(tf.where(has_target)[:, 0])


def sequence_batch(
    windows: Windows, sequences: SequenceSpec, seed: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Makes the tensors of one batch.

    Args:
        windows: B of them.
        sequences: What sequences hold.
        seed: [2] int64, of what is masked, and of where sequences end.

    Returns:
        By name (`models.input.batch`), tensors with B rows.
    """
    number = windows.events.row_lengths()
    ends = _ends(number, seed) if sequences.future else number
    lengths = ends + int(sequences.hides)  # of sequences
    every = windows.events.to_tensor()  # [B, events, 4]
    width = tf.cast(sequences.padded(tf.reduce_max(lengths)), tf.int32)
    missing = tf.maximum(width - tf.shape(every)[1], 0)
    events = tf.pad(every, [[0, 0], [0, missing], [0, 0]])[:, :width]  # [B, T, 4]
    # The start token is read first, the events after it; of the first event it has the time.
    read = tf.concat([events[:, :1], events[:, :-1]], axis=1)
    rank = tf.range(tf.cast(width, tf.int64))[None, :]  # [1, T]
    there = rank < lengths[:, None]  # [B, T]
    aims = read if sequences.hides else events
    wanted = there & (aims[:, :, _IS_TARGET] > 0)
    cut = {b.SEQUENCE_LENGTH: lengths}
    masked = tf.zeros_like(there)
    if sequences.hides:
        masked = _hidden(wanted & (rank > 1), sequences, seed)
        wanted = masked | (wanted & tf.equal(rank, 0))  # the start token finds the first event
        if sequences.forwards:
            drawn = tf.random.stateless_uniform([tf.shape(there)[0], 1], seed + [0, 1])
            forwards = drawn < sequences.forwards  # [B, 1]
            follows = (rank < ends[:, None]) & (events[:, :, _IS_TARGET] > 0)
            masked &= ~forwards
            wanted = tf.where(forwards, follows, wanted)
            aims = tf.where(forwards[:, :, None], events, aims)
            cut[b.SEQUENCE_FORWARDS] = forwards[:, 0]
        cut[b.SEQUENCE_MASKED] = masked
    shown = tf.cast(there & (rank > 0) & ~masked, tf.int64)
    cut[b.SEQUENCE_ENTITY] = shown * read[:, :, _ENTITY]
    cut[b.SEQUENCE_TYPE] = shown * read[:, :, _TYPE]
    cut[b.SEQUENCE_QUERY] = wanted
    cut[b.SEQUENCE_TARGET] = tf.cast(wanted, tf.int64) * aims[:, :, _ENTITY]
    if sequences.future:
        cut[b.SEQUENCE_FUTURE] = _future(every, number, ends, sequences.future)
    if sequences.attributes:
        cut[b.USER_ATTRIBUTES] = windows.attributes
    if sequences.use_time:
        # The newest event, or the one that comes then.
        last = tf.gather(every[:, :, _TIME], tf.minimum(ends, number - 1)[:, None], batch_dims=1)
        for name, when in ((b.SEQUENCE_AGE, read), (b.SEQUENCE_REQUEST_AGE, aims)):
            ages = tf.maximum(last - when[:, :, _TIME], 0)
            cut[name] = tf.where(there, ages, 0)
    return cut


def _hidden(candidates: tf.Tensor, sequences: SequenceSpec, seed: tf.Tensor) -> tf.Tensor:
    """Draws which of the events [B, T] bool that may be hidden are, the same shape."""
    drawn = tf.random.stateless_uniform(tf.shape(candidates), seed) < sequences.mask_share
    if sequences.future:  # the newest is what tells most of the events that follow
        return candidates & drawn
    newest = tf.equal(tf.cumsum(tf.cast(candidates, tf.int32), axis=1, reverse=True), 1)
    return candidates & (drawn | newest)


def _ends(number: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Draws how many events sequences read: of n all but ceil(n u^8), for u from 0 to 1.

    Half of them leave out no more than a 256th part, for requests know the newest events; now
    and then all are left out, so that users without history are learned, too.

    Args:
        number: [B] int64, n > 0.
        seed: [2] int64.

    Returns:
        [B] int64, from 0 to n - 1.
    """
    drawn = tf.random.stateless_uniform(tf.shape(number), seed + [1, 0]) ** 8
    after = tf.cast(tf.math.ceil(tf.cast(number, tf.float32) * drawn), tf.int64)
    return number - tf.clip_by_value(after, 1, number)


def _future(events: tf.Tensor, number: tf.Tensor, ends: tf.Tensor, future: int) -> tf.Tensor:
    """Returns the targets among the events [B, (events), 4] from `ends` on, [B, F] int64."""
    place = ends[:, None] + tf.range(future, dtype=tf.int64)  # [B, F]
    follows = tf.gather(events, tf.minimum(place, number[:, None] - 1), batch_dims=1)
    there = (place < number[:, None]) & (follows[:, :, _IS_TARGET] > 0)
    return tf.where(there, follows[:, :, _ENTITY], 0)


def _number_of_windows(timelines: Timelines, sequences: SequenceSpec) -> tf.Tensor:
    """Returns how many windows each timeline has, [U] int64."""
    events, first = timelines[f.EVENT_ENTITY].row_lengths(), first_targets(timelines)
    after_events = events - tf.maximum(first, 1)  # targets but that of the start token
    number = -(-(after_events - sequences.overlap) // (sequences.length - sequences.overlap))
    number = tf.where(events > first, tf.maximum(number, 1), 0)
    return number if sequences.every_window else tf.minimum(number, 1)


def _no_windows(sequences: SequenceSpec) -> Windows:
    events = tf.RaggedTensor.from_row_lengths(tf.zeros([0, 4], tf.int64), tf.zeros([0], tf.int64))
    return Windows(events, tf.zeros([0, sequences.attributes], tf.int64))
