"""TF Serving's REST interface: predictions, metadata, status, and the metrics.

POST /v1/models/<name>[/versions/<number>|/labels/<label>]:predict
GET  /v1/models/<name>[/versions/<number>|/labels/<label>][/metadata]
GET  /monitoring/prometheus/metrics
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import re
from collections.abc import Coroutine
from typing import Any
from typing import TypeVar
from urllib.parse import unquote

import grpc
from absl import logging
from google.protobuf import json_format

from serving.client import protos
from serving.local_server.config import ServerConfig
from serving.local_server.disk import LAST_VERSION
from serving.local_server.errors import RequestError
from serving.local_server.errors import invalid
from serving.local_server.http_server import Page
from serving.local_server.http_server import error_page
from serving.local_server.json_tensors import Document
from serving.local_server.json_tensors import read_document
from serving.local_server.json_tensors import to_json
from serving.local_server.json_tensors import to_protos
from serving.local_server.metrics import METRICS_PATH
from serving.local_server.metrics import ServerMetrics
from serving.local_server.model_service import ModelService
from serving.local_server.predictor import Answer
from serving.local_server.predictor import Predictor

T = TypeVar("T")
TIMEOUT = 30.0  # seconds for an answer, as TF Serving has it
_LARGE = 1 << 14  # bytes; a larger request is turned into tensors aside
_MODEL = r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?"
_PREDICT = re.compile(_MODEL + ":(predict|classify|regress)", re.IGNORECASE)
_ABOUT = re.compile(_MODEL + "(/metadata)?", re.IGNORECASE)
_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}


class RestApi:
    """Answers HTTP requests, each on the thread of its connection.

    Args:
        loop: the event loop of the models.
        predictor: runs signatures, on the loop.
        models: says how versions are, on the loop.
        metrics: the page of metrics.
        config: the bounds.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        predictor: Predictor,
        models: ModelService,
        metrics: ServerMetrics,
        config: ServerConfig,
    ) -> None:
        self._loop = loop
        self._predictor = predictor
        self._models = models
        self._metrics = metrics
        self._config = config
        self._stopping = False
        self._pending: set[concurrent.futures.Future[Any]] = set()

    def answer(self, method: str, target: str, body: bytes) -> Page:
        """Answers a request."""
        path = target.partition("?")[0]
        try:
            if method == "GET" and path == METRICS_PATH:
                text = self._metrics.text().encode()
                return Page(200, text, "text/plain; version=0.0.4; charset=utf-8")
            if not path.lower().startswith("/v1/"):
                return error_page(404, f"Not found: {path}. REST is below /v1/models/.")
            predict, about = _PREDICT.fullmatch(path), _ABOUT.fullmatch(path)
            if method == "POST" and predict is not None:
                return self._predict(_spec(predict), predict[4].lower(), body)
            if method == "GET" and about is not None:
                found = self._metadata if about[4] else self._status
                return Page(200, self._await(found(_spec(about))))
            raise invalid(f"Malformed request: {method} {path}")
        except RequestError as error:
            return error_page(_STATUS.get(error.code, 500), error.message)
        except Exception as error:
            logging.exception("%s %s failed", method, path)
            return error_page(500, f"{type(error).__name__}: {error}")

    async def drain(self, seconds: float) -> None:
        """Refuses what comes, and gives up what is not answered in so many seconds."""
        self._stopping = True
        end = self._loop.time() + seconds
        while self._pending and self._loop.time() < end:
            await asyncio.sleep(0.02)
        for future in list(self._pending):
            future.cancel()

    def _predict(self, spec: Any, method: str, body: bytes) -> Page:
        if method != "predict":
            raise RequestError(
                grpc.StatusCode.UNIMPLEMENTED,
                f"The local server does not offer `{method}`, only `predict`. TF Serving does.",
            )
        document = read_document(body, self._config.max_request_bytes)
        spec.signature_name = document.signature
        answer = self._await(self._run(spec, document, len(body) > _LARGE))
        return Page(200, to_json(answer.outputs, document.by_rows))

    async def _run(self, spec: Any, document: Document, large: bool) -> Answer:
        with self._predictor.counted("REST") as call:
            call.model = spec.name
            return await self._predictor.predict(
                spec, lambda signature: to_protos(document, signature), [], TIMEOUT, large
            )

    async def _status(self, spec: Any) -> bytes:
        return _dump(_to_dict(self._models.status(spec)))

    async def _metadata(self, spec: Any) -> bytes:
        version = self._predictor.resolve(spec)
        assert version.servable is not None
        model = {"name": spec.name, "signature_name": "", "version": str(version.number)}
        signatures = _to_dict(version.servable.signature_definitions)
        return _dump({"model_spec": model, "metadata": {"signature_def": signatures}})

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        """Returns what the event loop makes of the work."""
        if self._stopping:
            work.close()
            raise RequestError(grpc.StatusCode.UNAVAILABLE, "The server is stopping.")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        self._pending.add(future)
        try:
            return future.result(TIMEOUT + 1)  # the work itself keeps to the time
        except concurrent.futures.TimeoutError as error:
            future.cancel()
            raise RequestError(
                grpc.StatusCode.DEADLINE_EXCEEDED, f"No answer in {TIMEOUT:.0f} s."
            ) from error
        except concurrent.futures.CancelledError as error:
            raise RequestError(grpc.StatusCode.UNAVAILABLE, "The server is stopping.") from error
        finally:
            self._pending.discard(future)


def _spec(match: re.Match[str]) -> Any:
    """Returns the `ModelSpec` that a path names."""
    name, number, label = match[1], match[2], match[3]
    spec = protos.ModelSpec(name=unquote(name))
    if label is not None:
        spec.version_label = unquote(label)
    if number is not None:
        if len(number) > 19 or int(number) > LAST_VERSION:
            raise invalid(f"Failed to convert version: {number[:40]} to numeric.")
        spec.version.value = int(number)
    return spec


def _to_dict(message: Any) -> Any:
    names = {"preserving_proto_field_name": True}
    try:  # protobuf 5.26 and later
        return json_format.MessageToDict(
            message, always_print_fields_with_no_presence=True, **names
        )
    except TypeError:
        return json_format.MessageToDict(message, including_default_value_fields=True, **names)


def _dump(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode() + b"\n"
