"""Requests that are wrong, too large, too slow or abandoned; the server stays."""

from __future__ import annotations

import threading
import time

import grpc
import numpy as np
import pytest

from serving.client import DeadlineError
from serving.client import Event
from serving.client import InvalidRequestError
from serving.client import NotFoundError
from serving.client import RecommenderClient
from serving.client import Request
from serving.client import TooLargeError
from serving.client import protos
from serving.client.calls import predict_request
from serving.client.calls import recommend_inputs
from serving.client.errors import Target


def floats(*shape):
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    ("signature", "inputs", "message"),
    [
        ("double", {"x": np.zeros((1, 1), np.int32)}, r"Expected FLOAT \[\?, \?\].*INT32 \[1, 1\]"),
        ("double", {"x": np.array([["a"]])}, r"STRING \[1, 1\]"),
        ("double", {"x": floats(3)}, r"FLOAT \[3\]"),
        ("double", {"x": floats(1, 2, 3)}, r"FLOAT \[1, 2, 3\]"),
        ("double", {"x": floats(0, 2)}, "at least one row.*empty batch"),
        ("double", {}, r"missing: \['x'\]"),
        ("double", {"x": floats(1, 1), "z": floats(1)}, r"unknown: \['z'\]"),
        ("double", {"x": np.array([[1, np.nan]], np.float32)}, r"nan at \[0, 1\]"),
        ("double", {"x": np.array([[np.inf]], np.float32)}, "finite"),
        ("scalar", {"x": np.float32("nan")}, "finite"),
        ("count", {"examples": np.array([b"\xff no example"])}, "Could not parse example input"),
        ("count", {"examples": np.array([b""])}, "id .*is required"),
        ("crash", {"x": np.array([-1], np.float32)}, "x <= 0"),
    ],
)
def test_requests_that_do_not_fit(client, signature, inputs, message):
    with pytest.raises(InvalidRequestError, match=message) as caught:
        client.predict(signature, inputs)
    assert f"`{signature}`" in str(caught.value)
    assert "version 1" in str(caught.value)
    assert client.recommend().version == 1


def test_unknown_signature_lists_those_there_are(client):
    with pytest.raises(NotFoundError, match="no signature `rank`; it has .*'double'"):
        client.predict("rank", {})


def test_unknown_output(client):
    with pytest.raises(InvalidRequestError, match=r"out of \['y'\].*\['z'\]"):
        client.predict("double", {"x": floats(1, 1)}, output_filter=["z"])


def test_inputs_with_different_numbers_of_rows(tiny_server, client):
    inputs = dict(recommend_inputs([Request()] * 2))
    inputs["exclude_ids"] = inputs["exclude_ids"][:1]
    with pytest.raises(InvalidRequestError, match="one number of rows.*'exclude_ids': 1"):
        client.predict("recommend", inputs)


def test_a_tensor_that_claims_more_than_it_holds(tiny_server):
    request = protos.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "tiny", "double"
    tensor = request.inputs["x"]
    tensor.dtype = 1
    tensor.float_val.append(1.0)
    for size in (1 << 20, 1 << 20):
        tensor.tensor_shape.dim.add().size = size
    with grpc.insecure_channel(tiny_server.address) as channel:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        with pytest.raises(grpc.RpcError) as caught:
            call(request.SerializeToString(), timeout=60)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "Received: 1" in caught.value.details()


def test_an_over_long_history_is_answered(client):
    history = [Event(f"movie:{i}", "view", i) for i in range(50_000)]
    assert client.recommend(history, timeout=60).ids[0] == "v1:50000:0"


def test_a_message_beyond_the_limit(saved, serve, tmp_path):
    saved(tmp_path, 1)
    server = serve(tmp_path, max_message_bytes=1 << 20, batching={"max_request_rows": 1 << 20})
    with RecommenderClient(server.address, "tiny") as client:
        with pytest.raises(TooLargeError, match="larger than max"):
            client.predict("double", {"x": floats(1, 1 << 19)})
        with pytest.raises(TooLargeError, match=r"larger than max \("):  # the answer
            client.predict("flat", {"x": floats(3 << 16)})
        assert client.recommend().version == 1


def test_a_message_beyond_64_megabytes_meets_the_default_limit(client, tiny_server):
    large = {"x": floats(1, 17 << 20)}  # 68 MB
    with pytest.raises(TooLargeError, match="67,108,864 allowed"):
        client.predict("double", large)
    with RecommenderClient(tiny_server.address, "tiny", max_message_bytes=1 << 30) as careless:
        with pytest.raises(TooLargeError, match="larger than max"):
            careless.predict("double", large, timeout=60)
    assert client.recommend().version == 1


def test_nan_may_be_let_through(saved, serve, tmp_path):
    saved(tmp_path, 1)
    with RecommenderClient(serve(tmp_path, refuse_nan=False).address, "tiny") as client:
        assert np.isnan(client.predict("double", {"x": np.array([[np.nan]], np.float32)})["y"])


def test_nan_of_one_request_does_not_reach_another(saved, serve, tmp_path):
    saved(tmp_path, 1)
    server = serve(tmp_path, refuse_nan=False, batching={"runners": 1})
    wrong: list[object] = []
    with RecommenderClient(server.address, "tiny", timeout=60) as client:

        def ask(value: float) -> None:
            for _ in range(30):
                got = client.predict("double", {"x": np.array([[value]], np.float32)})["y"][0, 0]
                if not np.array_equal(got, np.float32(2 * value), equal_nan=True):
                    wrong.append((value, got))

        in_threads(ask, [float("nan"), 1.0, 2.0, 3.0])
    assert not wrong


def test_a_deadline_is_kept_and_the_run_given_up(client):
    start = time.monotonic()
    with pytest.raises(DeadlineError, match="DEADLINE_EXCEEDED"):
        client.predict("slow", {"x": floats(1)}, timeout=0.005)
    assert client.recommend(timeout=60).version == 1
    assert time.monotonic() - start < 30


def test_a_client_that_hangs_up(tiny_server, client):
    request = predict_request(Target("", "tiny", signature="slow"), {"x": floats(1)})
    for _ in range(20):
        with grpc.insecure_channel(tiny_server.address) as channel:
            call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
            call.future(request.SerializeToString(), timeout=60)
    assert client.recommend(timeout=60).version == 1
    model = tiny_server.registry.find("tiny")
    deadline = time.monotonic() + 60
    while any(version.requests for version in model.versions.values()):
        assert time.monotonic() < deadline, "abandoned requests still hold the version"
        time.sleep(0.02)


def in_threads(function, arguments):
    threads = [threading.Thread(target=function, args=(argument,)) for argument in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
