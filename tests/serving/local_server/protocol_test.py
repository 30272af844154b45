"""The server as TF Serving's own stubs and other clients see it."""

from __future__ import annotations

import urllib.request

import grpc
import numpy as np
import pytest

from serving.client import Event
from serving.client import NotFoundError
from serving.client import RecommenderClient
from serving.client import Request
from serving.client import UnsupportedError
from serving.local_server.metrics import METRICS_PATH


@pytest.fixture(scope="module")
def channel(tiny_server):
    with grpc.insecure_channel(tiny_server.address) as channel:
        yield channel


def test_tf_serving_own_stub_gets_an_answer(channel):
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    request = predict_pb2.PredictRequest()
    request.model_spec.name = "tiny"
    request.model_spec.signature_name = "double"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([[1.0, 2.0]]))
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    response = stub.Predict(request, timeout=60)
    assert response.model_spec.version.value == 1
    assert response.model_spec.signature_name == "double"
    assert list(response.outputs["y"].float_val) == [2.0, 4.0]


def test_metadata_is_that_of_the_saved_model(channel):
    from tensorflow.core.protobuf import meta_graph_pb2
    from tensorflow_serving.apis import get_model_metadata_pb2 as metadata_pb2
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "tiny"
    response = stub.GetModelMetadata(request, timeout=60)
    signatures = metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    definition = signatures.signature_def["double"]
    assert isinstance(definition, meta_graph_pb2.SignatureDef)
    assert definition.method_name == "tensorflow/serving/predict"
    assert [dim.size for dim in definition.inputs["x"].tensor_shape.dim] == [-1, -1]


def test_metadata_of_another_kind_is_refused(channel):
    from tensorflow_serving.apis import get_model_metadata_pb2 as metadata_pb2
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    with pytest.raises(grpc.RpcError, match="signature_def"):
        stub.GetModelMetadata(metadata_pb2.GetModelMetadataRequest(metadata_field=["graph"]))


@pytest.mark.parametrize("method", ["Classify", "Regress", "MultiInference"])
def test_other_methods_say_what_is_offered(channel, method):
    call = channel.unary_unary(f"/tensorflow.serving.PredictionService/{method}")
    with pytest.raises(grpc.RpcError) as caught:
        call(b"", timeout=60)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "['GetModelMetadata', 'Predict']" in caught.value.details()


def test_bytes_that_are_no_request(channel):
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    with pytest.raises(grpc.RpcError) as caught:
        call(b"\xff\xff", timeout=60)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "PredictRequest" in caught.value.details()


def test_health(channel):
    from grpc_health.v1 import health_pb2
    from grpc_health.v1 import health_pb2_grpc

    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", "tensorflow.serving.PredictionService"):
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=60)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_recommend(client):
    history = [Event("a:1", "view", 5), Event("a:2", "view", 6)]
    answer = client.recommend(history, k=3)
    assert answer.ids == ("v1:2:0", "v1:2:1", "v1:2:2")
    assert answer.scores.tolist() == [3.0, 2.0, 1.0]
    assert (answer.model, answer.version) == ("tiny", 1)


def test_recommend_for_nobody_and_for_a_new_user(client):
    assert client.recommend_batch([]) == []
    assert client.recommend().ids[0] == "v1:0:0"


def test_a_long_batch_goes_as_several_requests_and_keeps_its_order(tiny_server):
    event = Event("a:1", "view", 1)
    with RecommenderClient(tiny_server.address, "tiny", max_rows=3) as client:
        answers = client.recommend_batch([Request([event] * n) for n in range(8)], k=1)
    assert [answer.ids for answer in answers] == [(f"v1:{n}:0",) for n in range(8)]


def test_a_batch_beyond_the_rows_that_a_server_takes_is_cut(saved, serve, tmp_path):
    saved(tmp_path, 1)
    event = Event("a:1", "view", 1)
    server = serve(tmp_path, batching={"max_request_rows": 4, "max_batch_size": 4})
    with RecommenderClient(server.address, "tiny", timeout=60) as client:
        answers = client.recommend_batch([Request([event] * n) for n in range(10)], k=1)
    assert [answer.ids for answer in answers] == [(f"v1:{n}:0",) for n in range(10)]


def test_predict_with_an_output_filter(client):
    x = np.array([1.0, 2.0], np.float32)
    assert list(client.predict("flat", {"x": x}, output_filter=["version"]).outputs) == ["version"]
    assert set(client.predict("flat", {"x": x}).outputs) == {"version", "y"}


def test_a_signature_without_a_batch_dimension(client):
    assert client.predict("scalar", {"x": np.float32(2)})["y"] == 3.0


def test_versions_and_labels(tiny_server, client):
    for settings in ({"version": 1}, {"label": "stable"}):
        with RecommenderClient(tiny_server.address, "tiny", **settings) as chosen:
            assert chosen.recommend().version == 1
            assert [status.version for status in chosen.model_status()] == [1]
    (status,) = client.model_status()
    assert (status.state, status.error_code) == ("AVAILABLE", "OK")


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        ("tinny", {}, r"There is no model `tinny`; this server has \['tiny'\]"),
        ("tiny", {"version": 9}, r"no version 9; it serves \[1\]"),
        ("tiny", {"label": "canary"}, "no version 2"),
        ("tiny", {"label": "beta"}, "no version label `beta`"),
    ],
)
def test_unknown_models_versions_and_labels(tiny_server, model, settings, message):
    with RecommenderClient(tiny_server.address, model, **settings) as client:
        for ask in (client.recommend, client.model_status, client.metadata):
            with pytest.raises(NotFoundError, match=message):
                ask()


def test_reloading_is_off(channel):
    call = channel.unary_unary("/tensorflow.serving.ModelService/HandleReloadConfigRequest")
    with pytest.raises(grpc.RpcError) as caught:
        call(b"", timeout=60)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "reload_root" in caught.value.details()


def test_unsupported_calls_have_an_error_of_their_own(client):
    from serving.client.errors import Target
    from serving.client.errors import from_rpc_error

    class Refused(grpc.RpcError):
        def code(self):
            return grpc.StatusCode.UNIMPLEMENTED

        def details(self):
            return "no"

    assert isinstance(from_rpc_error(Refused(), Target("a", "m")), UnsupportedError)


def test_metrics_have_tf_serving_names(tiny_server, client):
    client.recommend_batch([Request()] * 3)
    url = f"http://127.0.0.1:{tiny_server.rest_port}{METRICS_PATH}"
    with urllib.request.urlopen(url) as answer:
        page = answer.read().decode()
    for line in (
        ':tensorflow:serving:request_count{model_name="tiny",status="OK"} ',
        ":tensorflow:serving:request_latency_count{",
        ':tensorflow:serving:runtime_latency_count{model_name="tiny",API="Predict",runtime="TF1"} ',
        ':tensorflow:serving:request_example_counts_bucket{model="tiny",le="4"} ',
        ':tensorflow:serving:request_example_count_total{model="tiny"} ',
        ":tensorflow:serving:batching_session:queuing_latency_count{",
        ":tensorflow:serving:batching_session:wrapped_run_count{} ",
        ":tensorflow:cc:saved_model:load_attempt_count{model_path=",
    ):
        assert line in page, line
