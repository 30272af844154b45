"""Counts of each entity in the training split, and the candidates that occur most."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from transforms import features
from transforms.arrow import pa
from transforms.arrow import pc
from transforms.arrow import pq
from transforms.arrow import read_table
from transforms.targets import counted_events

_BATCH = 256
_LONGEST = 20_000  # of the most popular; no metric asks for a rank beyond them


def training_files(train_dir: str | Path) -> list[Path]:
    """Returns the files of the training split.

    Raises:
        FileNotFoundError: There are none.
    """
    files = sorted(path for path in Path(train_dir).glob("*") if path.is_file())
    if not files:
        raise FileNotFoundError(f"No training timelines in {train_dir}; run the generator again.")
    return files


def write_popularity(train_dir: str | Path, target: str | Path, most_timelines: int) -> int:
    """Counts events by entity, those that a user's chunks repeat as context once.

    Args:
        train_dir: Directory of gzipped TFRecord files of raw timelines.
        target: Parquet file to write, with the columns `entity` (binary) and
            `events` (double). The counts of a part of the timelines are scaled
            to all files, by the share of bytes that was read.
        most_timelines: Stop after about this many timelines.

    Returns:
        Number of different entities.

    Raises:
        FileNotFoundError: There are no files.
    """
    files = training_files(train_dir)
    parts: list[pa.Table] = []
    timelines = read = 0
    for file in files:
        timelines += _count_file(file, parts)
        read += file.stat().st_size
        if timelines >= most_timelines:
            break
    counts = pa.concat_tables(parts).group_by("entity").aggregate([("events", "sum")])
    scale = sum(file.stat().st_size for file in files) / max(1, read)
    events = pc.multiply(counts["events_sum"].cast(pa.float64()), scale)
    pq.write_table(pa.table({"entity": counts["entity"], "events": events}), target)
    return counts.num_rows


def write_most_popular(popularity: str | Path, candidates: str | Path, target: str | Path) -> None:
    """Ranks candidates by training events, the most popular first, equal ones in their order.

    Args:
        popularity: What `write_popularity` wrote.
        candidates: `candidates.parquet` of an index.
        target: Parquet file to write, with the columns `entity` (binary) and
            `available_from` (int64, microseconds, 0 for always).
    """
    counts = read_table(popularity)
    rows = read_table(candidates, columns=["id", "available_from"])
    entity = rows["id"].cast(pa.binary()).combine_chunks()
    row = pc.index_in(entity, counts["entity"].combine_chunks().cast(pa.binary()))
    events = pc.fill_null(counts["events"].combine_chunks().take(row), 0.0)
    order = pa.array(np.argsort(-events.to_numpy(), kind="stable")[:_LONGEST])
    moments = pc.max_element_wise(rows["available_from"].combine_chunks(), 0)
    ranked = {"entity": entity.take(order), "available_from": moments.take(order)}
    pq.write_table(pa.table(ranked), target)


def _count_file(file: Path, parts: list[pa.Table]) -> int:
    """Appends one table a batch to `parts` and returns the number of timelines."""
    timelines = 0
    spec = {
        features.EVENT_ENTITY: tf.io.RaggedFeature(tf.string, row_splits_dtype=tf.int64),
        features.CONTEXT_LENGTH: tf.io.FixedLenFeature([], tf.int64, 0),
    }
    for batch in tf.data.TFRecordDataset(str(file), "GZIP").batch(_BATCH):
        parsed = tf.io.parse_example(batch, spec)
        entities = parsed[features.EVENT_ENTITY]
        counted = counted_events(entities, parsed[features.CONTEXT_LENGTH])
        chosen = tf.boolean_mask(entities.flat_values, counted).numpy()
        counts = pa.array(chosen, pa.binary()).value_counts()
        parts.append(pa.table({"entity": counts.field("values"), "events": counts.field("counts")}))
        timelines += int(batch.shape[0])
    return timelines
