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
from serving.publishing.requests import dense_inputs
from serving.publishing.servable_file import read_servable
from transforms import features

WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")
_HELD_OUT = ("target/", "label/", "slice/")
_ASKED = ("recommend", "rank")  # signatures of dense requests
_LONGEST = 256  # events of a warm-up history


def write_warmup(saved_model: Path, raw_examples: Iterable[bytes], max_rows: int) -> int:
    """Writes warm-up requests beside a SavedModel.

    Each example becomes one request to each signature of `servable.json` that users
    ask (`serving_default`, `recommend`, `rank`); as many as a request may have rows are one more
    request each, so that a batch is traced too. User ids and held-out events
    are left out.

    Args:
        saved_model: The SavedModel; `assets.extra` is written into it.
        raw_examples: Serialised raw timelines, or page examples.
        max_rows: Rows that TF Serving takes in one request; a version with a
            larger warm-up request never loads.

    Returns:
        The number of requests; the file is written only if there are any.

    Raises:
        FileNotFoundError: There is no `servable.json` or no SavedModel.
        OSError: The file cannot be written.
    """
    examples = [_anonymous(one) for one in raw_examples]
    if not examples:
        return 0
    batch = examples[:max_rows]
    groups = [[one] for one in examples] + ([batch] if len(batch) > 1 else [])
    signatures = _dense_signatures(saved_model)
    logs = []
    for group in groups:
        serialised = [one.SerializeToString(deterministic=True) for one in group]
        # As objects: NumPy's own byte strings lose zeros at the end.
        logs.append(_log("serving_default", {"examples": np.array(serialised, object)}))
        for name, wanted in signatures.items():
            inputs = dense_inputs(name, group, _LONGEST)
            if wanted <= inputs.keys():
                logs.append(_log(name, {key: inputs[key] for key in sorted(wanted)}))
    file = saved_model / WARMUP_FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tf.io.TFRecordWriter(str(file)) as writer:
            for log in logs:
                writer.write(log.SerializeToString())
    except tf.errors.OpError as error:  # what TensorFlow raises on a full disk
        raise OSError(errno.EIO, f"Cannot write {file}: {error.message}") from error
    return len(logs)


def _anonymous(raw_example: bytes) -> example_pb2.Example:
    """Returns an example without user id and held-out events."""
    example = example_pb2.Example.FromString(raw_example)
    for name in list(example.features.feature):
        if name.startswith(_HELD_OUT):
            del example.features.feature[name]
    if features.USER_ID in example.features.feature:
        example.features.feature[features.USER_ID].bytes_list.value[:] = [b""]
    return example


def _dense_signatures(saved_model: Path) -> dict[str, set[str]]:
    """Returns the signatures of dense requests that a servable answers, with their inputs."""
    asked = set(_ASKED) & set(read_servable(saved_model).signatures)
    message = saved_model_pb2.SavedModel.FromString((saved_model / "saved_model.pb").read_bytes())
    return {
        name: set(graph.signature_def[name].inputs)
        for graph in message.meta_graphs
        for name in sorted(asked & graph.signature_def.keys())
    }


def _log(signature: str, inputs: Mapping[str, Any]) -> Any:
    """Returns a `PredictionLog` of one request."""
    log = protos.PredictionLog()
    request = log.predict_log.request
    request.model_spec.signature_name = signature
    for name, values in inputs.items():
        fill_proto(request.inputs[name], values)
    return log
