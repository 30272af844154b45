"""From files of transformed timelines to batches of windows and targets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from models.config import InputConfig
from models.input import batch as b
from models.input.target_rule import TargetRule
from models.input.target_rule import draw_targets
from models.input.timeline_files import Spec
from models.input.timeline_files import parsed_timelines
from models.input.timeline_files import timeline_records
from models.input.timelines import Timelines
from models.input.timelines import known_events
from models.input.windows import WindowSpec
from models.input.windows import cut_last_windows
from models.input.windows import cut_windows
from models.training.replicas import WHOLE
from models.training.replicas import InputPart
from transforms import features as f
from transforms import names
from transforms.ragged import first_or


def training_batches(
    files: Sequence[str],
    spec: Spec,
    windows: WindowSpec,
    rule: TargetRule,
    config: InputConfig,
    targets_per_timeline: int,
    seed: int,
    part: InputPart = WHOLE,
) -> tf.data.Dataset:
    """Batches of training targets, shuffled across users, with the windows before them.

    Timelines are shuffled and read in pools; a pool's targets are shuffled and
    cut batch by batch, so that a batch mixes hundreds of users and no window exists
    before its batch. Every epoch shuffles anew, and equal seeds shuffle equally.

    Args:
        files: Gzipped TFRecord files of transformed timelines.
        spec: The transformed feature spec.
        windows: What windows hold.
        rule: Which events may be targets.
        config: Sizes of batches, pools and buffers.
        targets_per_timeline: At most so many targets of a timeline; 0 takes all.
        seed: Of the shuffles.
        part: The timelines that are read, and how many replicas share a batch.

    Returns:
        Dataset of dictionaries (`models.input.batch`) with B rows each; the last batch
        of an epoch may have fewer.

    Raises:
        ValueError: There is no file.
    """
    serialised = timeline_records(files, seed, part).shuffle(config.shuffle_buffer, seed=seed)
    wanted = windows.timeline_features
    if windows.query_tokens:
        wanted += (names.EVENT_QUERY_TOKENS,)
    pools = parsed_timelines(serialised, spec, config.pool, wanted)
    seeds = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(2)

    @tf.autograph.experimental.do_not_convert
    def cut_pool(timelines: Timelines, pool_seed: tf.Tensor) -> tf.data.Dataset:
        timelines = known_events(timelines)
        rows, ends = draw_targets(timelines, rule, targets_per_timeline, pool_seed)
        size = max(1, config.batch_size // part.replicas)
        starts = tf.data.Dataset.range(0, tf.size(rows, tf.int64), size)

        @tf.autograph.experimental.do_not_convert
        def cut(start: tf.Tensor) -> dict[str, tf.Tensor]:
            chosen = slice(start, start + size)
            return _examples(timelines, rows[chosen], ends[chosen], windows)

        return starts.map(cut, num_parallel_calls=tf.data.AUTOTUNE)

    batches = tf.data.Dataset.zip((pools, seeds)).flat_map(cut_pool)
    return batches.rebatch(max(1, config.batch_size // part.replicas)).prefetch(8)


def evaluation_batches(
    files: Sequence[str], spec: Spec, windows: WindowSpec, batch_size: int = 256
) -> tf.data.Dataset:
    """Batches of held-out targets with the windows before them, one row a timeline.

    Args:
        files: Gzipped TFRecord files of transformed timelines with targets.
        spec: The transformed feature spec.
        windows: What windows hold.
        batch_size: Timelines in a batch.

    Returns:
        Dataset of dictionaries (`models.input.batch`); `target/entity` is [B, M], padded.

    Raises:
        ValueError: There is no file.
    """
    wanted = (*windows.timeline_features, f.REQUEST_TIME, f.TARGET_ENTITY)

    @tf.autograph.experimental.do_not_convert
    def cut(timelines: Timelines) -> dict[str, tf.Tensor]:
        targets = timelines[f.TARGET_ENTITY]
        return cut_last_windows(timelines, windows) | {
            b.REQUEST_TIME: first_or(timelines[f.REQUEST_TIME], 0),
            b.TARGET_ENTITY: targets.to_tensor(),
            b.TARGET_NUMBER: targets.row_lengths(),
        }

    parsed = parsed_timelines(timeline_records(files), spec, batch_size, wanted)
    return parsed.map(cut, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)


def target_frequencies(
    files: Sequence[str], spec: Spec, rule: TargetRule, targets_per_timeline: int
) -> np.ndarray:
    """Counts how often each entity is a target in an epoch, on average.

    Without a limit on the targets of a timeline these are Transform's counts;
    with one, the targets of long timelines are drawn less often each.

    Args:
        files: Gzipped TFRecord files of transformed timelines.
        spec: The transformed feature spec.
        rule: Which events may be targets.
        targets_per_timeline: The limit; 0 is none.

    Returns:
        [V + 1] float64.
    """
    total = np.zeros(rule.entities.shape, np.float64)
    for timelines in parsed_timelines(
        timeline_records(files), spec, 1024, (f.EVENT_ENTITY, f.EVENT_TYPE)
    ):
        timelines = known_events(timelines)
        events = timelines[f.EVENT_ENTITY]
        eligible = tf.cast(rule.eligible(timelines), tf.float64)
        share = tf.ones_like(eligible)
        if targets_per_timeline:
            number = tf.math.segment_sum(eligible, events.value_rowids())
            limit = tf.minimum(1.0, float(targets_per_timeline) / tf.maximum(number, 1.0))
            share = tf.gather(limit, events.value_rowids())
        total += np.bincount(
            events.flat_values.numpy(), (eligible * share).numpy(), minlength=total.size
        )
    return total


def _examples(
    timelines: Timelines, rows: tf.Tensor, ends: tf.Tensor, windows: WindowSpec
) -> dict[str, tf.Tensor]:
    """Cuts targets and the windows before them; the request is the target event's."""
    events = timelines[f.EVENT_ENTITY]
    index = tf.gather(events.row_starts(), rows) + ends  # [B]
    time = None
    if windows.use_time:
        time = tf.gather(timelines[f.EVENT_TIMESTAMP].flat_values, index)
    cut = cut_windows(timelines, rows, ends, windows, time)
    if windows.query_tokens:
        tokens = tf.gather(timelines[names.EVENT_QUERY_TOKENS].values, index)  # [B, (words)]
        cut[b.QUERY_TOKENS] = tokens.to_tensor(shape=[None, windows.query_tokens])
    return cut | {b.TARGET_ENTITY: tf.gather(events.flat_values, index)}
