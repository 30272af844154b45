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

from serving.client import HistoryCodes
from serving.client import protos
from serving.client.tensors import fill_proto
from serving.publishing.requests import dense_inputs
from serving.publishing.servable_file import read_servable
from transforms import features

WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")
_HELD_OUT = ("target/", "label/", "slice/")
_ASKED = ("serving_default", "recommend", "rank", "rank_codes")  # signatures that users ask
_LONGEST = 256  # events of a warm-up history


def write_warmup(saved_model: Path, raw_examples: Iterable[bytes], max_rows: int) -> int:
    """Writes warm-up requests beside a SavedModel.

    Each example becomes one request to each signature of `servable.json` that users
    ask (`serving_default`, `recommend`, `rank`, `rank_codes`); as many as a request may have
    rows are one more request each, so that a batch is traced too. User ids and held-out events
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
        ValueError: A signature is not there, or has an input that no request has.
    """
    examples = [_anonymous(one) for one in raw_examples]
    if not examples:
        return 0
    batch = examples[:max_rows]
    groups = [[one] for one in examples] + ([batch] if len(batch) > 1 else [])
    signatures = _asked_signatures(saved_model)
    codes = HistoryCodes.read(saved_model) if "rank_codes" in signatures else None
    logs = []
    for group in groups:
        serialised = [one.SerializeToString(deterministic=True) for one in group]
        for name, wanted in signatures.items():
            if name == "serving_default":
                # As objects: NumPy's own byte strings lose zeros at the end.
                inputs = {"examples": np.array(serialised, object)}
            elif name == "rank_codes" and codes:
                inputs = codes.encode(dense_inputs("rank", group, _LONGEST))
            else:
                inputs = dense_inputs(name, group, _LONGEST)
            if unknown := sorted(wanted - inputs.keys()):
                raise ValueError(
                    f"The signature `{name}` of {saved_model} cannot be warmed up: requests have "
                    f"no {', '.join(unknown)}. They have {', '.join(sorted(inputs))}."
                )
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


def _asked_signatures(saved_model: Path) -> dict[str, set[str]]:
    """Returns the signatures that users ask and `servable.json` names, with their inputs."""
    named = read_servable(saved_model).signatures
    message = saved_model_pb2.SavedModel.FromString((saved_model / "saved_model.pb").read_bytes())
    found = {
        name: set(signature.inputs)
        for graph in message.meta_graphs
        for name, signature in graph.signature_def.items()
    }
    asked = [name for name in _ASKED if name in named]
    if missing := [name for name in asked if name not in found]:
        raise ValueError(
            f"servable.json of {saved_model} names the signatures {', '.join(missing)}, which its "
            "SavedModel does not have. Run the pipeline again."
        )
    return {name: found[name] for name in asked}


def _log(signature: str, inputs: Mapping[str, Any]) -> Any:
    """Returns a `PredictionLog` of one request."""
    log = protos.PredictionLog()
    request = log.predict_log.request
    request.model_spec.signature_name = signature
    for name, values in inputs.items():
        fill_proto(request.inputs[name], values)
    return log
