"""TF Serving's PredictionService: Predict and GetModelMetadata."""

from __future__ import annotations

from typing import Any

import grpc

from serving.client import protos
from serving.client.tensors import fill_proto
from serving.local_server import rpc
from serving.local_server.byte_budget import ByteBudget
from serving.local_server.config import ServerConfig
from serving.local_server.errors import RequestError
from serving.local_server.errors import invalid
from serving.local_server.predictor import Answer
from serving.local_server.predictor import Predictor

_REQUEST = protos.PredictRequest
_ANY_TYPE = "type.googleapis.com/tensorflow.serving.SignatureDefMap"
_MANY = 1 << 14  # values; an answer with more is written aside


class PredictionService:
    """Answers requests for predictions and metadata.

    Args:
        predictor: runs the signatures.
        config: the bounds.
    """

    def __init__(self, predictor: Predictor, config: ServerConfig) -> None:
        self._predictor = predictor
        self._max_bytes = config.max_request_bytes
        self._messages = ByteBudget(config.max_concurrent_bytes, "The messages under way")

    def handler(self) -> grpc.GenericRpcHandler:
        """Returns the handler to register with a gRPC server."""
        methods: dict[str, rpc.Method] = {
            "Predict": self.predict,
            "GetModelMetadata": self.get_model_metadata,
        }
        return rpc.handler(protos.PREDICTION_SERVICE, methods)

    async def predict(self, message: bytes, context: Any) -> bytes:
        """Runs a signature of a model."""
        try:
            with self._predictor.counted("GRPC") as call, self._messages.hold(len(message)):
                large = len(message) > rpc.SMALL
                request = await self._parse(message) if large else rpc.parse(_REQUEST, message)
                call.model = request.model_spec.name
                answer = await self._predictor.predict(
                    request.model_spec,
                    lambda _: request.inputs,
                    list(request.output_filter),
                    context.time_remaining(),
                    large,
                )
                if sum(array.size for array in answer.outputs.values()) > _MANY:
                    return await self._predictor.aside(_response, answer)
                return _response(answer)
        except RequestError as error:
            await rpc.abort(context, error)

    async def get_model_metadata(self, message: bytes, context: Any) -> bytes:
        """Returns the signatures of a model."""
        try:
            request = rpc.parse(protos.GetModelMetadataRequest, message)
            if list(request.metadata_field) != ["signature_def"]:
                raise invalid(
                    "Expected metadata_field to be `signature_def`. Received: "
                    f"{list(request.metadata_field)}."
                )
            version = self._predictor.resolve(request.model_spec)
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

    async def _parse(self, message: bytes) -> Any:
        return await self._predictor.aside(rpc.parse, _REQUEST, message, self._max_bytes)


def _fill_spec(spec: Any, name: str, version: int) -> None:
    spec.name = name
    spec.version.value = version


def _response(answer: Answer) -> bytes:
    response = protos.PredictResponse()
    _fill_spec(response.model_spec, answer.model, answer.version)
    response.model_spec.signature_name = answer.signature
    for output, array in answer.outputs.items():
        fill_proto(response.outputs[output], array, as_fields=True)
    serialised: bytes = response.SerializeToString()
    return serialised
