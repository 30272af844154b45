"""The bounds of requests, and what goes on while they are reached."""

from __future__ import annotations

import threading

import grpc
import numpy as np
import pytest

from serving.client import Event
from serving.client import OverloadedError
from serving.client import RecommenderClient
from serving.client import Request
from serving.client import RetryPolicy
from serving.client import protos
from serving.client.calls import recommend_inputs

FLOAT, STRING = 1, 7


def repeated(
    signature: str,
    tensors: dict[str, tuple[int, list[int]]],
    last: bytes = b"",
    model: str = "tiny",
) -> bytes:
    """Returns a request of few bytes whose tensors repeat one value, or none."""
    request = protos.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    for name, (dtype, shape) in tensors.items():
        tensor = request.inputs[name]
        tensor.dtype = dtype
        for size in shape:
            tensor.tensor_shape.dim.add().size = size
        if last:
            tensor.string_val.append(last)
    message: bytes = request.SerializeToString()
    return message


def refusal(server, message: bytes) -> str:
    """Sends a message that is refused as INVALID_ARGUMENT; returns the reason."""
    with grpc.insecure_channel(server.address) as channel:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        with pytest.raises(grpc.RpcError) as caught:
            call(message, timeout=60)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    return str(caught.value.details())


def wide(rows: int, steps: int) -> dict[str, tuple[int, list[int]]]:
    """Returns types and shapes of the inputs of `recommend`."""
    inputs = recommend_inputs([Request([Event("a:1", "view", 1)])])
    kinds = {name: STRING if array.dtype == object else 9 for name, array in inputs.items()}
    return {name: (kinds[name], [rows, steps][: array.ndim]) for name, array in inputs.items()}


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (repeated("recommend", wide(1_000_000, 1)), "at most 1024 rows.*Received: 1000000"),
        (repeated("recommend", wide(1, 4_000_000)), "134,217,728 bytes of memory.*`recommend`"),
        (repeated("double", {"x": (FLOAT, [1024, 1 << 40])}), r"Received: 4,503,599,627,370,496\."),
        (repeated("flat", {"x": (FLOAT, [1 << 62])}), "1024 rows"),
        (repeated("double", {"x": (FLOAT, [-1, 4])}), r"FLOAT \[-1, 4\]"),
        (repeated("count", {"examples": (STRING, [1000])}, b"x" * (1 << 18)), "bytes of memory"),
    ],
    ids=["rows", "steps", "floats", "whole", "negative", "a long string repeated"],
)
def test_a_few_bytes_that_stand_for_many_are_refused(tiny_server, client, message, reason):
    import re

    assert len(message) < 1 << 19
    assert re.search(reason, refusal(tiny_server, message))
    assert client.recommend().version == 1


def test_the_shorthand_is_unfolded_within_the_bounds(tiny_server):
    with grpc.insecure_channel(tiny_server.address) as channel:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        answer = call(repeated("double", {"x": (FLOAT, [1024, 3])}), timeout=60)
    outputs = protos.PredictResponse.FromString(answer).outputs
    assert list(outputs["y"].float_val) == [0.0] * 3072


def test_a_large_batch_runs_in_parts_and_keeps_its_order(tiny_server):
    users = [Request([Event(f"movie:{i}", "view", i) for i in range(n % 150)]) for n in range(1000)]
    inputs = recommend_inputs(users)
    with RecommenderClient(tiny_server.address, "tiny", timeout=60, max_rows=1024) as client:
        asked = client.predict("recommend", inputs)
    assert asked["ids"][:, 0].tolist() == [f"v1:{n % 150}:0".encode() for n in range(1000)]


def test_the_bounds_are_settings(saved, serve, tmp_path):
    saved(tmp_path, 1)
    server = serve(tmp_path, max_request_bytes=4096, batching={"max_request_rows": 10})
    assert "at most 10 rows" in refusal(server, repeated("double", {"x": (FLOAT, [11, 1])}))
    assert "at most 4,096 bytes" in refusal(server, repeated("double", {"x": (FLOAT, [1, 1025])}))
    with RecommenderClient(server.address, "tiny", timeout=60) as client:
        assert client.predict("double", {"x": np.ones([1, 1024], np.float32)})["y"].sum() == 2048


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"max_concurrent_requests": 2}, "2 requests are under way.*`max_concurrent_requests`"),
        ({"max_concurrent_bytes": 8192}, r"messages under way take 8,\d+ bytes already"),
    ],
)
def test_while_predictions_are_at_their_bound_status_goes_on(
    serve, gated_version, gate, eventually, settings, reason
):
    from grpc_health.v1 import health_pb2
    from grpc_health.v1 import health_pb2_grpc

    gate.set()
    server = serve(gated_version, **settings)
    gate.clear()
    answers: list[float] = []
    once = {"timeout": 60.0, "retry": RetryPolicy(attempts=1)}
    with RecommenderClient(server.address, "tiny", **once) as client:

        def ask() -> None:
            answers.append(float(client.predict("gated", {"x": np.ones(1000, np.float32)})["y"][0]))

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        version = server.registry.find("tiny").available()[0]
        eventually(lambda: version.requests == 2)
        with pytest.raises(OverloadedError, match=reason):
            client.predict("gated", {"x": np.ones(1000, np.float32)})
        assert [status.state for status in client.model_status()] == ["AVAILABLE"]
        assert "gated" in client.metadata().signatures
        with grpc.insecure_channel(server.address) as channel:
            check = health_pb2_grpc.HealthStub(channel).Check
            answer = check(health_pb2.HealthCheckRequest(), timeout=60)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        gate.set()
        for thread in threads:
            thread.join()
        assert answers == [1.0, 1.0]
        assert client.predict("gated", {"x": [2.0]})["y"].tolist() == [2.0]


def test_inputs_are_bounded_in_sum_also_where_their_messages_are_short(
    serve, gated_version, gate, eventually
):
    gate.set()
    server = serve(gated_version, max_concurrent_bytes=8192)
    gate.clear()
    message = repeated("gated", {"x": (FLOAT, [1000])})
    with grpc.insecure_channel(server.address) as channel:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        under_way = [call.future(message, timeout=60) for _ in range(2)]
        version = server.registry.find("tiny").available()[0]
        eventually(lambda: version.requests == 2)
        with pytest.raises(grpc.RpcError, match="requests under way take 8,000 bytes") as caught:
            call(message, timeout=60)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        gate.set()
        assert all(future.result() for future in under_way)
        assert call(message, timeout=60)


def test_a_garbage_example_fails_alone(tiny_server, client):
    """Requests that run together: TF Serving would fail them all, this server the bad one."""
    good = tiny_example()
    failed: list[str] = []
    wrong: list[object] = []

    def ask(garbage: bool) -> None:
        for _ in range(40):
            try:
                length = client.predict("count", {"examples": [b"\xff" if garbage else good]})
                if garbage or length["length"].tolist() != [3]:
                    wrong.append(length)
            except Exception as error:
                (failed if garbage else wrong).append(str(error))

    threads = [threading.Thread(target=ask, args=(number == 0,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:3]
    assert len(failed) == 40 and all("Could not parse" in text for text in failed)


def tiny_example() -> bytes:
    import tensorflow as tf

    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"abc"]))
    example = tf.train.Example(features=tf.train.Features(feature={"id": feature}))
    serialised: bytes = example.SerializeToString()
    return serialised
