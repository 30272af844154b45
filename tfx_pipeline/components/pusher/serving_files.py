"""What TF Serving is told besides the models: batching and monitoring, as text protos.

The messages are `BatchingParameters` and `MonitoringConfig` of TF Serving, whose
Python package has neither, so the text is written out.
"""

from __future__ import annotations

import json
from pathlib import Path

from tfx_pipeline.components.pusher.config import BatchingConfig
from tfx_pipeline.components.pusher.config import PusherConfig
from tfx_pipeline.components.pusher.models_config import SERVING
from tfx_pipeline.components.pusher.models_config import replace_text

BATCHING = Path(SERVING, "batching_params.pbtxt")
MONITORING = Path(SERVING, "monitoring.config")


def write_serving_files(push_dir: Path, config: PusherConfig) -> None:
    """Writes `batching_params.pbtxt` and `monitoring.config` beside the versions.

    Raises:
        OSError: A file cannot be written; the old one stays.
    """
    replace_text(push_dir / BATCHING, batching_text(config.batching))
    replace_text(push_dir / MONITORING, monitoring_text(config.monitoring_path))


def batching_text(config: BatchingConfig) -> str:
    """Returns TF Serving's `BatchingParameters` as text.

    Batches are filled up to a power of two, so that few shapes are traced; and
    histories of different lengths are padded, which the length beside them undoes.
    """
    values = {
        "max_batch_size": config.max_batch_size,
        "batch_timeout_micros": config.timeout_micros,
        "max_enqueued_batches": config.max_enqueued_batches,
    }
    if config.threads is not None:
        values["num_batch_threads"] = config.threads
    lines = [f"{name} {{ value: {value} }}" for name, value in values.items()]
    lines += [f"allowed_batch_sizes: {size}" for size in batch_sizes(config.max_batch_size)]
    return "\n".join([*lines, "pad_variable_length_inputs: true"]) + "\n"


def batch_sizes(largest: int) -> list[int]:
    """Returns the powers of two below the largest size, and that: rising, as TF Serving wants."""
    powers = [2**i for i in range(largest.bit_length()) if 2**i < largest]
    return [*powers, largest]


def monitoring_text(path: str) -> str:
    """Returns TF Serving's `MonitoringConfig` as text."""
    return f"prometheus_config {{\n  enable: true\n  path: {json.dumps(path)}\n}}\n"
