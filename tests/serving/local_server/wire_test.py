"""The estimate of a message's memory, against messages made to deceive it."""

from __future__ import annotations

import numpy as np
import pytest

from serving.client import protos
from serving.client.calls import predict_request
from serving.client.errors import Target
from serving.local_server.errors import RequestError
from serving.local_server.rpc import SMALL
from serving.local_server.rpc import parse
from serving.local_server.wire import _walk
from serving.local_server.wire import parsed_bytes

LIMIT = 1 << 22
KIND = protos.PredictRequest.DESCRIPTOR


def field(number: int, content: bytes) -> bytes:
    """Returns a field with a length."""
    size, length = len(content), b""
    while size >= 0x80:
        length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def with_tensor(content: bytes) -> bytes:
    """Returns a PredictRequest with one input of these bytes."""
    return field(1, b"\x0a\x04tiny") + field(2, field(1, b"x") + field(2, content))


def request(values: object) -> bytes:
    made: bytes = predict_request(Target("", "tiny"), {"x": values}).SerializeToString()
    return made


HOSTILE = {
    "empty strings": with_tensor(b"\x42\x00" * SMALL),
    "dimensions": with_tensor(field(2, b"\x12\x00" * SMALL)),
    "nested variants": with_tensor(field(15, field(3, b"\x42\x00" * SMALL))),
    "inputs": b"\x12\x00" * SMALL,
    "output names": b"\x1a\x00" * SMALL,
    "unknown fields": b"\xfa\x01\x00" * SMALL,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_small_fields_that_take_much_are_found_without_parsing(name):
    assert parsed_bytes(HOSTILE[name], KIND, LIMIT) > LIMIT
    with pytest.raises(RequestError, match="PredictRequest that takes at most 4,194,304 bytes"):
        parse(protos.PredictRequest, HOSTILE[name], LIMIT)


@pytest.mark.parametrize(
    "values",
    [
        np.zeros(1 << 18, np.int64),
        np.full(1 << 19, 64.0, np.float32),  # its bytes look like tags of strings
        np.full(1 << 18, 2, np.int64),  # its bytes look like tags with a length
        ["item:12345"] * (1 << 14),
        ["B" * (1 << 20)],
    ],
)
def test_honest_messages_pass(values):
    message = request(values)
    assert len(message) / 2 < parsed_bytes(message, KIND, LIMIT) <= LIMIT
    assert parse(protos.PredictRequest, message, LIMIT).inputs["x"].tensor_shape.dim


def test_the_walk_counts_every_field():
    message = request(["ab"] * 1000)
    # Strings; input, tensor, shape, dimension and model are messages; two names; two numbers.
    expected = 1000 * (64 + 2) + 5 * 200 + 2 * 64 + len("tiny" + "x") + 2 * 8
    assert _walk(message, KIND, 1 << 30) == expected
    assert _walk(with_tensor(field(10, b"\x01" * 100)), KIND, 1 << 30) > 8 * 100


@pytest.mark.parametrize("cut", [1, 7, 1000, 2**20])
def test_a_message_that_is_cut_off_is_left_to_the_parser(cut):
    whole = with_tensor(b"\x42\x00" * SMALL)
    assert parsed_bytes(whole[:-cut], KIND, 1 << 30) > 0
    assert parsed_bytes(b"\xff" * 40, KIND, 1) >= 0


def test_calls_other_than_predict_are_small():
    with pytest.raises(RequestError, match="GetModelStatusRequest that takes at most"):
        parse(protos.GetModelStatusRequest, b"\x0a\x00" * SMALL)
