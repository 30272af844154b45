"""TF Serving's `batching_params.pbtxt`, read as the local server's own settings.

TF Serving's Python package lacks the message, so its fields are listed here, as
`servables/tensorflow/session_bundle_config.proto` declares them. Text has no
field numbers, so these are of no account. What TF Serving would not start with
is refused here too.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf import descriptor_pool
from google.protobuf import text_format
from google.protobuf import wrappers_pb2

from serving.client.protos import message_class
from serving.local_server.config import BatchingConfig
from serving.local_server.config import ServerConfig

# Values of `SharedBatchScheduler` where the file says nothing.
_DEFAULTS = {"max_batch_size": 1000, "batch_timeout_micros": 0, "max_enqueued_batches": 10}
_INTEGERS = (*_DEFAULTS, "num_batch_threads", "max_execution_batch_size")
_NAME = "tensorflow.serving.BatchingParameters"


def with_batching_file(config: ServerConfig) -> ServerConfig:
    """Returns a server's settings with those of its `batching_parameters_file`, if it names one.

    Raises:
        ValueError: the file cannot be read, or TF Serving would not start with it.
    """
    path = config.batching_parameters_file
    if path is None:
        return config
    message = _message()
    try:
        text_format.Parse(path.read_text(encoding="utf-8"), message)
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise ValueError(
            f"Expected TF Serving's batching parameters at {path}. Received: {error}."
        ) from error
    try:
        batching = _settings(message)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    kept = {"unmerged_signatures": config.batching.unmerged_signatures}
    return config.model_copy(update={"batching": batching.model_copy(update=kept)})


def _settings(message: Any) -> BatchingConfig:
    """Returns what a `BatchingParameters` says."""
    values = {name: getattr(message, name).value for name in _INTEGERS if message.HasField(name)}
    found = {**_DEFAULTS, **values}
    largest = found["max_batch_size"]
    run = largest
    if message.enable_large_batch_splitting.value:
        run = found.get("max_execution_batch_size", largest)
    if not 1 <= run <= largest:
        raise ValueError(
            f"Expected `max_execution_batch_size` between 1 and `max_batch_size` ({largest}). "
            f"Received: {run}."
        )
    allowed = list(message.allowed_batch_sizes)
    if allowed and (allowed != sorted(set(allowed)) or allowed[-1] != run):
        raise ValueError(
            f"Expected `allowed_batch_sizes` that rise to {run}, the largest batch that runs. "
            f"Received: {allowed}."
        )
    return BatchingConfig(
        max_batch_size=run,
        max_request_rows=largest,
        timeout_micros=found["batch_timeout_micros"],
        max_queued_rows=found["max_enqueued_batches"] * run,
        runners=found.get("num_batch_threads"),
    )


def _message() -> Any:
    """Returns an empty `BatchingParameters`."""
    kind = descriptor_pb2.FieldDescriptorProto
    wrapped = dict.fromkeys(_INTEGERS, "Int64Value")
    wrapped |= {"thread_pool_name": "StringValue", "enable_large_batch_splitting": "BoolValue"}
    file = descriptor_pb2.FileDescriptorProto(
        name="batching_parameters.proto",
        package="tensorflow.serving",
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    declared = file.message_type.add(name="BatchingParameters")
    optional, repeated = kind.LABEL_OPTIONAL, kind.LABEL_REPEATED
    for number, (name, wrapper) in enumerate(wrapped.items(), 1):
        declared.field.add(
            name=name,
            number=number,
            label=optional,
            type=kind.TYPE_MESSAGE,
            type_name=f".google.protobuf.{wrapper}",
        )
    declared.field.add(name="allowed_batch_sizes", number=14, label=repeated, type=kind.TYPE_INT64)
    declared.field.add(
        name="pad_variable_length_inputs", number=15, label=optional, type=kind.TYPE_BOOL
    )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return message_class(pool, _NAME)()
