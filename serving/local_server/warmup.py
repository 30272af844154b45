"""Warm-up: the recorded requests that a version answers before it is served."""

from __future__ import annotations

import time
from pathlib import Path

from absl import logging
from google.protobuf.message import DecodeError

from serving.client import protos
from serving.local_server.batching import check_rows
from serving.local_server.config import BatchingConfig
from serving.local_server.errors import RequestError
from serving.local_server.metrics import ServerMetrics
from serving.local_server.servable import Servable

WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")
# TF Serving refuses a version that has more.
MAX_RECORDS = 1000


def warm_up(servable: Servable, metrics: ServerMetrics, batching: BatchingConfig) -> int:
    """Sends a version its recorded requests, if it has any.

    Args:
        servable: the version, loaded and not yet served.
        metrics: where records and time are counted.
        batching: how many rows a request may have.

    Returns:
        The number of requests that ran.

    Raises:
        ValueError: the file is damaged, has too many records, or one does not fit.
        RequestError: the graph raised for one.
    """
    path = servable.path / WARMUP_FILE
    if not path.exists():
        return 0
    start = time.perf_counter()
    status = "INTERNAL"
    try:
        count = _run_all(servable, path, batching)
        status = "OK"
    finally:
        micros = (time.perf_counter() - start) * 1e6
        metrics.warmup_latency.observe(micros, str(servable.path), status)
    metrics.warmup_records.add(str(servable.path), by=count)
    return count


def _run_all(servable: Servable, path: Path, batching: BatchingConfig) -> int:
    import tensorflow as tf

    count = 0
    for number, record in enumerate(tf.data.TFRecordDataset(str(path)).as_numpy_iterator()):
        if number >= MAX_RECORDS:
            raise ValueError(f"Expected at most {MAX_RECORDS} warm-up requests in {path}.")
        try:
            log = protos.PredictionLog.FromString(record)
        except DecodeError as error:
            raise ValueError(f"Warm-up record {number} is not a PredictionLog: {error}") from error
        if log.WhichOneof("log_type") != "predict_log":
            logging.warning("Warm-up record %d of %s is no Predict call: left out", number, path)
            continue
        _run(servable, number, log.predict_log.request, batching)
        count += 1
    return count


def _run(
    servable: Servable, number: int, request: protos.PredictRequest, batching: BatchingConfig
) -> None:
    name = request.model_spec.signature_name or "serving_default"
    signature = servable.signatures.get(name)
    if signature is None:
        raise ValueError(f"Warm-up record {number} calls `{name}`, which the version lacks.")
    try:
        folded = signature.measure(request.inputs)
        check_rows(folded.rows or 1, batching)
        arrays = signature.decode(folded, refuse_nan=False)
    except RequestError as error:
        raise ValueError(f"Warm-up record {number}: {error.message}") from error
    servable.run(signature, arrays, timeout=None)
