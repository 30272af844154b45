from __future__ import annotations

import time

import numpy as np
import pytest

from serving.client import protos
from serving.client.calls import parse_metadata
from serving.client.calls import parse_recommendations
from serving.client.calls import parse_status
from serving.client.calls import predict_request
from serving.client.calls import recommend_inputs
from serving.client.errors import InvalidAnswerError
from serving.client.errors import Target
from serving.client.types import Event
from serving.client.types import Prediction
from serving.client.types import Request

TARGET = Target("host:1", "m", signature="recommend")


def test_inputs_of_two_users_by_hand():
    inputs = recommend_inputs(
        [
            Request([Event("a:1", "view", 5), Event("a:2", "buy", 6)], ["a:9"], "red", (), 7),
            Request(user_attributes=["age=3", "sex=f"], request_time=0),
        ]
    )
    assert {name: value.tolist() for name, value in inputs.items()} == {
        "history_ids": [[b"a:1", b"a:2"], [b"", b""]],
        "history_events": [[b"view", b"buy"], [b"", b""]],
        "history_timestamps": [[5, 6], [0, 0]],
        "history_length": [2, 0],
        "request_time": [7, 0],
        "query": [b"red", b""],
        "exclude_ids": [[b"a:9"], [b""]],
        "exclude_length": [1, 0],
        "user_attributes": [[b"", b""], [b"age=3", b"sex=f"]],
        "user_attributes_length": [0, 2],
    }
    assert all(value.dtype in (object, np.int64) for value in inputs.values())


def test_no_dimension_is_empty_for_a_new_user():
    inputs = recommend_inputs([Request()])
    assert {value.shape for value in inputs.values()} == {(1,), (1, 1)}


def test_request_time_is_now_by_default():
    before = time.time_ns() // 1000
    assert before <= recommend_inputs([Request()])["request_time"][0] <= time.time_ns() // 1000


def test_history_must_be_oldest_first_but_rows_are_apart():
    late, early = Event("a:1", "view", 9), Event("a:2", "view", 3)
    recommend_inputs([Request([late, late]), Request([]), Request([early])])
    with pytest.raises(ValueError, match="row 1 goes back in time"):
        recommend_inputs([Request([early]), Request([late, early])])


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(["a:1"]), "Event"),
        (Request([Event("a:1", "view", 1), ("a:2", 3)]), "Event"),
        (Request([Event(7, "view", 1)]), "Expected strings. Received: 7"),
        (Request(exclude_ids="a:1"), "sequence of strings for `exclude_ids`"),
        (Request([Event("1", "view", 1)]), "`history` as `type:id`, for instance `item:1`"),
        (Request(exclude_ids=["a:1", "1"]), "`exclude_ids` as `type:id`.*Received: `1`"),
    ],
)
def test_wrong_arguments_are_named(request_, message):
    with pytest.raises(ValueError, match=message):
        recommend_inputs([request_])


def test_predict_request_addresses_version_or_label():
    versioned = predict_request(Target("", "m", version=4, signature="s"), {"x": [1]}, ["y"])
    assert versioned.model_spec.version.value == 4
    assert list(versioned.output_filter) == ["y"]
    labelled = predict_request(Target("", "m", label="canary", signature="s"), {})
    assert labelled.model_spec.version_label == "canary"
    assert not labelled.model_spec.HasField("version")


def test_predict_request_names_the_input_at_fault():
    with pytest.raises(ValueError, match="Input `x`: Expected"):
        predict_request(TARGET, {"x": np.zeros(1, complex)})


def prediction(ids, scores):
    outputs = {"ids": np.array(ids, object), "scores": np.array(scores, np.float32)}
    return Prediction(outputs, "m", 3, "recommend")


def test_recommendations_leave_out_the_empty_tail():
    answer = prediction([[b"a:1", b"a:2", b""], [b"", b"", b""]], [[2, 1, -np.inf], [-np.inf] * 3])
    first, second = parse_recommendations(answer, "ids", 2, 10, TARGET)
    assert first.ids == ("a:1", "a:2")
    assert first.scores.tolist() == [2, 1]
    assert (first.model, first.version, len(first)) == ("m", 3, 2)
    assert second.ids == ()


def test_recommendations_are_cut_to_k():
    (only,) = parse_recommendations(prediction([[b"a:1", b"a:2"]], [[2, 1]]), "ids", 1, 1, TARGET)
    assert only.ids == ("a:1",)


@pytest.mark.parametrize(
    ("answer", "rows", "message"),
    [
        (prediction([[b"a:1"]], [[np.nan]]), 1, "NaN"),
        (prediction([[b"a:1"]], [[1.0]]), 2, "2 rows were sent and 1 came back"),
        (prediction([[b"a:1"]], [[1.0, 2.0]]), 1, "one shape"),
        (Prediction({}, "m", 3, "recommend"), 1, "expected outputs `ids` and `scores`"),
    ],
)
def test_answers_that_are_none_raise(answer, rows, message):
    with pytest.raises(InvalidAnswerError, match=message):
        parse_recommendations(answer, "ids", rows, 10, TARGET)


def test_status_is_typed_and_newest_first():
    response = protos.GetModelStatusResponse()
    response.model_version_status.add(version=1, state=30)
    bad = response.model_version_status.add(version=2, state=50)
    bad.status.error_code, bad.status.error_message = 2, "corrupt"
    newest, oldest = parse_status(response, TARGET)
    assert (newest.version, newest.state, newest.error_code) == (2, "END", "UNKNOWN")
    assert (oldest.version, oldest.state, oldest.error_message) == (1, "AVAILABLE", "")


def test_metadata_is_typed():
    definitions = protos.SignatureDefMap()
    entry = definitions.signature_def["recommend"].inputs["query"]
    entry.dtype = 7
    entry.tensor_shape.dim.add().size = -1
    definitions.signature_def["__saved_model_init_op"].SetInParent()
    response = protos.GetModelMetadataResponse()
    response.model_spec.name = "m"
    response.metadata["signature_def"].value = definitions.SerializeToString()
    metadata = parse_metadata(response, TARGET)
    assert list(metadata.signatures) == ["recommend"]
    assert metadata.signatures["recommend"].inputs["query"].shape == (-1,)
    assert metadata.signatures["recommend"].inputs["query"].dtype == "STRING"
