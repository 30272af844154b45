"""Makes `tensorflow_serving_apis.binpb` from the installed TF Serving protos.

The client must not import TensorFlow, which `tensorflow_serving.apis` does.
So the protos are shipped as data: one serialised `FileDescriptorSet`, files in
dependency order. Run this after an upgrade of `tensorflow-serving-api`:

    python -m serving.client.build_descriptors
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2

from serving.client.protos import DESCRIPTOR_FILE


def installed_descriptor_set() -> bytes:
    """Returns the serialised `FileDescriptorSet` of the installed packages.

    It holds the prediction and model services, warm-up records and everything
    that they import. Imports TensorFlow.
    """
    from tensorflow_serving.apis import model_service_pb2
    from tensorflow_serving.apis import prediction_log_pb2
    from tensorflow_serving.apis import prediction_service_pb2

    files: dict[str, Any] = {}

    def add(file: Any) -> None:
        if file.name not in files:
            for dependency in file.dependencies:
                add(dependency)
            files[file.name] = file

    for module in (prediction_service_pb2, model_service_pb2, prediction_log_pb2):
        add(module.DESCRIPTOR)
    result = descriptor_pb2.FileDescriptorSet()
    for file in files.values():
        result.file.add().ParseFromString(file.serialized_pb)
    return result.SerializeToString(deterministic=True)


if __name__ == "__main__":
    DESCRIPTOR_FILE.write_bytes(installed_descriptor_set())
