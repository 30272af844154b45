"""Requests and answers of TF Serving's protocol; knows no network."""

from __future__ import annotations

import operator
import time
from collections.abc import Mapping
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.client import protos
from serving.client.errors import InvalidAnswerError
from serving.client.errors import Target
from serving.client.errors import answers
from serving.client.tensors import fill_proto
from serving.client.tensors import from_proto
from serving.client.tensors import pad
from serving.client.types import Event
from serving.client.types import ModelMetadata
from serving.client.types import Prediction
from serving.client.types import Recommendation
from serving.client.types import Request
from serving.client.types import Signature
from serving.client.types import TensorInfo
from serving.client.types import VersionStatus

# canonical google.rpc codes, which `StatusProto` uses
_CODES = (
    "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS "
    "PERMISSION_DENIED RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED "
    "INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED"
).split()


def fill_spec(spec: Any, target: Target) -> None:
    """Writes model and version or label into a `ModelSpec`."""
    spec.name = target.model
    if target.version is not None:
        spec.version.value = target.version
    elif target.label:
        spec.version_label = target.label


def predict_request(
    target: Target, inputs: Mapping[str, npt.ArrayLike], output_filter: Sequence[str] = ()
) -> Any:
    """Returns the `PredictRequest` for a signature.

    Raises:
        ValueError: an input cannot be sent; the message names it.
    """
    request = protos.PredictRequest()
    fill_spec(request.model_spec, target)
    request.model_spec.signature_name = target.signature
    request.output_filter.extend(output_filter)
    for name, values in inputs.items():
        try:
            fill_proto(request.inputs[name], values)
        except ValueError as error:
            raise ValueError(f"Input `{name}`: {error}") from error
    return request


def recommend_inputs(requests: Sequence[Request]) -> dict[str, npt.NDArray[Any]]:
    """Lays requests out as the inputs of the signature `recommend`.

    Args:
        requests: B requests.

    Returns:
        `history_ids`, `history_events` [B, T] and `history_timestamps` [B, T],
        `history_length` [B], `exclude_ids` [B, E], `exclude_length` [B],
        `request_time` [B], `query` [B], `user_attributes` [B, A],
        `user_attributes_length` [B]: bytes or int64. T, E and A are at least 1.

    Raises:
        ValueError: a history is not oldest first, an event is not a triple, or
            a string or a time cannot be sent.
    """
    for request in requests:
        if not isinstance(request, Request):
            raise ValueError(f"Expected `Request`s. Received: {request!r}.")
    lengths = row_lengths(request.history for request in requests)
    flat = list(chain.from_iterable(request.history for request in requests))
    try:
        ids = [event.id for event in flat]
        events = [event.event for event in flat]
        times = [event.timestamp for event in flat]
    except AttributeError:
        odd = next(event for event in flat if not isinstance(event, Event))
        raise ValueError(
            f"Expected a history of `Event(id, event, timestamp)`. Received: {odd!r} in it."
        ) from None
    timestamps = microseconds(times, "timestamp")
    _check_order(timestamps, lengths)
    now = time.time_ns() // 1000
    when = [now if r.request_time is None else r.request_time for r in requests]
    inputs = {
        "history_ids": pad(_entities(encode(ids), "history"), lengths, b"", object),
        "history_events": pad(encode(events), lengths, b"", object),
        "history_timestamps": pad(timestamps, lengths, 0, np.int64),
        "history_length": lengths,
        "request_time": microseconds(when, "request_time"),
        "query": np.array(encode([r.query for r in requests]), dtype=object),
    }
    for name, length_name, rows in (
        ("exclude_ids", "exclude_length", [r.exclude_ids for r in requests]),
        ("user_attributes", "user_attributes_length", [r.user_attributes for r in requests]),
    ):
        if any(isinstance(row, str) for row in rows):
            raise ValueError(f"Expected a sequence of strings for `{name}`. Received: one string.")
        inputs[length_name] = row_lengths(rows)
        values = encode(list(chain.from_iterable(rows)))
        if name == "exclude_ids":
            _entities(values, name)
        inputs[name] = pad(values, inputs[length_name], b"", object)
    return inputs


def _entities(ids: list[bytes], where: str) -> list[bytes]:
    """Returns ids that are all written `type:id`; a model knows no others.

    Raises:
        ValueError: One is not.
    """
    for name in ids:
        if b":" not in name:
            raise ValueError(
                f"Expected ids in `{where}` as `type:id`, for instance `item:{name.decode()}`. "
                f"Received: `{name.decode()}`."
            )
    return ids


def query_inputs(requests: Sequence[Request]) -> dict[str, npt.NDArray[Any]]:
    """Lays requests out as the inputs of `embed_query`: those of `recommend` without exclusions."""
    inputs = recommend_inputs(requests)
    return {name: values for name, values in inputs.items() if not name.startswith("exclude_")}


def parse_prediction(response: Any, target: Target) -> Prediction:
    """Reads a `PredictResponse`.

    Raises:
        InvalidAnswerError: an output cannot be read.
    """
    with answers(target):
        outputs = {name: from_proto(tensor) for name, tensor in response.outputs.items()}
        spec = response.model_spec
        return Prediction(outputs, spec.name, spec.version.value, target.signature)


def parse_recommendations(
    prediction: Prediction, ids_name: str, rows: int, k: int, target: Target
) -> list[Recommendation]:
    """Reads the outputs of a retrieval signature.

    Args:
        prediction: its outputs; ids [B, n] bytes and `scores` [B, n] float, of
            which the tail may be empty ids with score -inf.
        ids_name: name of the output that holds the ids.
        rows: B, as it was sent.
        k: how many to keep of each row.
        target: what was called.

    Raises:
        InvalidAnswerError: an output is missing, has another type or shape, an
            id is not UTF-8, or a real id has a score that is not finite.
    """
    ids, scores = prediction.outputs.get(ids_name), prediction.outputs.get("scores")
    if ids is None or scores is None or ids.ndim != 2 or ids.shape != scores.shape:
        raise InvalidAnswerError(
            target,
            "DATA_LOSS",
            f"expected outputs `{ids_name}` and `scores` of one shape [B, k], received "
            f"{ {name: value.shape for name, value in prediction.outputs.items()} }",
        )
    if len(ids) != rows:
        raise InvalidAnswerError(
            target, "DATA_LOSS", f"{rows} rows were sent and {len(ids)} came back"
        )
    if ids.dtype.kind != "O" or scores.dtype.kind not in "fiu":
        raise InvalidAnswerError(
            target,
            "DATA_LOSS",
            f"expected `{ids_name}` to be strings and `scores` to be numbers, received {ids.dtype} "
            f"and {scores.dtype} (`object` is strings)",
        )
    ids, scores = ids[:, :k], scores[:, :k].astype(np.float32)  # [B, k]
    real = ids != b""  # [B, k]
    if not np.isfinite(scores[real]).all():
        raise InvalidAnswerError(target, "DATA_LOSS", "an id came back with a score of NaN or inf")
    with answers(target):  # an id may not be UTF-8
        return [
            Recommendation(
                tuple(name.decode() for name in row[keep]),
                score[keep],
                prediction.model,
                prediction.version,
            )
            for row, score, keep in zip(ids, scores, real, strict=True)
        ]


def parse_status(response: Any, target: Target) -> list[VersionStatus]:
    """Reads a `GetModelStatusResponse`, newest version first.

    Raises:
        InvalidAnswerError: it cannot be read.
    """
    with answers(target):
        found = [
            VersionStatus(
                status.version,
                protos.state_name(status.state),
                _code_name(status.status.error_code),
                status.status.error_message,
            )
            for status in response.model_version_status
        ]
    return sorted(found, key=lambda status: -status.version)


def parse_metadata(response: Any, target: Target) -> ModelMetadata:
    """Reads a `GetModelMetadataResponse`.

    Raises:
        InvalidAnswerError: it holds no signatures that can be read.
    """
    with answers(target):
        if "signature_def" not in response.metadata:
            raise ValueError("expected metadata `signature_def`, received none")
        packed = response.metadata["signature_def"].value
        signatures = protos.SignatureDefMap.FromString(packed).signature_def
        return ModelMetadata(
            response.model_spec.name,
            response.model_spec.version.value,
            {
                name: Signature(_tensor_infos(definition.inputs), _tensor_infos(definition.outputs))
                for name, definition in sorted(signatures.items())
                if not name.startswith("__")
            },
        )


def _tensor_infos(tensors: Any) -> dict[str, TensorInfo]:
    return {
        name: TensorInfo(
            protos.data_type_name(info.dtype),
            None
            if info.tensor_shape.unknown_rank
            else tuple(dim.size for dim in info.tensor_shape.dim),
        )
        for name, info in sorted(tensors.items())
    }


def _code_name(number: int) -> str:
    return _CODES[number] if 0 <= number < len(_CODES) else f"code {number}"


def encode(values: Sequence[str]) -> list[bytes]:
    """Returns strings as UTF-8, or raises `ValueError`."""
    try:
        return [value.encode() for value in values]
    except AttributeError:
        odd = next(value for value in values if not isinstance(value, str))
        raise ValueError(f"Expected strings. Received: {odd!r}.") from None
    except UnicodeEncodeError as error:
        raise ValueError(f"Expected strings of UTF-8. Received: {error.object!r}.") from None


def microseconds(values: Sequence[int], name: str) -> npt.NDArray[np.int64]:
    """Returns times as int64, or raises `ValueError`."""
    try:
        return np.array([operator.index(value) for value in values], dtype=np.int64)
    except (TypeError, OverflowError):
        odd = next(value for value in values if not _is_int64(value))
        raise ValueError(
            f"Expected `{name}` in whole microseconds since the epoch, within int64. Received: "
            f"{odd!r}."
        ) from None


def _is_int64(value: Any) -> bool:
    return hasattr(value, "__index__") and -(1 << 63) <= operator.index(value) < 1 << 63


def row_lengths(rows: Any) -> npt.NDArray[np.int64]:
    """Returns how many values each row has, [B]."""
    return np.array([len(row) for row in rows], dtype=np.int64)


def _check_order(timestamps: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> None:
    falls = np.flatnonzero(np.diff(timestamps) < 0) + 1  # flat positions of earlier events
    starts = np.cumsum(lengths)[:-1]
    wrong = falls[~np.isin(falls, starts)]
    if wrong.size:
        row = int(np.searchsorted(np.cumsum(lengths), wrong[0], side="right"))
        raise ValueError(
            f"Expected every history oldest first. Received: row {row} goes back in time. Sort "
            "it by timestamp."
        )
