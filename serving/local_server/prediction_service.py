"""TF Serving's PredictionService: Predict and GetModelMetadata."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
from absl import logging

from serving.client import protos
from serving.client.tensors import fill_proto
from serving.local_server import rpc
from serving.local_server.errors import RequestError
from serving.local_server.errors import invalid
from serving.local_server.errors import not_found
from serving.local_server.metrics import ServerMetrics
from serving.local_server.registry import Registry
from serving.local_server.signature import Arrays
from serving.local_server.version import Version

DEFAULT_SIGNATURE = "serving_default"
_ANY_TYPE = "type.googleapis.com/tensorflow.serving.SignatureDefMap"


class PredictionService:
    """Answers requests for predictions and metadata.

    Args:
        registry: the served models.
        metrics: where requests are counted.
        refuse_nan: refuse float inputs that hold NaN or infinity.
    """

    def __init__(self, registry: Registry, metrics: ServerMetrics, refuse_nan: bool) -> None:
        self._registry = registry
        self._metrics = metrics
        self._refuse_nan = refuse_nan

    def handler(self) -> grpc.GenericRpcHandler:
        """Returns the handler to register with a gRPC server."""
        methods: dict[str, rpc.Method] = {
            "Predict": self.predict,
            "GetModelMetadata": self.get_model_metadata,
        }
        return rpc.handler(protos.PREDICTION_SERVICE, methods)

    async def predict(self, message: bytes, context: Any) -> bytes:
        """Runs a signature of a model."""
        start = time.perf_counter()
        name, status = "", "CANCELLED"
        try:
            request = rpc.parse(protos.PredictRequest, message)
            name = self._registry.find(request.model_spec.name).config.name
            answer = await self._predict(request, context)
            status = "OK"
            return answer
        except RequestError as error:
            status = error.code.name
            await rpc.abort(context, error)
        except asyncio.CancelledError:  # the client hung up, or its deadline passed
            raise
        except Exception as error:
            status = "INTERNAL"
            logging.exception("Predict for %s failed", name or "an unknown model")
            await rpc.abort(
                context,
                RequestError(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}"),
            )
        finally:
            self._metrics.requests.add(name, status)
            micros = (time.perf_counter() - start) * 1e6
            self._metrics.request_latency.observe(micros, name, "Predict", "GRPC")

    async def get_model_metadata(self, message: bytes, context: Any) -> bytes:
        """Returns the signatures of a model."""
        try:
            request = rpc.parse(protos.GetModelMetadataRequest, message)
            if list(request.metadata_field) != ["signature_def"]:
                raise invalid(
                    "Expected metadata_field to be `signature_def`. Received: "
                    f"{list(request.metadata_field)}."
                )
            version = self._resolve(request.model_spec)
            response = protos.GetModelMetadataResponse()
            _fill_spec(response.model_spec, request.model_spec.name, version.number)
            packed = response.metadata["signature_def"]
            packed.type_url = _ANY_TYPE
            if version.servable is not None:
                packed.value = version.servable.signature_definitions.SerializeToString()
            serialised: bytes = response.SerializeToString()
            return serialised
        except RequestError as error:
            await rpc.abort(context, error)

    async def _predict(self, request: Any, context: Any) -> bytes:
        spec = request.model_spec
        version = self._resolve(spec)
        version.begin()
        try:
            outputs = await self._run(version, request, context)
            name = spec.signature_name or DEFAULT_SIGNATURE
            return _response(spec.name, version.number, name, outputs, request.output_filter)
        finally:
            version.end()

    async def _run(self, version: Version, request: Any, context: Any) -> Arrays:
        name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        signatures = version.servable.signatures if version.servable is not None else {}
        if name not in signatures:
            raise not_found(
                f"Model `{request.model_spec.name}` version {version.number} has no signature "
                f"`{name}`; it has {sorted(signatures)}."
            )
        signature = signatures[name]
        signature.check_outputs(list(request.output_filter))
        arrays = signature.decode(request.inputs, self._refuse_nan)
        rows = signature.rows(arrays)
        self._metrics.example_counts.observe(rows or 1, request.model_spec.name)
        self._metrics.examples.add(request.model_spec.name, by=rows or 1)
        left = context.time_remaining()
        deadline = None if left is None else asyncio.get_running_loop().time() + left
        return await self._registry.scheduler.submit(version.lanes[name], arrays, rows, deadline)

    def _resolve(self, spec: Any) -> Version:
        number = spec.version.value if spec.HasField("version") else None
        return self._registry.find(spec.name).resolve(number, spec.version_label)


def _fill_spec(spec: Any, name: str, version: int) -> None:
    spec.name = name
    spec.version.value = version


def _response(name: str, version: int, signature: str, outputs: Arrays, only: Any) -> bytes:
    response = protos.PredictResponse()
    _fill_spec(response.model_spec, name, version)
    response.model_spec.signature_name = signature
    for output in only or outputs:
        fill_proto(response.outputs[output], outputs[output], as_fields=True)
    serialised: bytes = response.SerializeToString()
    return serialised
