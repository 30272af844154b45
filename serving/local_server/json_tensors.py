"""JSON of TF Serving's REST interface to tensors and back.

A request has its rows in `instances`, or its columns in `inputs`; the answer has
`predictions` or `outputs` accordingly. Bytes travel as `{"b64": "..."}`.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.client import protos
from serving.client.protos import data_type_name
from serving.client.tensors import STRING
from serving.client.tensors import fill_proto
from serving.client.tensors import numpy_type
from serving.local_server.errors import invalid
from serving.local_server.signature import Arrays
from serving.local_server.signature import ServedSignature
from serving.local_server.signature import TensorSpec

_VALUE_BYTES = 64  # of a value once it is read, about
_DICT_VALUES = 4  # an object takes as much as so many values
_MAX_RANK = 32
_KINDS: dict[str, tuple[set[type], str]] = {
    "b": ({bool}, "booleans"),
    "i": ({int}, "integers"),
    "u": ({int}, "integers"),
    "f": ({int, float}, "numbers"),
}


@dataclass(frozen=True)
class Document:
    """A request for a prediction.

    Attributes:
        signature: name of the signature; empty for the default.
        values: what `instances` or `inputs` holds.
        by_rows: whether it was `instances`.
    """

    signature: str
    values: Any
    by_rows: bool


def read_document(body: bytes, max_bytes: int) -> Document:
    """Reads the body of a request.

    Args:
        body: JSON.
        max_bytes: memory that it may take once it is read; checked before.

    Raises:
        RequestError: INVALID_ARGUMENT, it is no such JSON, or too much.
    """
    values = body.count(b",") + body.count(b"[") + _DICT_VALUES * body.count(b"{")
    if len(body) + _VALUE_BYTES * values > max_bytes:
        raise invalid(
            f"Expected JSON that takes at most {max_bytes:,} bytes of memory "
            f"(`max_request_bytes`). Received: {len(body):,} bytes of about {values:,} values. "
            "Send fewer rows at once."
        )
    try:
        document = json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        raise invalid(f"Expected JSON. Received: {error}.") from error
    if not isinstance(document, dict):
        raise invalid(f"Expected a JSON object. Received: {_named(document)}.")
    signature = document.get("signature_name", "")
    if not isinstance(signature, str) or not _is_text(signature):
        raise invalid(f"Expected a string for `signature_name`. Received: {_named(signature)}.")
    keys = [key for key in ("instances", "inputs") if key in document]
    if len(keys) != 1:
        raise invalid(f"Expected one of the keys `instances` and `inputs`. Received: {keys}.")
    rows = document.get("instances")
    if keys == ["instances"] and not (isinstance(rows, list) and rows):
        raise invalid(f"Expected a list with values for `instances`. Received: {_named(rows)}.")
    return Document(signature, document[keys[0]], keys == ["instances"])


def to_protos(document: Document, signature: ServedSignature) -> Mapping[str, Any]:
    """Returns a `TensorProto` for each input that a request names.

    Raises:
        RequestError: INVALID_ARGUMENT with what was expected and received.
    """
    columns = _columns(document, signature)
    made = {}
    for name, value in columns.items():
        spec = signature.inputs.get(name)
        if spec is None:
            raise invalid(
                f"Expected the inputs {sorted(signature.inputs)} for {signature}. Received: "
                f"{sorted(columns)}."
            )
        made[name] = protos.TensorProto()
        try:
            array = _to_array(value, spec)
            fill_proto(made[name], array)
        except ValueError as error:
            raise invalid(f"Input `{name}` of {signature}: {error}") from error
    return made


def to_json(outputs: Arrays, by_rows: bool) -> bytes:
    """Returns an answer.

    Args:
        outputs: arrays by output name; by rows each is [B, ...].
        by_rows: whether the request had `instances`.

    Raises:
        RequestError: INVALID_ARGUMENT, outputs cannot be told apart by rows.
    """
    values = {name: _to_lists(array, name) for name, array in outputs.items()}
    if not by_rows:
        whole = values if len(values) > 1 else next(iter(values.values()))
        return _dump({"outputs": whole})
    sizes = {name: array.shape[:1] for name, array in outputs.items()}
    if len(set(sizes.values())) > 1 or () in sizes.values():
        raise invalid(
            f"Expected outputs with one number of rows. Received: {sizes}. Send `inputs` in place "
            "of `instances`."
        )
    if len(values) == 1:
        return _dump({"predictions": next(iter(values.values()))})
    rows = zip(*values.values(), strict=True)
    return _dump({"predictions": [dict(zip(values, row, strict=True)) for row in rows]})


def _columns(document: Document, signature: ServedSignature) -> Mapping[str, Any]:
    """Returns the value of each input, that of rows with the rows first."""
    values = document.values
    first = values[0] if document.by_rows else values
    if not isinstance(first, dict) or _is_bytes(first):
        if len(signature.inputs) != 1:
            raise invalid(
                f"Expected an object with the inputs {sorted(signature.inputs)} for {signature}. "
                f"Received: {_named(first)}."
            )
        return {next(iter(signature.inputs)): values}
    if not document.by_rows:
        return first
    for number, row in enumerate(values):
        if not isinstance(row, dict) or row.keys() != first.keys():
            keys = sorted(row) if isinstance(row, dict) else _named(row)
            raise invalid(
                f"Expected an object with the keys {sorted(first)} for every instance, as the "
                f"first has them. Received: {keys} for instance {number}."
            )
    return {name: [row[name] for row in values] for name in first}


def _to_array(value: Any, spec: TensorSpec) -> npt.NDArray[Any]:
    """Lays nested lists out as an array of the input's type.

    Raises:
        ValueError: a list is shorter than its neighbours, or a value of another type.
    """
    shape: list[int] = []
    leaves = [value]
    while leaves and isinstance(leaves[0], list):
        size = len(leaves[0])
        if not all(isinstance(leaf, list) and len(leaf) == size for leaf in leaves):
            raise ValueError(
                f"Expected lists of one length, {size} as the first, at depth {len(shape)}. Pad "
                "the others."
            )
        shape.append(size)
        if len(shape) > _MAX_RANK:
            raise ValueError(f"Expected at most {_MAX_RANK} nested lists.")
        leaves = list(chain.from_iterable(leaves))
    return _to_flat(leaves, spec.dtype).reshape(shape)


def _to_flat(leaves: list[Any], number: int) -> npt.NDArray[Any]:
    if number == STRING:
        flat = np.empty(len(leaves), dtype=object)
        flat[:] = [_to_bytes(leaf) for leaf in leaves]
        return flat
    dtype = numpy_type(number)
    kinds, words = _KINDS.get(dtype.kind, (set(), ""))
    odd = next((leaf for leaf in leaves if type(leaf) not in kinds), None)
    if odd is not None or None in leaves:
        raise ValueError(f"Expected {words} ({data_type_name(number)}). Received: {_named(odd)}.")
    if dtype.kind in "iu" and leaves:
        bounds = np.iinfo(dtype)
        if min(leaves) < bounds.min or max(leaves) > bounds.max:
            raise ValueError(f"Expected integers that fit into {data_type_name(number)}.")
    try:
        with np.errstate(over="ignore"):  # becomes an infinity, which is looked for later
            return np.array(leaves, dtype=dtype)
    except OverflowError as error:
        raise ValueError(f"Expected numbers of {data_type_name(number)}: {error}.") from error


def _to_bytes(leaf: Any) -> bytes:
    if isinstance(leaf, str):
        return leaf.encode()  # UnicodeEncodeError is a ValueError
    if not _is_bytes(leaf):
        raise ValueError(f'Expected strings, or {{"b64": "..."}}. Received: {_named(leaf)}.')
    try:
        return base64.b64decode(leaf["b64"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"Expected base64. Received: {error}.") from error


def _is_bytes(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def _to_lists(array: npt.NDArray[Any], name: str) -> Any:
    """Returns nested lists; floats have the fewest digits that say the same number."""
    if array.dtype == object:
        flat = np.empty(array.size, dtype=object)
        flat[:] = [_to_text(value, name.endswith("_bytes")) for value in array.ravel()]
        return flat.reshape(array.shape).tolist()
    if array.dtype.kind == "f" and array.dtype != np.float64:
        array = array.astype(str).astype(np.float64)
    return array.tolist()


def _to_text(value: bytes, as_bytes: bool) -> str | dict[str, str]:
    try:
        if not as_bytes:
            return value.decode()
    except UnicodeDecodeError:
        pass
    return {"b64": base64.b64encode(value).decode()}


def _dump(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def _named(value: Any) -> str:
    """Returns a value for a message, cut short."""
    text = json.dumps(value) if not isinstance(value, list | dict) else _CONTAINERS[type(value)]
    return text if len(text) < 80 else text[:80] + "..."


_CONTAINERS = {list: "a list", dict: "an object"}


def _is_text(value: str) -> bool:
    """Returns whether a string is UTF-8: JSON may hold half of a pair of surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
