"""What the synchronous and the asynchronous client share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from serving.client import protos
from serving.client.calls import fill_spec
from serving.client.calls import predict_request
from serving.client.calls import recommend_inputs
from serving.client.channel import MAX_MESSAGE_BYTES
from serving.client.channel import TlsOptions
from serving.client.channel import channel_options
from serving.client.errors import Target
from serving.client.errors import TooLargeError
from serving.client.retry import RetryPolicy
from serving.client.types import Request

RECOMMEND = "recommend"
EXAMPLES = "serving_default"
METHODS = {
    "Predict": protos.PREDICTION_SERVICE,
    "GetModelMetadata": protos.PREDICTION_SERVICE,
    "GetModelStatus": protos.MODEL_SERVICE,
}


class ClientBase:
    """Settings of a client and the messages that it sends.

    Args:
        address: `host:port` of TF Serving or the local server.
        model: name of the model.
        version: a version to insist on; by default the server's latest.
        label: a version label such as `stable`, in place of a version.
        timeout: seconds for a call, retries included.
        retry: which failures are tried again, and when.
        tls: TLS or mutual TLS; `None` sends in the clear.
        max_message_bytes: bound of a request and of an answer.
        max_rows: rows of a batch that go into one request; longer batches are
            sent as several.
        round_robin: spread calls over all addresses behind the name.

    Raises:
        ValueError: `version` and `label` are both given, or a number is not
            positive.
    """

    def __init__(
        self,
        address: str = "127.0.0.1:8500",
        model: str = "recommender",
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float = 5.0,
        retry: RetryPolicy | None = None,
        tls: TlsOptions | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        max_rows: int = 256,
        round_robin: bool = False,
    ) -> None:
        if version is not None and label:
            raise ValueError(
                f"Expected a version or a label. Received: version={version} and label=`{label}`."
            )
        if timeout <= 0 or max_rows < 1:
            raise ValueError(
                f"Expected `timeout` > 0 and `max_rows` >= 1. Received: {timeout} and {max_rows}."
            )
        self._target = Target(address, model, version, label)
        self._timeout = timeout
        self._retry = retry or RetryPolicy()
        self._tls = tls
        self._max_message_bytes = max_message_bytes
        self._max_rows = max_rows
        self._options = channel_options(max_message_bytes, tls, round_robin)
        self._channel = self._open_channel()
        self._methods = self._stubs(self._channel)

    @property
    def target(self) -> Target:
        """The server and model that calls go to."""
        return self._target

    def _open_channel(self) -> Any:
        raise NotImplementedError

    def _stubs(self, channel: Any) -> dict[str, Any]:
        stubs = {}
        for method, service in METHODS.items():
            _, response = protos.methods(service)[method]
            stubs[method] = channel.unary_unary(
                f"/{service}/{method}",
                # Requests are serialised once, whatever the number of tries.
                request_serializer=None,
                response_deserializer=response.FromString,
            )
        return stubs

    def _serialise(self, request: Any, target: Target) -> bytes:
        message: bytes = request.SerializeToString()
        if len(message) > self._max_message_bytes:
            raise TooLargeError(
                target,
                "RESOURCE_EXHAUSTED",
                f"the request has {len(message):,} bytes of {self._max_message_bytes:,} allowed",
            )
        return message

    def _recommend_message(self, requests: Sequence[Request]) -> tuple[Target, Any]:
        target = self._target.of(RECOMMEND)
        return target, predict_request(target, recommend_inputs(requests))

    def _examples_message(self, examples: Sequence[bytes]) -> tuple[Target, Any]:
        target = self._target.of(EXAMPLES)
        return target, predict_request(target, {"examples": list(examples)})

    def _status_message(self) -> tuple[Target, Any]:
        request = protos.GetModelStatusRequest()
        fill_spec(request.model_spec, self._target)
        return self._target.of("GetModelStatus"), request

    def _metadata_message(self) -> tuple[Target, Any]:
        request = protos.GetModelMetadataRequest(metadata_field=["signature_def"])
        fill_spec(request.model_spec, self._target)
        return self._target.of("GetModelMetadata"), request

    def _chunks(self, rows: Sequence[Any]) -> list[Sequence[Any]]:
        return [rows[i : i + self._max_rows] for i in range(0, len(rows), self._max_rows)]


def check_k(k: int) -> int:
    """Returns k, or raises `ValueError` when it is not positive."""
    if k < 1:
        raise ValueError(f"Expected `k` >= 1. Received: {k}.")
    return k
