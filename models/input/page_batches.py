"""From transformed timelines to batches of pages: a request, its candidates and their labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from models.config import InputConfig
from models.input import batch as b
from models.input.negatives import Items
from models.input.timeline_files import Spec
from models.input.timeline_files import parsed_timelines
from models.input.timeline_files import timeline_records
from models.input.timelines import Timelines
from models.input.timelines import context_lengths
from models.input.timelines import is_one_of
from models.input.timelines import known_before
from models.input.timelines import known_events
from models.input.windows import WindowSpec
from models.input.windows import cut_last_windows
from models.input.windows import cut_windows
from models.training.replicas import WHOLE
from models.training.replicas import InputPart
from transforms import features as f
from transforms import names
from transforms.label_config import LabelConfig
from transforms.ragged import per_value
from transforms.ragged import positions

_EVENT_FEATURES = (f.EVENT_ENTITY, f.EVENT_TYPE, f.EVENT_TIMESTAMP, f.EVENT_VALUE)
_PAGE_FEATURES = (
    f.PAGE_TIMESTAMP,
    f.PAGE_HISTORY_LENGTH,
    names.PAGE_QUERY_TOKENS,
    f.IMPRESSION_PAGE,
    f.IMPRESSION_POSITION,
    f.IMPRESSION_ENTITY,
    f.IMPRESSION_EVENTS,
)


@dataclasses.dataclass(frozen=True)
class PageSpec:
    """Contents of pages.

    Attributes:
        windows: What the windows before them hold.
        label: Which rows there are, and when they are positive.
        event_types: Indices of the event types that give rows (`values` and `events`);
            None is all.
        negative_rate: Share of the candidates without any label that training keeps.
        items: The candidates of `events`: its positives and negatives are among them.
    """

    windows: WindowSpec
    label: LabelConfig
    event_types: tuple[int, ...] | None = None
    negative_rate: float = 1.0
    items: Items | None = None

    @property
    def timeline_features(self) -> tuple[str, ...]:
        """The transformed features of a timeline that pages are cut from."""
        wanted = (*self.windows.timeline_features, *_EVENT_FEATURES, f.REQUEST_TIME)
        if self.label.source == "impressions":
            return (*wanted, *_PAGE_FEATURES)
        return (*wanted, names.EVENT_QUERY_TOKENS)


@dataclasses.dataclass(frozen=True)
class Pages:
    """The pages of a pool of timelines.

    Attributes:
        rows: [P] int64, their timelines.
        ends: [P] int64, how many events of known entities the timeline has before them.
        time: [P] int64, microseconds.
        query: [P, (words)] int64.
        candidates: [P, (C)] int64.
        position: [P, (C)] int64.
        label: [P, (C)] int64, bit h is head h.
    """

    rows: tf.Tensor
    ends: tf.Tensor
    time: tf.Tensor
    query: tf.RaggedTensor
    candidates: tf.RaggedTensor
    position: tf.RaggedTensor
    label: tf.RaggedTensor


def page_batches(
    files: Sequence[str],
    spec: Spec,
    pages: PageSpec,
    config: InputConfig,
    seed: int,
    part: InputPart = WHOLE,
) -> tf.data.Dataset:
    """Batches of training pages, shuffled across users, with the windows before them.

    No window exists before its batch, so memory follows the batch and not history times
    impressions. Every epoch shuffles anew, and equal seeds shuffle equally.

    Args:
        files: Gzipped TFRecord files of transformed timelines.
        spec: The transformed feature spec.
        pages: What pages hold.
        config: Sizes of batches (in pages), pools and buffers.
        seed: Of the shuffles, and of negatives.
        part: The timelines that are read, and how many replicas share a batch.

    Returns:
        Dataset of dictionaries (`models.input.batch`) with B rows each; the last batch
        of an epoch may have fewer.

    Raises:
        ValueError: There is no file.
    """
    records = timeline_records(files, seed, part).shuffle(config.shuffle_buffer, seed=seed)
    pools = parsed_timelines(records, spec, config.pool, pages.timeline_features)
    seeds = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(2)
    size = max(1, config.batch_size // part.replicas)

    @tf.autograph.experimental.do_not_convert
    def cut_pool(timelines: Timelines, pool_seed: tf.Tensor) -> tf.data.Dataset:
        found = find_pages(timelines, pages, pool_seed)
        order = tf.random.experimental.stateless_shuffle(
            tf.range(tf.size(found.rows, tf.int64)), pool_seed
        )
        starts = tf.data.Dataset.range(0, tf.size(order, tf.int64), size)
        known = known_events(timelines)

        @tf.autograph.experimental.do_not_convert
        def cut(start: tf.Tensor) -> dict[str, tf.Tensor]:
            return cut_pages(known, found, order[start : start + size], pages)

        return starts.map(cut, num_parallel_calls=tf.data.AUTOTUNE)

    batches = tf.data.Dataset.zip((pools, seeds)).flat_map(cut_pool)
    return batches.rebatch(size).prefetch(8)


def evaluation_pages(
    files: Sequence[str], spec: Spec, pages: PageSpec, batch_size: int = 256
) -> tf.data.Dataset:
    """Batches of held-out page examples.

    Args:
        files: Gzipped TFRecord files of transformed page examples.
        spec: The transformed feature spec.
        pages: What pages hold.
        batch_size: Pages in a batch.

    Returns:
        Dataset of dictionaries (`models.input.batch`).

    Raises:
        ValueError: There is no file.
    """
    wanted = (
        *pages.windows.timeline_features,
        f.USER_ID,
        f.EVENT_VALUE,
        f.REQUEST_TIME,
        f.CANDIDATE_ENTITY,
        f.LABEL_EVENTS,
    )

    @tf.autograph.experimental.do_not_convert
    def cut(examples: Timelines) -> dict[str, tf.Tensor]:
        label = examples[f.LABEL_EVENTS].to_tensor()
        user = examples[f.USER_ID].to_tensor("", shape=[None, 1])[:, 0]
        return page_requests(examples, pages.windows) | {
            b.USER: tf.strings.to_hash_bucket_fast(user, 1 << 62),
            b.LABEL: _heads(label, pages.label),
        }

    parsed = parsed_timelines(timeline_records(files), spec, batch_size, wanted)
    return parsed.map(cut, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)


def page_requests(examples: Timelines, windows: WindowSpec) -> dict[str, tf.Tensor]:
    """Makes the requests of page examples.

    Args:
        examples: Transformed features of B page examples.
        windows: What windows hold.

    Returns:
        By name (`models.input.batch`), tensors with B rows; no label.
    """
    candidates = examples[f.CANDIDATE_ENTITY]
    return cut_last_windows(examples, windows) | {
        b.REQUEST_TIME: examples[f.REQUEST_TIME].to_tensor(0, shape=[None, 1])[:, 0],
        b.CANDIDATE_ENTITY: candidates.to_tensor(),
        b.CANDIDATE_LENGTH: candidates.row_lengths(),
    }


def candidate_mask(batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Returns which candidates a batch of pages has, [B, C] bool."""
    return tf.sequence_mask(batch[b.CANDIDATE_LENGTH], tf.shape(batch[b.CANDIDATE_ENTITY])[1])


def count_pages(files: Sequence[str], spec: Spec, pages: PageSpec) -> int:
    """Counts the pages of an epoch."""
    number = 0
    wanted = (f.EVENT_ENTITY, f.EVENT_TYPE, f.EVENT_VALUE, f.PAGE_TIMESTAMP, f.CONTEXT_LENGTH)
    for timelines in parsed_timelines(timeline_records(files), spec, 4096, wanted):
        if pages.label.source == "impressions":
            number += int(tf.size(timelines[f.PAGE_TIMESTAMP].flat_values))
        else:
            number += int(tf.math.count_nonzero(_rows_of_events(timelines, pages)))
    return number


def count_items(files: Sequence[str], spec: Spec, size: int) -> np.ndarray:
    """Counts how often each entity is in training's events and impressions.

    Args:
        files: Gzipped TFRecord files of transformed timelines.
        spec: The transformed feature spec.
        size: V + 1, the greatest entity index plus one.

    Returns:
        [V + 1] int64; 0 for the unknown one.
    """
    counts = np.zeros(size, np.int64)
    read = (f.EVENT_ENTITY, f.IMPRESSION_ENTITY)
    for timelines in parsed_timelines(timeline_records(files), spec, 4096, read):
        for name in read:
            counts += np.bincount(timelines[name].flat_values.numpy(), minlength=size)
    counts[0] = 0
    return counts


def count_labels(files: Sequence[str], spec: Spec, pages: PageSpec, size: int) -> np.ndarray:
    """Counts how often each entity was a candidate, and how often each head's event followed.

    Args:
        files: Gzipped TFRecord files of transformed timelines.
        spec: The transformed feature spec.
        pages: What pages hold.
        size: V + 1.

    Returns:
        [V + 1, 1 + H] int64: candidates, then positives of each head.
    """
    heads = len(pages.label.heads)
    counts = np.zeros([size, 1 + heads], np.int64)
    whole = dataclasses.replace(pages, negative_rate=1.0)
    seed = tf.constant([0, 0], tf.int64)
    for timelines in parsed_timelines(timeline_records(files), spec, 1024, pages.timeline_features):
        found = find_pages(timelines, whole, seed)
        entity, label = found.candidates.flat_values.numpy(), found.label.flat_values.numpy()
        counts[:, 0] += np.bincount(entity, minlength=size)
        for head in range(heads):
            positive = entity[(label >> head & 1) > 0]
            counts[:, 1 + head] += np.bincount(positive, minlength=size)
    return counts


def find_pages(timelines: Timelines, spec: PageSpec, seed: tf.Tensor) -> Pages:
    """Finds the pages of transformed timelines.

    Args:
        timelines: Transformed features of U timelines.
        spec: Which rows there are.
        seed: [2] int64, of what is left out and of random negatives.
    """
    if spec.label.source == "impressions":
        return _pages_of_impressions(timelines, spec, seed)
    return _pages_of_events(timelines, spec, seed)


def cut_pages(
    timelines: Timelines, pages: Pages, chosen: tf.Tensor, spec: PageSpec
) -> dict[str, tf.Tensor]:
    """Makes the tensors of some pages.

    Args:
        timelines: Transformed features of U timelines, their `known_events` alone.
        pages: Their pages.
        chosen: [B] int64, which of them.
        spec: What pages hold.

    Returns:
        By name (`models.input.batch`), tensors with B rows of as many candidates as any
        page may have.
    """
    rows, ends = tf.gather(pages.rows, chosen), tf.gather(pages.ends, chosen)
    time = tf.gather(pages.time, chosen)
    cut = cut_windows(timelines, rows, ends, spec.windows, time)
    if spec.windows.query_tokens:
        words = tf.gather(pages.query, chosen)
        cut[b.QUERY_TOKENS] = words.to_tensor(shape=[None, spec.windows.query_tokens])
    shape = [None, spec.label.width]
    candidates = tf.gather(pages.candidates, chosen)
    position = tf.gather(pages.position, chosen)
    label = tf.gather(pages.label, chosen)
    return cut | {
        b.REQUEST_TIME: time,
        b.CANDIDATE_ENTITY: candidates.to_tensor(shape=shape),
        b.CANDIDATE_LENGTH: candidates.row_lengths(),
        b.CANDIDATE_POSITION: position.to_tensor(-1, shape=shape),
        b.LABEL: _heads(label.to_tensor(shape=shape), spec.label),
    }


def _pages_of_impressions(timelines: Timelines, spec: PageSpec, seed: tf.Tensor) -> Pages:
    times = timelines[f.PAGE_TIMESTAMP]
    shown = timelines[f.IMPRESSION_ENTITY]
    page = timelines[f.IMPRESSION_PAGE].flat_values
    page += tf.gather(times.row_starts(), shown.value_rowids())  # among the pages of the pool
    label = timelines[f.IMPRESSION_EVENTS].flat_values
    number = tf.size(times.flat_values, tf.int64)
    rank = positions(tf.RaggedTensor.from_value_rowids(page, page, nrows=number))
    kept = rank < spec.label.max_candidates
    if spec.negative_rate < 1.0:
        drawn = tf.random.stateless_uniform(tf.shape(page), seed) < spec.negative_rate
        kept &= drawn | (label > 0)

    def by_page(values: tf.Tensor) -> tf.RaggedTensor:
        kept_values, of_page = tf.boolean_mask(values, kept), tf.boolean_mask(page, kept)
        return tf.RaggedTensor.from_value_rowids(kept_values, of_page, nrows=number)

    rows = times.value_rowids()
    return Pages(
        rows=rows,
        ends=known_before(timelines, rows, timelines[f.PAGE_HISTORY_LENGTH].flat_values),
        time=times.flat_values,
        query=timelines[names.PAGE_QUERY_TOKENS].values,
        candidates=by_page(shown.flat_values),
        position=by_page(timelines[f.IMPRESSION_POSITION].flat_values),
        label=by_page(label),
    )


def _pages_of_events(timelines: Timelines, spec: PageSpec, seed: tf.Tensor) -> Pages:
    events = timelines[f.EVENT_ENTITY]
    index = tf.where(_rows_of_events(timelines, spec))[:, 0]  # [P]
    own = tf.gather(events.flat_values, index)[:, None]  # [P, 1]
    time = tf.gather(timelines[f.EVENT_TIMESTAMP].flat_values, index)
    if spec.label.source == "values":
        value = tf.gather(timelines[f.EVENT_VALUE].flat_values, index)
        candidates = own
        label = tf.cast(value >= spec.label.at_least, tf.int64)[:, None]
    else:
        assert spec.items is not None
        negatives = spec.items.draw(time, spec.label.negatives, seed)
        candidates = tf.concat([own, negatives], axis=1)
        label = tf.cast(tf.equal(candidates, own), tf.int64)
    rows = tf.gather(events.value_rowids(), index)
    return Pages(
        rows=rows,
        ends=known_before(timelines, rows, tf.gather(positions(events), index)),
        time=time,
        query=tf.gather(timelines[names.EVENT_QUERY_TOKENS].values, index),
        candidates=tf.RaggedTensor.from_tensor(candidates, row_splits_dtype=tf.int64),
        position=tf.RaggedTensor.from_tensor(-tf.ones_like(candidates), row_splits_dtype=tf.int64),
        label=tf.RaggedTensor.from_tensor(label, row_splits_dtype=tf.int64),
    )


def _rows_of_events(timelines: Timelines, spec: PageSpec) -> tf.Tensor:
    """Returns which events give rows, [E] bool: not those that an earlier chunk holds.

    Negatives of `events` are candidates, so positives are, too: else a model would learn to
    tell candidates from other entities.
    """
    events = timelines[f.EVENT_ENTITY]
    chosen = positions(events) >= per_value(context_lengths(timelines), events)
    if spec.event_types is not None:
        chosen &= is_one_of(timelines[f.EVENT_TYPE].flat_values, spec.event_types)
    if spec.label.source == "values":
        chosen &= tf.not_equal(timelines[f.EVENT_VALUE].flat_values, 0.0)  # 0 is no value
    if spec.label.source == "events":
        assert spec.items is not None
        chosen &= spec.items.hold(events.flat_values)
    return chosen


def _heads(label: tf.Tensor, config: LabelConfig) -> tf.Tensor:
    """Unpacks bit masks: [B, C] int64 -> [B, C, H] float32."""
    bits = tf.range(len(config.heads), dtype=tf.int64)
    return tf.cast(tf.bitwise.right_shift(label[:, :, None], bits) & 1, tf.float32)
