"""How often each entity occurs in the training split, for popularity@k."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from transforms import features
from transforms.arrow import pa
from transforms.arrow import pc
from transforms.arrow import pq

_BATCH = 256


def write_popularity(train_dir: str | Path, target: str | Path, most_timelines: int) -> int:
    """Counts events by entity.

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
    files = sorted(path for path in Path(train_dir).glob("*") if path.is_file())
    if not files:
        raise FileNotFoundError(f"No training timelines in {train_dir}; run the generator again.")
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


def _count_file(file: Path, parts: list[pa.Table]) -> int:
    """Appends one table a batch to `parts` and returns the number of timelines."""
    timelines = 0
    spec = {features.EVENT_ENTITY: tf.io.RaggedFeature(tf.string)}
    for batch in tf.data.TFRecordDataset(str(file), "GZIP").batch(_BATCH):
        entities = tf.io.parse_example(batch, spec)[features.EVENT_ENTITY].flat_values.numpy()
        counts = pa.array(entities, pa.binary()).value_counts()
        parts.append(pa.table({"entity": counts.field("values"), "events": counts.field("counts")}))
        timelines += int(batch.shape[0])
    return timelines
