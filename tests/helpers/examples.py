"""Raw timelines and catalogue rows as `TimelineExampleGen` writes them, made by hand."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transforms import features


def example(**columns: Any) -> bytes:
    """Serialises one `tf.Example`; a column is a str, bytes, int, float or a list of one kind."""
    import tensorflow as tf

    built = tf.train.Example()
    for name, value in columns.items():
        values = list(value) if isinstance(value, (list, tuple)) else [value]
        feature = built.features.feature[name]
        if not values:
            feature.SetInParent()
        elif isinstance(values[0], (str, bytes)):
            feature.bytes_list.value.extend(
                item.encode() if isinstance(item, str) else item for item in values
            )
        elif isinstance(values[0], float):
            feature.float_list.value.extend(values)
        else:
            feature.int64_list.value.extend(values)
    return built.SerializeToString(deterministic=True)


def timeline(
    user: str,
    history: Sequence[str],
    *,
    event: str | Sequence[str] = "watch",
    timestamps: Sequence[int] | None = None,
    targets: Sequence[str] = (),
    request_time: int = 0,
    attributes: Sequence[str] = (),
    query: str = "",
) -> bytes:
    """One raw timeline of `history` entities ("type:id", oldest first) with held-out `targets`."""
    types = [event] * len(history) if isinstance(event, str) else list(event)
    times = list(timestamps) if timestamps is not None else list(range(1, len(history) + 1))
    columns: dict[str, Any] = {
        features.USER_ID: user,
        features.USER_ATTRIBUTES: list(attributes),
        features.REQUEST_TIME: request_time,
        features.REQUEST_QUERY: query,
        features.EVENT_ENTITY: list(history),
        features.EVENT_TYPE: types,
        features.EVENT_TIMESTAMP: times,
        features.EVENT_QUERY: [""] * len(history),
        features.EVENT_VALUE: [0.0] * len(history),
        features.SLICE_ACTIVITY: "1-9",
    }
    if targets:
        columns[features.TARGET_ENTITY] = list(targets)
        columns[features.TARGET_TYPE] = ["watch"] * len(targets)
        columns[features.TARGET_TIMESTAMP] = [0] * len(targets)
        columns[features.SLICE_TARGET_POPULARITY] = ["head"] * len(targets)
    return example(**columns)


def catalogue_row(
    entity: str,
    *,
    title: str | None = None,
    available_from: int | None = None,
    categories: Sequence[str] = (),
) -> bytes:
    """One raw catalogue row of `entity` ("type:id")."""
    columns: dict[str, Any] = {
        features.CATALOGUE_ENTITY: entity,
        features.CATALOGUE_TYPE: entity.partition(":")[0],
        features.CATALOGUE_CATEGORIES: list(categories),
    }
    if title is not None:
        columns[features.CATALOGUE_TITLE] = title
    if available_from is not None:
        columns[features.CATALOGUE_AVAILABLE_FROM] = available_from
    return example(**columns)


def write_examples(uri: Path, splits: Mapping[str, Iterable[bytes]], shards: int = 1) -> Path:
    """Writes splits in TFX's layout (`Split-<name>/data_tfrecord-00000-of-0000n.gz`)."""
    import tensorflow as tf

    for name, rows in splits.items():
        folder = uri / f"Split-{name}"
        folder.mkdir(parents=True, exist_ok=True)
        listed = list(rows)
        for shard in range(shards):
            path = folder / f"data_tfrecord-{shard:05d}-of-{shards:05d}.gz"
            with tf.io.TFRecordWriter(str(path), options="GZIP") as writer:
                for row in listed[shard::shards]:
                    writer.write(row)
    return uri
