from __future__ import annotations

from serving.client import protos
from serving.client.build_descriptors import installed_descriptor_set


def test_shipped_descriptors_are_those_of_the_installed_packages():
    assert protos.DESCRIPTOR_FILE.read_bytes() == installed_descriptor_set(), (
        "run `python -m serving.client.build_descriptors`"
    )


def test_messages_are_read_by_tf_serving_itself():
    from tensorflow_serving.apis import predict_pb2

    ours = protos.PredictRequest()
    ours.model_spec.name = "m"
    ours.model_spec.version.value = 3
    ours.model_spec.signature_name = "recommend"
    theirs = predict_pb2.PredictRequest.FromString(ours.SerializeToString())
    assert theirs.model_spec.version.value == 3
    assert theirs.model_spec.signature_name == "recommend"


def test_services_have_their_methods():
    assert set(protos.methods(protos.PREDICTION_SERVICE)) == {
        "Classify",
        "Regress",
        "Predict",
        "MultiInference",
        "GetModelMetadata",
    }
    request, response = protos.methods(protos.MODEL_SERVICE)["GetModelStatus"]
    assert request is protos.GetModelStatusRequest
    assert response is protos.GetModelStatusResponse


def test_names_of_numbers():
    assert protos.data_type_name(9) == "INT64"
    assert protos.data_type_name(9999) == "type 9999"
    assert protos.state_name(30) == "AVAILABLE"
