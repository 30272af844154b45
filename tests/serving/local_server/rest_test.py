"""The REST interface of a running server: TF Serving's paths, formats and errors."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest

from serving.client import Event
from serving.client import Request
from serving.client.calls import recommend_inputs
from serving.local_server.config import ModelConfig
from serving.local_server.config import ServerConfig
from serving.local_server.metrics import METRICS_PATH


def ask(server, path: str, document: object = None) -> tuple[int, dict]:
    """Sends a GET, or a POST where there is a document; returns status and JSON."""
    body = None if document is None else json.dumps(document).encode()
    url = f"http://127.0.0.1:{server.rest_port}{path}"
    try:
        with urllib.request.urlopen(url, data=body, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            assert error.headers["Content-Type"] == "application/json"
            return error.code, json.loads(error.read())


def predict(server, document: object, model: str = "tiny") -> tuple[int, dict]:
    return ask(server, f"/v1/models/{model}:predict", document)


def rest_inputs(requests: list[Request]) -> dict[str, object]:
    found = {name: np.asarray(array).tolist() for name, array in recommend_inputs(requests).items()}
    as_json = json.dumps(found, default=lambda value: value.decode())
    decoded: dict[str, object] = json.loads(as_json)
    return decoded


USERS = [Request([Event("a:1", "view", 5)] * n) for n in range(3)]


def test_recommendations_by_columns_and_by_rows(tiny_server, client):
    inputs = rest_inputs(USERS)
    status, by_columns = predict(tiny_server, {"signature_name": "recommend", "inputs": inputs})
    assert status == 200
    over_grpc = client.predict("recommend", recommend_inputs(USERS))
    assert by_columns["outputs"]["ids"] == [[i.decode() for i in row] for row in over_grpc["ids"]]
    assert by_columns["outputs"]["scores"] == over_grpc["scores"].tolist()
    rows = [{name: values[n] for name, values in inputs.items()} for n in range(3)]
    status, by_rows = predict(tiny_server, {"signature_name": "recommend", "instances": rows})
    assert status == 200
    assert by_rows["predictions"] == [
        {"ids": ids, "scores": scores}
        for ids, scores in zip(
            by_columns["outputs"]["ids"], by_columns["outputs"]["scores"], strict=True
        )
    ]


def test_one_input_needs_no_name_and_bytes_travel_as_base64(tiny_server):
    double = {"signature_name": "double", "instances": [[1.5, 2], [3, 0.1]]}
    assert predict(tiny_server, double) == (200, {"predictions": [[3.0, 4.0], [6.0, 0.2]]})
    assert predict(tiny_server, {"signature_name": "scalar", "inputs": 2}) == (
        200,
        {"outputs": 3.0},
    )
    example = {"b64": "Cg4KDAoCaWQSBgoECgJhYg=="}  # a tf.Example with id `ab`
    count = {"signature_name": "count", "instances": [example]}
    assert predict(tiny_server, count) == (200, {"predictions": [2]})


@pytest.mark.parametrize("where", ["", "/versions/1", "/labels/stable"])
def test_status_metadata_and_predictions_by_version_and_label(tiny_server, where):
    status, found = ask(tiny_server, f"/v1/models/tiny{where}")
    assert status == 200
    assert found == {
        "model_version_status": [
            {
                "version": "1",
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ]
    }
    status, found = ask(tiny_server, f"/v1/models/tiny{where}/metadata")
    assert (status, found["model_spec"]["version"]) == (200, "1")
    double = found["metadata"]["signature_def"]["signature_def"]["double"]
    assert double["method_name"] == "tensorflow/serving/predict"
    assert double["inputs"]["x"]["dtype"] == "DT_FLOAT"
    assert [dim["size"] for dim in double["inputs"]["x"]["tensor_shape"]["dim"]] == ["-1", "-1"]
    document = {"signature_name": "double", "inputs": [[1]]}
    assert ask(tiny_server, f"/V1/Models/tiny{where}:PREDICT", document) == (
        200,
        {"outputs": [[2.0]]},
    )


@pytest.mark.parametrize(
    ("path", "document", "status", "reason"),
    [
        ("/v1/models/tinny", None, 404, "no model `tinny`"),
        ("/v1/models/tiny/versions/9", None, 404, "no version 9"),
        ("/v1/models/tiny/versions/9:predict", {"inputs": 1}, 404, "no version 9"),
        ("/v1/models/tiny/versions/99999999999999999999", None, 400, "to numeric"),
        ("/v1/models/tiny/versions/" + "9" * 5000, None, 400, "to numeric"),
        ("/v1/models/tiny/labels/beta/metadata", None, 404, "no version label `beta`"),
        ("/v1/models/tiny:classify", {"examples": []}, 501, "does not offer `classify`"),
        ("/v1/models/tiny:predict", {"inputs": 1}, 404, "no signature `serving_default`"),
        ("/v1/models/tiny:predict", None, 400, "Malformed request: GET /v1/models/tiny:predict"),
        ("/v1/models/tiny", {}, 400, "Malformed request: POST"),
        ("/v1/models", None, 400, "Malformed request"),
        ("/v1/models/a/b/c", None, 400, "Malformed request"),
        ("/etc/passwd", None, 404, "Not found"),
        ("/v1/models/tiny:predict", {"signature_name": "double"}, 400, "`instances` and `inputs`"),
        (
            "/v1/models/tiny:predict",
            {"signature_name": "double", "inputs": [1]},
            400,
            r"FLOAT \[1\]",
        ),
        (
            "/v1/models/tiny:predict",
            {"signature_name": "double", "inputs": [[float("nan")]]},
            400,
            "finite",
        ),
        ("/v1/models/tiny:predict", {"signature_name": "crash", "inputs": [-1]}, 400, "x <= 0"),
        (
            "/v1/models/tiny:predict",
            {"signature_name": "double", "instances": [[0]] * 1025},
            400,
            "at most 1024 rows",
        ),
        (
            "/v1/models/tiny:predict",
            {"signature_name": "flat", "instances": [1]},
            400,
            "Send `inputs` in place",
        ),
    ],
)
def test_errors_have_tf_serving_codes_and_body(tiny_server, path, document, status, reason):
    import re

    answered, found = ask(tiny_server, path, document)
    assert (answered, list(found)) == (status, ["error"])
    assert re.search(reason, found["error"]), found


def test_a_large_request(tiny_server):
    document = {"signature_name": "double", "instances": [[row] * 100 for row in range(1024)]}
    status, found = predict(tiny_server, document)
    assert status == 200
    assert [row[99] for row in found["predictions"]] == [2.0 * row for row in range(1024)]


def test_the_metrics_count_rest(tiny_server):
    predict(tiny_server, {"signature_name": "double", "inputs": [[1]]})
    url = f"http://127.0.0.1:{tiny_server.rest_port}{METRICS_PATH}"
    with urllib.request.urlopen(url) as answer:
        page = answer.read().decode()
    labels = 'model_name="tiny",API="Predict",entrypoint="REST"'
    assert f":tensorflow:serving:request_latency_count{{{labels}}}" in page


def test_a_body_beyond_the_limit_is_not_read(saved, serve, tmp_path):
    saved(tmp_path, 1)
    server = serve(tmp_path, rest_port=0, max_message_bytes=1024)
    document = {"signature_name": "double", "inputs": [[1.0] * 1000]}
    with pytest.raises((urllib.error.HTTPError, urllib.error.URLError, ConnectionError)):
        body = json.dumps(document).encode()
        url = f"http://127.0.0.1:{server.rest_port}/v1/models/tiny:predict"
        urllib.request.urlopen(url, data=body, timeout=60)
    document["inputs"] = [[1.0]]
    assert predict(server, document) == (200, {"outputs": [[2.0]]})


def test_status_goes_on_while_predictions_are_at_their_bound_and_stopping_lets_them_end(
    serve, gated_version, gate, eventually
):
    gate.set()
    server = serve(gated_version, rest_port=0, max_concurrent_requests=1)
    gate.clear()
    answers: list[tuple[int, dict]] = []
    document = {"signature_name": "gated", "inputs": [3]}
    asking = threading.Thread(target=lambda: answers.append(predict(server, document)))
    asking.start()
    version = server.registry.find("tiny").available()[0]
    eventually(lambda: version.requests == 1)
    status, found = predict(server, document)
    assert (status, "under way" in found["error"]) == (429, True)
    assert ask(server, "/v1/models/tiny")[0] == 200
    assert ask(server, "/v1/models/tiny/metadata")[0] == 200
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    eventually(lambda: ask(server, "/v1/models/tiny")[0] == 503)
    gate.set()
    asking.join()
    stopping.join()
    assert answers == [(200, {"outputs": [3.0]})]


def test_a_server_that_loads_says_so(serve, tmp_path):
    server = serve(tmp_path, rest_port=0)
    status, found = predict(server, {"inputs": 1})
    assert (status, "no version loaded yet" in found["error"]) == (503, True)
    assert ask(server, "/v1/models/tiny") == (200, {"model_version_status": []})


def test_beyond_loopback_rest_needs_insecure(tmp_path):
    models = (ModelConfig(base_path=tmp_path),)
    with pytest.raises(ValueError, match="HTTP has no TLS"):
        ServerConfig(models=models, rest_host="0.0.0.0")
    ServerConfig(models=models, rest_host="0.0.0.0", insecure=True)
    ServerConfig(models=models, rest_host="0.0.0.0", rest_port=None)
