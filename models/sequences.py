"""Cuts timelines into sequences to learn from, and batches those of like length."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import tensorflow as tf

from models import batch as b
from models.config import InputConfig
from models.replicas import WHOLE
from models.replicas import InputPart
from models.targets import TargetRule
from models.targets import first_targets
from models.timeline_files import Spec
from models.timeline_files import parsed_timelines
from models.timeline_files import timeline_records
from models.timelines import Timelines
from models.timelines import known_events
from transforms import features as f

_SECOND = 1e6  # microseconds


@dataclasses.dataclass(frozen=True)
class SequenceSpec:
    """What sequences hold.

    Attributes:
        length: L, the most events of a sequence.
        every_window: Whether long timelines give all of their windows, or the newest.
        overlap: Events that a window shares with the next newer one.
        length_multiple: Lengths of batches are multiples of this, or the longest.
        use_time: Whether ages are cut.
        attributes: A, the user's attributes; 0 leaves them out.
        mask_share: Share of the events that are hidden and to be found; 0 is
            the other objective, where each place is to find the next event.
    """

    length: int
    every_window: bool = True
    overlap: int = 0
    length_multiple: int = 8
    use_time: bool = False
    attributes: int = 0
    mask_share: float = 0.0

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
    def longest(self) -> int:
        """The events of the longest sequence, one that is hidden among them."""
        return self.length + int(self.mask_share > 0)

    def padded(self, lengths: tf.Tensor) -> tf.Tensor:
        """Returns how long sequences of such lengths are in a batch, the same shape."""
        rounded = -(-lengths // self.length_multiple) * self.length_multiple
        return tf.minimum(rounded, tf.constant(self.longest, lengths.dtype))


@dataclasses.dataclass(frozen=True)
class Windows:
    """Stretches of timelines.

    Attributes:
        rows: [W] int64, their timelines.
        starts: [W] int64, place of the first event that is read, in the flat values.
        lengths: [W] int64, how many events are read; one more follows, as the last target.
        context: [W] int64, how many of the first targets belong to an older window.
    """

    rows: tf.Tensor
    starts: tf.Tensor
    lengths: tf.Tensor
    context: tf.Tensor

    def __getitem__(self, chosen: tf.Tensor) -> Windows:
        """Returns some of the windows."""
        values = (self.rows, self.starts, self.lengths, self.context)
        return Windows(*(tf.gather(value, chosen) for value in values))


def sequence_batches(
    files: Sequence[str],
    spec: Spec,
    sequences: SequenceSpec,
    rule: TargetRule,
    config: InputConfig,
    seed: int,
    part: InputPart = WHOLE,
) -> tf.data.Dataset:
    """Batches sequences of like length, some `batch_size` events in each.

    Events of unknown entities are left out. Little is padding: the windows of a pool of
    timelines are sorted by length (in random order where that is the same), cut into batches
    of about equally many events, and the batches shuffled. Every epoch shuffles anew, and
    equal seeds shuffle equally.

    Args:
        files: Gzipped TFRecord files of transformed timelines.
        spec: The transformed feature spec.
        sequences: What sequences hold.
        rule: Which events may be targets.
        config: Sizes of batches, pools and buffers.
        seed: Of the shuffles, and of what is hidden.
        part: The timelines that are read, and how many replicas share a batch.

    Returns:
        Dataset of dictionaries (`models.batch`); every batch has a target.

    Raises:
        ValueError: There is no file.
    """
    records = timeline_records(files, seed, part).shuffle(config.shuffle, seed=seed)
    pools = parsed_timelines(records, spec, config.pool, sequences.timeline_features)
    size = max(1, config.batch_size // part.replicas)
    seeds = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(2)

    def cut_pool(timelines: Timelines, pool_seed: tf.Tensor) -> tf.data.Dataset:
        timelines = known_events(timelines)
        windows = cut_windows(timelines, sequences)
        eligible = rule.eligible(timelines)
        order, splits = _group(windows.lengths, sequences, size, pool_seed)
        number = tf.size(splits, tf.int64) - 1
        seeds = pool_seed[None, :] + tf.range(number)[:, None]
        shuffled = tf.random.experimental.stateless_shuffle(tf.range(number), pool_seed)

        def cut(batch: tf.Tensor) -> dict[str, tf.Tensor]:
            chosen = windows[order[splits[batch] : splits[batch + 1]]]
            return sequence_batch(timelines, eligible, chosen, sequences, seeds[batch])

        batches = tf.data.Dataset.from_tensor_slices(shuffled)
        return batches.map(cut, num_parallel_calls=tf.data.AUTOTUNE)

    batches = tf.data.Dataset.zip((pools, seeds)).flat_map(cut_pool)
    return batches.filter(lambda batch: tf.reduce_any(batch[b.SEQUENCE_QUERY])).prefetch(8)


def count_batches(
    files: Sequence[str], spec: Spec, sequences: SequenceSpec, config: InputConfig
) -> int:
    """Counts about how many batches an epoch has, by reading the lengths of timelines."""
    padded = 0
    records = timeline_records(files)
    for timelines in parsed_timelines(records, spec, 4096, (f.EVENT_ENTITY,)):
        lengths = cut_windows(known_events(timelines), sequences).lengths
        padded += int(tf.reduce_sum(sequences.padded(lengths)))
    return max(1, -(-padded // config.batch_size))


def cut_windows(timelines: Timelines, sequences: SequenceSpec) -> Windows:
    """Cuts windows, from the newest event of each timeline backwards.

    The newest window ends with the newest event as its last target; the next one
    ends where that began, or `overlap` events later. Every event but the first is
    the target of one window.

    Args:
        timelines: Transformed features of U timelines.
        sequences: What sequences hold.

    Returns:
        The windows, those of a timeline one after the other, newest first.
    """
    events = timelines[f.EVENT_ENTITY]
    targets = events.row_lengths() - first_targets(timelines)
    advance = sequences.length - sequences.overlap
    number = -(-(targets - sequences.overlap) // advance)
    number = tf.where(targets > 0, tf.maximum(number, 1), 0)
    if not sequences.every_window:
        number = tf.minimum(number, 1)
    windows = tf.RaggedTensor.from_row_lengths(tf.range(tf.reduce_sum(number)), number)
    rows = windows.value_rowids()  # [W]
    rank = windows.values - tf.gather(windows.row_starts(), rows)  # 0 is the newest
    ends = tf.gather(events.row_lengths(), rows) - 1 - rank * advance
    starts = tf.maximum(ends - sequences.length, 0)
    # Targets that the next older window has, too: none where this is the oldest.
    is_oldest = tf.equal(rank, tf.gather(number, rows) - 1)
    shared = 0 if not sequences.every_window else sequences.overlap
    context = tf.where(is_oldest, tf.zeros_like(ends), shared)
    return Windows(rows, starts + tf.gather(events.row_starts(), rows), ends - starts, context)


def sequence_batch(
    timelines: Timelines,
    eligible: tf.Tensor,
    windows: Windows,
    sequences: SequenceSpec,
    seed: tf.Tensor,
) -> dict[str, tf.Tensor]:
    """Makes the tensors of one batch.

    Args:
        timelines: Transformed features of U timelines with E events in all.
        eligible: [E] bool, which events may be targets.
        windows: B of them.
        sequences: What sequences hold.
        seed: [2] int64, of what is hidden.

    Returns:
        By name (`models.batch`), tensors with B rows.
    """
    hidden = sequences.mask_share > 0
    lengths = windows.lengths + int(hidden)  # what is hidden is among what is read
    width = sequences.padded(tf.reduce_max(lengths))
    rank = tf.range(width)[None, :]  # [1, T]
    valid = rank < lengths[:, None]  # [B, T]
    place = tf.where(valid, windows.starts[:, None] + rank, 0)
    ahead = place if hidden else tf.where(valid, place + 1, 0)  # the places of targets
    wanted = valid & tf.gather(eligible, ahead)
    wanted &= rank >= (windows.context + int(hidden))[:, None]
    entities = timelines[f.EVENT_ENTITY].flat_values

    def take(values: tf.Tensor, where: tf.Tensor, kept: tf.Tensor) -> tf.Tensor:
        return tf.where(kept, tf.gather(values, where), tf.zeros([], values.dtype))

    cut = {b.SEQUENCE_LENGTH: lengths}
    masked = tf.zeros_like(valid)
    if hidden:
        drawn = tf.random.stateless_uniform(tf.shape(place), seed) < sequences.mask_share
        masked = wanted & (drawn | tf.equal(rank, lengths[:, None] - 1))
        wanted = masked
        cut[b.SEQUENCE_MASKED] = masked
    cut[b.SEQUENCE_ENTITY] = take(entities, place, valid & ~masked)
    cut[b.SEQUENCE_TYPE] = take(timelines[f.EVENT_TYPE].flat_values, place, valid & ~masked)
    cut[b.SEQUENCE_QUERY] = wanted
    cut[b.SEQUENCE_TARGET] = take(entities, ahead, wanted)
    if sequences.attributes:
        attributes = timelines[f.USER_ATTRIBUTES].to_tensor(shape=[None, sequences.attributes])
        cut[b.USER_ATTRIBUTES] = tf.gather(attributes, windows.rows)
    if sequences.use_time:
        times = timelines[f.EVENT_TIMESTAMP].flat_values
        last = tf.gather(times, tf.reduce_max(ahead, axis=1))[:, None]  # [B, 1]
        for name, where in ((b.SEQUENCE_AGE, place), (b.SEQUENCE_REQUEST_AGE, ahead)):
            ages = tf.cast(last - tf.gather(times, where), tf.float32) / _SECOND
            cut[name] = tf.where(valid, tf.maximum(ages, 0.0), 0.0)
    return cut


def _group(
    lengths: tf.Tensor, sequences: SequenceSpec, events: int, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Sorts windows by length and groups them to batches.

    Returns:
        The order of the windows, [W] int64, and where in it each batch begins,
        and the last one ends, [batches + 1] int64.
    """
    padded = sequences.padded(lengths)
    order = tf.random.experimental.stateless_shuffle(tf.range(tf.size(lengths)), seed)
    order = tf.gather(order, tf.argsort(tf.gather(padded, order), stable=True))
    padded = tf.gather(padded, order)  # ascending
    # No batch mixes lengths of which one is half as long again as another.
    kind = tf.math.floor(tf.math.log(tf.cast(padded, tf.float64)) / math.log(1.5))
    first = tf.searchsorted(kind, kind, side="left")  # [W] place of the first of its kind
    before = tf.cumsum(padded, exclusive=True)
    part = (before - tf.gather(before, first)) // events
    begins = tf.equal(first, tf.range(tf.size(order)))
    begins |= tf.concat([[True], part[1:] > part[:-1]], axis=0)[: tf.size(order)]
    splits = tf.concat([tf.where(begins)[:, 0], [tf.size(order, tf.int64)]], axis=0)
    return tf.cast(order, tf.int64), splits
