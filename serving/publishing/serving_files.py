"""Files for TF Serving besides the models: flags, batching and monitoring.

The messages are `BatchingParameters` and `MonitoringConfig` of TF Serving, whose
Python package has neither, so the text is written out.
"""

from __future__ import annotations

import json
from pathlib import Path

from serving.publishing.config import BatchingConfig
from serving.publishing.config import PusherConfig
from serving.publishing.models_config import MODELS_CONFIG
from serving.publishing.models_config import SERVING
from transforms.storage import replace_text

BATCHING = Path(SERVING, "batching_params.pbtxt")
MONITORING = Path(SERVING, "monitoring.config")
# TF Serving's default of four a core refuses calls at modest concurrency, and 64 is a wall at 63.
GRPC_MAX_THREADS = 256


def write_serving_files(push_dir: Path, config: PusherConfig) -> None:
    """Writes `batching_params.pbtxt` and `monitoring.config` beside the versions.

    Raises:
        OSError: A file cannot be written; the old one stays.
    """
    replace_text(push_dir / BATCHING, batching_text(config.batching))
    replace_text(push_dir / MONITORING, monitoring_text(config.monitoring_path))


def server_flags(push_dir: str | Path, grpc_max_threads: int = GRPC_MAX_THREADS) -> list[str]:
    """Returns the flags of a `tensorflow_model_server` that serves a push directory.

    Args:
        push_dir: The push directory as the server sees it.
        grpc_max_threads: One call less is answered at the same time; what comes
            on top is refused.
    """
    return [
        f"--grpc_max_threads={grpc_max_threads}",
        f"--model_config_file={push_dir}/{MODELS_CONFIG}",
        # At the start no version is loaded yet, and every label waits for one.
        "--allow_version_labels_for_unavailable_models=true",
        # By default a version that cannot be loaded is tried for five minutes, in which its
        # status gives no reason and a server that starts opens no port.
        "--max_num_load_retries=0",
        "--enable_batching=true",
        f"--batching_parameters_file={push_dir}/{BATCHING}",
        f"--monitoring_config_file={push_dir}/{MONITORING}",
    ]


def batching_text(config: BatchingConfig) -> str:
    """Returns TF Serving's `BatchingParameters` as text.

    Histories of different lengths are padded, which the length beside them undoes.
    """
    largest = min(config.max_execution_batch_size, config.max_batch_size)
    values: dict[str, int | str] = {
        "max_batch_size": config.max_batch_size,
        "max_execution_batch_size": largest,
        "enable_large_batch_splitting": "true",
        "batch_timeout_micros": config.timeout_micros,
        "max_enqueued_batches": config.max_enqueued_batches,
    }
    if config.threads is not None:
        values["num_batch_threads"] = config.threads
    lines = [f"{name} {{ value: {value} }}" for name, value in values.items()]
    if config.device == "gpu":
        lines += [f"allowed_batch_sizes: {size}" for size in batch_sizes(largest)]
    return "\n".join([*lines, "pad_variable_length_inputs: true"]) + "\n"


def batch_sizes(largest: int) -> list[int]:
    """Returns the powers of two below the largest size, and that: rising, as TF Serving wants."""
    powers = [2**i for i in range(largest.bit_length()) if 2**i < largest]
    return [*powers, largest]


def monitoring_text(path: str) -> str:
    """Returns TF Serving's `MonitoringConfig` as text."""
    return f"prometheus_config {{\n  enable: true\n  path: {json.dumps(path)}\n}}\n"
