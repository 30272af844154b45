"""Command line of `tensorflow_model_server`, the same in Kubernetes and in compose."""

from __future__ import annotations

from deploy.values import Values
from serving.publishing.serving_files import server_flags

GRPC_PORT = 8500
REST_PORT = 8501
SCRATCH = "/tmp"  # the one directory that can be written to
TLS = "/etc/tensorflow-serving-tls"


def flags(values: Values) -> list[str]:
    """Returns the command-line flags of the server."""
    server = values.server
    age = server.max_connection_age_seconds * 1000
    found = [
        f"--port={GRPC_PORT}",
        f"--rest_api_port={REST_PORT}",
        f"--grpc_channel_arguments=grpc.max_connection_age_ms={age}",
        f"--model_config_file_poll_wait_seconds={server.config_poll_seconds}",
        *server_flags(values.model.mount_path, server.grpc_max_threads),
    ]
    if server.device == "gpu" and values.gpu.memory_fraction is not None:
        found.append(f"--per_process_gpu_memory_fraction={values.gpu.memory_fraction}")
    return found


def environment(values: Values) -> dict[str, str]:
    """Returns the environment of the server."""
    found = {"TF_CPP_MIN_LOG_LEVEL": "1"}
    if values.server.device == "gpu":
        found["CUDA_CACHE_PATH"] = f"{SCRATCH}/cuda"
        if values.gpu.allow_growth:
            found["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
    return found


def image(values: Values) -> str:
    """Returns the image of the device."""
    return values.image("serving_gpu" if values.server.device == "gpu" else "serving_cpu")


def ready_path(values: Values) -> str:
    """Returns what the server answers with 200 once the stable version is loaded and warm.

    TF Serving has no page for its health. The status of a model is answered
    while it loads; its metadata only by a version that answers requests too.
    """
    return f"/v1/models/{values.model.name}/labels/stable/metadata"


def alive_path(values: Values) -> str:
    """Returns what a server that is not stuck answers with 200, whatever is loaded."""
    return f"/v1/models/{values.model.name}"
