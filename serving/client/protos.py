"""TF Serving's messages without TensorFlow.

The messages come from a shipped `FileDescriptorSet` and live in a descriptor
pool of their own, so that they neither need TensorFlow nor clash with it when
both are in one process.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf import descriptor_pool
from google.protobuf import message_factory

DESCRIPTOR_FILE = Path(__file__).with_name("tensorflow_serving_apis.binpb")
PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"


def _load_pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTOR_FILE.read_bytes()).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


_POOL = _load_pool()
# Protobuf 3 has only the factory object, later versions only the function.
_FACTORY: Any = (
    None if hasattr(message_factory, "GetMessageClass") else message_factory.MessageFactory(_POOL)
)


def message_class(pool: descriptor_pool.DescriptorPool, name: str) -> Any:
    """Returns the class of a message of a pool."""
    descriptor = pool.FindMessageTypeByName(name)
    if _FACTORY is not None:
        return _FACTORY.GetPrototype(descriptor)
    return message_factory.GetMessageClass(descriptor)


def _message(name: str) -> Any:
    return message_class(_POOL, name)


PredictRequest = _message("tensorflow.serving.PredictRequest")
PredictResponse = _message("tensorflow.serving.PredictResponse")
ModelSpec = _message("tensorflow.serving.ModelSpec")
GetModelMetadataRequest = _message("tensorflow.serving.GetModelMetadataRequest")
GetModelMetadataResponse = _message("tensorflow.serving.GetModelMetadataResponse")
SignatureDefMap = _message("tensorflow.serving.SignatureDefMap")
GetModelStatusRequest = _message("tensorflow.serving.GetModelStatusRequest")
GetModelStatusResponse = _message("tensorflow.serving.GetModelStatusResponse")
ReloadConfigRequest = _message("tensorflow.serving.ReloadConfigRequest")
ReloadConfigResponse = _message("tensorflow.serving.ReloadConfigResponse")
ModelServerConfig = _message("tensorflow.serving.ModelServerConfig")
PredictionLog = _message("tensorflow.serving.PredictionLog")
TensorProto = _message("tensorflow.TensorProto")
Example = _message("tensorflow.Example")

_DATA_TYPES = _POOL.FindEnumTypeByName("tensorflow.DataType")
_STATES = _POOL.FindEnumTypeByName("tensorflow.serving.ModelVersionStatus.State")


def data_type_name(number: int) -> str:
    """Returns the name of a `tensorflow.DataType` without its prefix, e.g. `INT64`."""
    value = _DATA_TYPES.values_by_number.get(number)
    return value.name.removeprefix("DT_") if value else f"type {number}"


def state_name(number: int) -> str:
    """Returns the name of a version's state, e.g. `AVAILABLE`."""
    value = _STATES.values_by_number.get(number)
    return value.name if value else f"state {number}"


def methods(service: str) -> dict[str, tuple[Any, Any]]:
    """Returns the request and response class of every method of a service."""
    found = _POOL.FindServiceByName(service).methods
    return {
        m.name: (_message(m.input_type.full_name), _message(m.output_type.full_name)) for m in found
    }
