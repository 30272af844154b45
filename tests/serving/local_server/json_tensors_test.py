"""JSON to tensors and back, as TF Serving has it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from serving.client.tensors import from_proto
from serving.local_server.errors import RequestError
from serving.local_server.json_tensors import read_document
from serving.local_server.json_tensors import to_json
from serving.local_server.json_tensors import to_protos
from serving.local_server.signature import ServedSignature
from serving.local_server.signature import TensorSpec

FLOAT, INT32, UINT8, STRING, INT64, BOOL, HALF = 1, 3, 4, 7, 9, 10, 19
BOUND = 1 << 24


def read(document: object, **inputs: int) -> dict[str, np.ndarray]:
    """Reads a request for a signature with inputs of these types and any shape."""
    specs = {name: TensorSpec(name, dtype, None) for name, dtype in inputs.items()}
    signature = ServedSignature("double", "model `tiny`", specs, {})
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    made = to_protos(read_document(body, BOUND), signature)
    return {name: from_proto(proto) for name, proto in made.items()}


def values(found: dict[str, np.ndarray]) -> dict[str, object]:
    return {name: array.tolist() for name, array in found.items()}


@pytest.mark.parametrize(
    "document",
    [
        {"instances": [{"ids": ["a", "é"], "n": 1}, {"ids": ["b", ""], "n": 2}]},
        {"inputs": {"ids": [["a", "é"], ["b", ""]], "n": [1, 2]}},
    ],
)
def test_rows_and_columns_are_the_same_tensors(document):
    assert values(read(document, ids=STRING, n=INT64)) == {
        "ids": [[b"a", "é".encode()], [b"b", b""]],
        "n": [1, 2],
    }


@pytest.mark.parametrize(
    ("document", "dtype", "expected"),
    [
        ({"instances": [[1, 2.5], [3, 4]]}, FLOAT, [[1, 2.5], [3, 4]]),
        ({"instances": [1, 2]}, INT32, [1, 2]),
        ({"instances": [{"x": 1}]}, INT32, [1]),
        ({"inputs": 7}, INT64, 7),
        ({"inputs": [[True], [False]]}, BOOL, [[True], [False]]),
        ({"inputs": {"b64": "AP8="}}, STRING, b"\x00\xff"),
        ({"instances": [{"b64": "AP8="}, "b"]}, STRING, [b"\x00\xff", b"b"]),
        ({"instances": [{"x": {"b64": ""}}]}, STRING, [b""]),
        ({"inputs": [[], []]}, FLOAT, [[], []]),
        ({"inputs": [0.5, 65504]}, HALF, [0.5, 65504]),
        ({"inputs": [2**63 - 1, -(2**63)]}, INT64, [2**63 - 1, -(2**63)]),
        ({"inputs": [255, 0]}, UINT8, [255, 0]),
    ],
)
def test_one_input(document, dtype, expected):
    assert values(read(document, x=dtype)) == {"x": expected}


def test_a_string_that_ends_in_nul_keeps_it():
    assert values(read({"inputs": ["a\x00"]}, x=STRING)) == {"x": [b"a\x00"]}


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"", "Expected JSON"),
        (b"{", "Expected JSON"),
        (b'\xff{"inputs": 1}', "Expected JSON"),
        (b'{"inputs": ' + b"[" * 5000 + b"]" * 5000 + b"}", "Expected"),
        (b'{"inputs": ' + b"[" * 200_000, "Expected JSON"),
        (b'{"inputs": ' + b"9" * 5000 + b"}", "Expected JSON"),
        ([1], "a JSON object. Received: a list"),
        ({"inputs": 1, "signature_name": 3}, "a string for `signature_name`. Received: 3"),
        (b'{"inputs": 1, "signature_name": "\\ud800"}', "a string for `signature_name`"),
        ({}, r"`instances` and `inputs`. Received: \[\]"),
        ({"inputs": 1, "instances": [1]}, r"Received: \['instances', 'inputs'\]"),
        ({"instances": []}, "`instances`. Received: a list"),
        ({"instances": {"x": 1}}, "`instances`. Received: an object"),
        ({"instances": [1, [2]]}, "INT64.*Received: a list"),
        ({"instances": [[1], 2]}, "lists of one length"),
        ({"instances": [[1, 2], [3]]}, "lists of one length, 2 as the first, at depth 1"),
        ({"instances": [[[1], [2]], [[3], [4, 5]]]}, "at depth 2"),
        ({"instances": [{"x": 1}, 2]}, r"keys \['x'\].*Received: 2 for instance 1"),
        ({"instances": [{"x": 1}, {"y": 2}]}, r"Received: \['y'\] for instance 1"),
        ({"inputs": {"y": 2}}, r"the inputs \['x'\].*Received: \['y'\]"),
        ({"inputs": ["1"]}, 'Expected integers .INT64.. Received: "1"'),
        ({"inputs": [1.0]}, "integers"),
        ({"inputs": [True]}, "integers"),
        ({"inputs": [None]}, "Received: null"),
        ({"inputs": [1, None]}, "Received: null"),
        ({"inputs": [2**63]}, "fit into INT64"),
        ({"inputs": {"b64": "AP8="}}, "Received: an object"),
    ],
)
def test_what_is_wrong_is_said(document, reason):
    with pytest.raises(RequestError, match=reason) as caught:
        read(document, x=INT64)
    assert len(caught.value.message) < 500


@pytest.mark.parametrize(
    ("document", "dtype", "reason"),
    [
        ({"inputs": [1]}, STRING, "strings, or .*b64.*Received: 1"),
        ({"inputs": [{"b64": "?"}]}, STRING, "Expected base64"),
        ({"inputs": [{"b64": "ab"}]}, STRING, "Expected base64"),
        ({"inputs": [{"b64": 3}]}, STRING, "Received: an object"),
        (b'{"inputs": ["\\ud800"]}', STRING, "surrogates"),
        ({"inputs": [10**400]}, FLOAT, "FLOAT"),
        ({"inputs": ["NaN"]}, FLOAT, "Expected numbers"),
        ({"inputs": [-1]}, UINT8, "fit into UINT8"),
        ({"inputs": [1]}, 8, "COMPLEX64 are not supported"),
        ({"inputs": [1]}, BOOL, "Expected booleans"),
    ],
)
def test_values_of_another_type(document, dtype, reason):
    with pytest.raises(RequestError, match=reason):
        read(document, x=dtype)


def test_several_inputs_need_names():
    for document in ({"instances": [[1], [2]]}, {"inputs": [1, 2]}):
        with pytest.raises(RequestError, match=r"object with the inputs \['n', 'x'\]"):
            read(document, x=INT64, n=INT64)


@pytest.mark.parametrize(
    "body",
    [
        b'{"inputs": [' + b"0," * 300_000 + b"0]}",
        b'{"inputs": [' + b"{}," * 100_000 + b"0]}",
        b'{"inputs": [' + b"[]," * 200_000 + b"0]}",
        b'{"inputs": "' + b"x" * BOUND + b'"}',
    ],
)
def test_json_that_takes_too_much_is_refused_before_it_is_read(body):
    with pytest.raises(RequestError, match="at most 16,777,216 bytes of memory"):
        read_document(body, BOUND)


def test_answers_by_rows_and_by_columns():
    two = {"ids": np.array([[b"a", b"b"], [b"c", b"d"]], object), "n": np.array([1, 2])}
    assert json.loads(to_json(two, by_rows=True)) == {
        "predictions": [{"ids": ["a", "b"], "n": 1}, {"ids": ["c", "d"], "n": 2}]
    }
    assert json.loads(to_json(two, by_rows=False)) == {
        "outputs": {"ids": [["a", "b"], ["c", "d"]], "n": [1, 2]}
    }
    one = {"y": np.array([[0.2], [1.0]], np.float32)}
    assert to_json(one, by_rows=True) == b'{"predictions": [[0.2], [1.0]]}\n'
    assert to_json(one, by_rows=False) == b'{"outputs": [[0.2], [1.0]]}\n'
    assert to_json({"y": np.array(True)}, by_rows=False) == b'{"outputs": true}\n'


def test_numbers_that_are_none_and_bytes_that_are_no_text():
    floats = {"y": np.array([np.nan, np.inf, -np.inf, 1e-8, 16777217.0], np.float32)}
    assert (
        to_json(floats, by_rows=True)
        == b'{"predictions": [NaN, Infinity, -Infinity, 1e-08, 16777216.0]}\n'
    )
    strings = np.array([b"\xff", "é".encode()], object)
    assert json.loads(to_json({"s": strings}, by_rows=True))["predictions"] == [
        {"b64": "/w=="},
        "é",
    ]
    as_bytes = json.loads(to_json({"s_bytes": strings}, by_rows=True))["predictions"]
    assert as_bytes == [{"b64": "/w=="}, {"b64": "w6k="}]


@pytest.mark.parametrize("other", [np.zeros(3), np.float32(1)])
def test_outputs_without_a_row_each_need_columns(other):
    outputs = {"y": np.zeros(2), "z": np.asarray(other)}
    with pytest.raises(RequestError, match="one number of rows.*Send `inputs`"):
        to_json(outputs, by_rows=True)
    assert json.loads(to_json(outputs, by_rows=False))["outputs"]["y"] == [0, 0]
