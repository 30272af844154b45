"""Click rate of each entity in the training split: popularity, as a ranker."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfx_pipeline.evaluation.popularity import training_files
from transforms import features as f
from transforms.arrow import pa
from transforms.arrow import pc
from transforms.arrow import pq
from transforms.arrow import read_table
from transforms.label_config import LabelConfig
from transforms.targets import ANY
from transforms.targets import counted_events

PRIOR = 20.0  # candidates that an entity is thought to have had beforehand, at the mean rate
_BATCH = 256
_UNKNOWN = b""  # stands first, with the rates of entities outside training


def write_click_rates(
    train_dir: str | Path, target: str | Path, label: LabelConfig, most_timelines: int
) -> int:
    """Counts the click rate of every entity in training, smoothed towards the mean.

        rate = (positives + n mean) / (candidates + n),   mean = (P + 1) / (N + 2)

    with n = `PRIOR`, and P positives among N candidates in all. An entity outside training
    has the mean. Where each event is a positive (`events`) the candidates of an entity are
    its events and an equal share of the random negatives, and one outside training has that
    share alone.

    Args:
        train_dir: Directory of gzipped TFRecord files of raw timelines.
        target: Parquet file to write, with the columns `entity` (binary; empty for all
            that training has not) and `rate_<h>` (double) of each head h.
        label: Which rows there are, and when they are positive.
        most_timelines: Stop after about this many timelines.

    Returns:
        Number of different entities.

    Raises:
        FileNotFoundError: There are no files.
    """
    counts = _count(training_files(train_dir), label, most_timelines)
    shown = np.append(0.0, counts["shown"].to_numpy())  # outside training first
    if label.source == "events":
        shown += label.negatives * shown.sum() / max(1, counts.num_rows)
    total = shown[1:].sum()
    unknown = pa.array([_UNKNOWN], pa.binary())
    rates = {"entity": pa.concat_arrays([unknown, counts["entity"].combine_chunks()])}
    for head in range(len(label.heads)):
        positives = np.append(0.0, counts[f"positives_{head}"].to_numpy())
        mean = (positives.sum() + 1.0) / (total + 2.0)
        rates[f"rate_{head}"] = (positives + PRIOR * mean) / (shown + PRIOR)
    pq.write_table(pa.table(rates), target)
    return counts.num_rows


class ClickRates:
    """Click rates by entity.

    Args:
        path: What `write_click_rates` wrote.
    """

    def __init__(self, path: str | Path) -> None:
        table = read_table(path)
        self._entity = table["entity"].combine_chunks()
        names = [name for name in table.column_names if name.startswith("rate_")]
        rates = np.stack([table[name].to_numpy() for name in names], axis=1)
        self._rates = rates.astype(np.float32)

    def look_up(self, entities: pa.Array) -> np.ndarray:
        """Returns [n, H] float32, the rates of [n] entities; the mean where it is unknown."""
        row = pc.index_in(entities.cast(pa.binary()), self._entity)
        return self._rates[pc.fill_null(row, 0).to_numpy()]


def _count(files: Iterable[Path], label: LabelConfig, most_timelines: int) -> pa.Table:
    """Returns `entity`, `shown` (int64) and `positives_<h>` (int64) of each head."""
    parts: list[pa.Table] = []
    timelines = 0
    for file in files:
        for batch in tf.data.TFRecordDataset(str(file), "GZIP").batch(_BATCH):
            entity, bits = _rows(batch, label)
            heads = {f"positives_{h}": bits >> h & 1 for h in range(len(label.heads))}
            columns = {"entity": pa.array(entity, pa.binary()), "shown": np.ones_like(bits)}
            parts.append(_summed([pa.table(columns | heads)]))
            timelines += int(batch.shape[0])
        parts = [_summed(parts)]
        if timelines >= most_timelines:
            break
    return parts[0]


def _summed(parts: list[pa.Table]) -> pa.Table:
    """Adds the counts of each entity up."""
    table = pa.concat_tables(parts)
    names = [name for name in table.column_names if name != "entity"]
    summed = table.group_by("entity").aggregate([(name, "sum") for name in names])
    return summed.select(["entity", *(f"{name}_sum" for name in names)]).rename_columns(
        ["entity", *names]
    )


def _rows(batch: tf.Tensor, label: LabelConfig) -> tuple[np.ndarray, np.ndarray]:
    """Returns the entity of each row of serialised timelines and its label: bit h is head h."""
    if label.source == "impressions":
        spec = {name: _ragged(kind) for name, kind in _IMPRESSION.items()}
        parsed = tf.io.parse_example(batch, spec)
        shown, bits = (parsed[name].flat_values.numpy() for name in _IMPRESSION)
        return shown, bits
    spec = {name: _ragged(kind) for name, kind in _EVENT.items()}
    length = tf.io.FixedLenFeature([], tf.int64, 0)
    parsed = tf.io.parse_example(batch, spec | {f.CONTEXT_LENGTH: length})
    entity, kind, value = (parsed[name].flat_values.numpy() for name in _EVENT)
    chosen = counted_events(parsed[f.EVENT_ENTITY], parsed[f.CONTEXT_LENGTH]).numpy()
    if ANY not in label.events:
        wanted = pa.array([name.encode() for name in label.events], pa.binary())
        chosen &= pc.is_in(pa.array(kind, pa.binary()), wanted).to_numpy(zero_copy_only=False)
    if label.source == "events":
        return entity[chosen], np.ones(int(chosen.sum()), np.int64)
    chosen &= value != 0.0  # 0 is no value
    return entity[chosen], (value[chosen] >= label.at_least).astype(np.int64)


_IMPRESSION: Mapping[str, tf.DType] = {
    f.IMPRESSION_ENTITY: tf.string,
    f.IMPRESSION_EVENTS: tf.int64,
}
_EVENT: Mapping[str, tf.DType] = {
    f.EVENT_ENTITY: tf.string,
    f.EVENT_TYPE: tf.string,
    f.EVENT_VALUE: tf.float32,
}


def _ragged(kind: tf.DType) -> tf.io.RaggedFeature:
    return tf.io.RaggedFeature(kind, row_splits_dtype=tf.int64)
