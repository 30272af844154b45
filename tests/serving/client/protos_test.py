from __future__ import annotations

from importlib.metadata import version

import pytest
from google.protobuf import descriptor_pb2

from serving.client import protos
from serving.client.build_descriptors import installed_descriptor_set

MADE_FROM = "2.16.1"  # of tensorflow-serving-api


def fields_of(descriptors: bytes) -> dict[tuple[str, str], tuple[int, int, int, str]]:
    """Returns number, type, label and name of the type of each field, by message and field."""
    found = {}

    def visit(scope: str, message: descriptor_pb2.DescriptorProto) -> None:
        name = f"{scope}.{message.name}"
        for field in message.field:
            found[name, field.name] = (field.number, field.type, field.label, field.type_name)
        for nested in message.nested_type:
            visit(name, nested)

    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptors).file:
        for message in file.message_type:
            visit(file.package, message)
    return found


def test_the_installed_packages_read_every_field_of_the_shipped_descriptors() -> None:
    shipped, installed = (
        fields_of(descriptors)
        for descriptors in (protos.DESCRIPTOR_FILE.read_bytes(), installed_descriptor_set())
    )
    assert ("tensorflow.serving.PredictRequest", "inputs") in shipped
    assert shipped.items() <= installed.items()


@pytest.mark.skipif(
    version("tensorflow-serving-api") != MADE_FROM, reason="made from another version's protos"
)
def test_shipped_descriptors_are_those_of_the_version_they_were_made_from() -> None:
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
