"""`batching_params.pbtxt` and `monitoring.config`, read as TF Serving's messages.

TF Serving's Python package lacks the two messages. Here are their fields as
tensorflow/serving declares them: `servables/tensorflow/session_bundle_config.proto`
and `config/monitoring_config.proto`; a field that TF Serving does not have fails.
"""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf import descriptor_pool
from google.protobuf import text_format
from google.protobuf import wrappers_pb2
from pydantic import ValidationError

from serving.client.protos import message_class
from serving.local_server.batching_file import with_batching_file
from serving.local_server.config import ModelConfig
from serving.local_server.config import ServerConfig
from serving.local_server.metrics import METRICS_PATH
from serving.publishing.config import BatchingConfig
from serving.publishing.config import PusherConfig
from serving.publishing.serving_files import BATCHING
from serving.publishing.serving_files import MONITORING
from serving.publishing.serving_files import write_serving_files

Field = descriptor_pb2.FieldDescriptorProto
INT64 = ".google.protobuf.Int64Value"
MESSAGES = {
    "BatchingParameters": {
        "max_batch_size": (1, INT64),
        "batch_timeout_micros": (2, INT64),
        "max_enqueued_batches": (3, INT64),
        "num_batch_threads": (4, INT64),
        "thread_pool_name": (5, ".google.protobuf.StringValue"),
        "allowed_batch_sizes": (6, [Field.TYPE_INT64]),
        "pad_variable_length_inputs": (7, Field.TYPE_BOOL),
        "enable_large_batch_splitting": (8, ".google.protobuf.BoolValue"),
        "max_execution_batch_size": (9, INT64),
    },
    "PrometheusConfig": {"enable": (1, Field.TYPE_BOOL), "path": (2, Field.TYPE_STRING)},
    "MonitoringConfig": {"prometheus_config": (1, ".tensorflow.serving.PrometheusConfig")},
}


@pytest.fixture(scope="module")
def messages() -> dict[str, Any]:
    """The classes of `MESSAGES`, by name."""
    file = descriptor_pb2.FileDescriptorProto(
        name="serving.proto",
        package="tensorflow.serving",
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            label = Field.LABEL_REPEATED if isinstance(kind, list) else Field.LABEL_OPTIONAL
            added = message.field.add(name=field, number=number, label=label)
            if isinstance(kind, str):
                added.type, added.type_name = Field.TYPE_MESSAGE, kind
            else:
                added.type = kind[0] if isinstance(kind, list) else kind
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return {name: message_class(pool, f"tensorflow.serving.{name}") for name in MESSAGES}


def test_the_batching_parameters_are_tf_servings(tmp_path, messages):
    batching = BatchingConfig(max_execution_batch_size=24, timeout_micros=0, threads=2)
    write_serving_files(tmp_path, PusherConfig(batching=batching))
    read = text_format.Parse((tmp_path / BATCHING).read_text(), messages["BatchingParameters"]())
    assert read.max_batch_size.value == 1024
    assert read.max_execution_batch_size.value == 24
    assert read.enable_large_batch_splitting.value
    assert read.HasField("batch_timeout_micros") and read.batch_timeout_micros.value == 0
    assert read.max_enqueued_batches.value == 100
    assert read.num_batch_threads.value == 2
    assert not read.allowed_batch_sizes  # on a CPU rows that fill up a batch are work for nothing
    assert read.pad_variable_length_inputs


@pytest.mark.parametrize(
    ("largest", "sizes"),
    [(1, [1]), (2, [1, 2]), (24, [1, 2, 4, 8, 16, 24]), (64, [2**i for i in range(7)])],
)
def test_a_gpu_gets_powers_of_two_up_to_the_largest_batch_once(tmp_path, messages, largest, sizes):
    batching = BatchingConfig(device="gpu", max_execution_batch_size=largest)
    write_serving_files(tmp_path, PusherConfig(batching=batching))
    read = text_format.Parse((tmp_path / BATCHING).read_text(), messages["BatchingParameters"]())
    # TF Serving wants them to rise, and the last one to be the largest batch that runs.
    assert list(read.allowed_batch_sizes) == sizes
    assert not read.HasField("num_batch_threads")  # one a core, TF Serving's own choice


@pytest.mark.parametrize("device", ["cpu", "gpu"])
@pytest.mark.parametrize(("largest", "run"), [(1024, 64), (64, 64), (4, 4)])
def test_the_local_server_reads_what_is_written(tmp_path, device, largest, run):
    batching = BatchingConfig(max_batch_size=largest, device=device, threads=3)
    write_serving_files(tmp_path, PusherConfig(batching=batching))
    models = (ModelConfig(base_path=tmp_path),)
    config = ServerConfig(models=models, batching_parameters_file=tmp_path / BATCHING)
    found = with_batching_file(config)
    assert (found.batching.max_request_rows, found.batching.max_batch_size) == (largest, run)
    assert (found.batching.timeout_micros, found.runners) == (500, 3)


def test_the_monitoring_is_tf_servings_and_where_the_local_server_has_it(tmp_path, messages):
    write_serving_files(tmp_path, PusherConfig())
    read = text_format.Parse((tmp_path / MONITORING).read_text(), messages["MonitoringConfig"]())
    assert read.prometheus_config.enable
    assert read.prometheus_config.path == METRICS_PATH


def test_a_path_is_quoted_and_begins_with_a_slash(tmp_path, messages):
    write_serving_files(tmp_path, PusherConfig(monitoring_path='/a"b'))
    read = text_format.Parse((tmp_path / MONITORING).read_text(), messages["MonitoringConfig"]())
    assert read.prometheus_config.path == '/a"b'
    with pytest.raises(ValidationError):
        PusherConfig(monitoring_path="metrics")
