"""Counts of a training split, from which defaults follow."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from models.defaults import LogStatistics
from models.input.timeline_files import parsed_timelines
from models.input.timeline_files import timeline_records
from models.input.timelines import context_lengths
from models.input.timelines import known_events
from models.training.data import TrainingData
from transforms import features as f

_WANTED = (f.EVENT_ENTITY, f.EVENT_TIMESTAMP)
_FIRST_TIME = 631_152_000_000_000  # 1990, microseconds; an order counts from 1970


def log_statistics(data: TrainingData) -> LogStatistics:
    """Counts events, users, repeats and lengths in one pass over the timelines.

    Chunks of a long timeline count one by one where lengths and repeats are concerned; what
    a chunk repeats as context is no event of it.

    Args:
        data: What is learned from.

    Raises:
        ValueError: There is no file.
    """
    events = users = repeats = newest = 0
    lengths = [np.zeros(0, np.int64)]
    records = timeline_records(data.train_files)
    for timelines in parsed_timelines(records, data.spec, 1024, _WANTED):
        timelines = known_events(timelines)
        entities = timelines[f.EVENT_ENTITY]
        ids, rows = entities.flat_values.numpy(), entities.value_rowids().numpy()
        context = context_lengths(timelines).numpy()  # [U]
        rank = np.arange(len(ids)) - entities.row_starts().numpy()[rows]
        is_new = rank >= context[rows]
        events += int(is_new.sum())
        newest = max(newest, timelines[f.EVENT_TIMESTAMP].flat_values.numpy().max(initial=0))
        repeats += int((is_new & ~_are_first(rows, ids, data.sizes.entity)).sum())
        first = _is_first_chunk(timelines)
        lengths.append(entities.row_lengths().numpy())
        users += int((first & (lengths[-1] > 0)).sum())
    each = np.concatenate(lengths)
    counts = data.target_counts
    return LogStatistics(
        events=events,
        users=users,
        items=int((counts > 0).sum()),
        targets=int(counts.sum()),
        repeats=repeats / max(1, events),
        long_history=int(np.percentile(each[each > 0], 95)) if events else 0,
        has_times=bool(newest >= _FIRST_TIME),
    )


def _are_first(rows: np.ndarray, ids: np.ndarray, size: int) -> np.ndarray:
    """Says which events are the first of their entity in their timeline, [E] bool."""
    first = np.zeros(len(ids), bool)
    first[np.unique(rows * np.int64(size) + ids, return_index=True)[1]] = True
    return first


def _is_first_chunk(timelines: dict[str, tf.RaggedTensor]) -> np.ndarray:
    if f.CHUNK not in timelines:
        return np.ones(int(timelines[f.EVENT_ENTITY].nrows()), bool)
    chunk: np.ndarray = timelines[f.CHUNK].to_tensor(0, shape=[None, 1])[:, 0].numpy()
    return chunk == 0
