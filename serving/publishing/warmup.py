"""Requests that TF Serving answers before a version serves, so that no user waits for a trace."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.example import example_pb2
from tensorflow.core.protobuf import saved_model_pb2

from serving.client import protos
from serving.client.tensors import fill_proto
from transforms import features

WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")
_HELD_OUT = ("target/", "slice/")
_LONGEST = 256  # events of a warm-up history


def write_warmup(saved_model: Path, timelines: Iterable[bytes], max_rows: int) -> int:
    """Writes warm-up requests beside a SavedModel.

    Each timeline becomes one request to each signature of `servable.json` that users
    ask (`serving_default`, `recommend`); as many as a request may have rows are one more
    request each, so that a batch is traced too. User ids and held-out events
    are left out.

    Args:
        saved_model: The SavedModel; `assets.extra` is written into it.
        timelines: Serialised raw timelines.
        max_rows: Rows that TF Serving takes in one request; a version with a
            larger warm-up request never loads.

    Returns:
        The number of requests; the file is written only if there are any.

    Raises:
        OSError: The file cannot be written.
    """
    examples = [_anonymous(timeline) for timeline in timelines]
    if not examples:
        return 0
    batch = examples[:max_rows]
    groups = [[one] for one in examples] + ([batch] if len(batch) > 1 else [])
    wanted = _recommend_inputs(saved_model)
    logs = []
    for group in groups:
        serialised = [one.SerializeToString(deterministic=True) for one in group]
        # As objects: NumPy's own byte strings lose zeros at the end.
        logs.append(_log("serving_default", {"examples": np.array(serialised, object)}))
        inputs = _dense(group)
        if wanted and wanted <= inputs.keys():
            logs.append(_log("recommend", {name: inputs[name] for name in sorted(wanted)}))
    file = saved_model / WARMUP_FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tf.io.TFRecordWriter(str(file)) as writer:
            for log in logs:
                writer.write(log.SerializeToString())
    except tf.errors.OpError as error:  # what TensorFlow raises on a full disk
        raise OSError(errno.EIO, f"Cannot write {file}: {error.message}") from error
    return len(logs)


def _anonymous(timeline: bytes) -> example_pb2.Example:
    """Returns a timeline without user id and held-out events."""
    example = example_pb2.Example.FromString(timeline)
    for name in list(example.features.feature):
        if name.startswith(_HELD_OUT):
            del example.features.feature[name]
    if features.USER_ID in example.features.feature:
        example.features.feature[features.USER_ID].bytes_list.value[:] = [b""]
    return example


def _recommend_inputs(saved_model: Path) -> set[str]:
    """Returns the names of the inputs of `recommend`; none without this signature."""
    message = saved_model_pb2.SavedModel.FromString((saved_model / "saved_model.pb").read_bytes())
    for graph in message.meta_graphs:
        if "recommend" in graph.signature_def:
            return set(graph.signature_def["recommend"].inputs)
    return set()


def _dense(examples: list[example_pb2.Example]) -> dict[str, Any]:
    """Returns the inputs of `recommend` for a batch of timelines."""
    ids = [_values(one, features.EVENT_ENTITY)[-_LONGEST:] for one in examples]
    events = [_values(one, features.EVENT_TYPE)[-_LONGEST:] for one in examples]
    times = [_values(one, features.EVENT_TIMESTAMP)[-_LONGEST:] for one in examples]
    attributes = [_values(one, features.USER_ATTRIBUTES) for one in examples]
    return {
        "history_ids": _pad(ids, b""),
        "history_events": _pad(events, b""),
        "history_timestamps": _pad(times, 0),
        "history_length": np.array([len(row) for row in ids], np.int64),
        "request_time": _first(examples, features.REQUEST_TIME, 0),
        "query": _first(examples, features.REQUEST_QUERY, b""),
        "user_attributes": _pad(attributes, b""),
        "user_attributes_length": np.array([len(row) for row in attributes], np.int64),
        "exclude_ids": _pad([[] for _ in examples], b""),
        "exclude_length": np.zeros(len(examples), np.int64),
    }


def _values(example: example_pb2.Example, name: str) -> list[Any]:
    """Returns the values of a feature; none if it is missing."""
    feature = example.features.feature.get(name)
    kind = feature.WhichOneof("kind") if feature is not None else None
    return list(getattr(feature, kind).value) if kind else []


def _first(examples: list[example_pb2.Example], name: str, default: Any) -> np.ndarray:
    """Returns the first value of a feature of each timeline: [B]."""
    values = [(_values(one, name) or [default])[0] for one in examples]
    return np.array(values, object if isinstance(default, bytes) else np.int64)


def _pad(rows: list[list[Any]], padding: Any) -> np.ndarray:
    """Returns [B, longest row, at least 1], filled up with `padding`."""
    width = max(1, *(len(row) for row in rows))
    dtype = object if isinstance(padding, bytes) else np.int64
    dense = np.full((len(rows), width), padding, dtype)
    for index, row in enumerate(rows):
        dense[index, : len(row)] = row
    return dense


def _log(signature: str, inputs: Mapping[str, Any]) -> Any:
    """Returns a `PredictionLog` of one request."""
    log = protos.PredictionLog()
    request = log.predict_log.request
    request.model_spec.signature_name = signature
    for name, values in inputs.items():
        fill_proto(request.inputs[name], values)
    return log
