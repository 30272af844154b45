"""The synchronous client."""

from __future__ import annotations

import time
from collections.abc import Mapping
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import grpc
import numpy.typing as npt

from serving.client.base import ClientBase
from serving.client.base import check_k
from serving.client.calls import parse_metadata
from serving.client.calls import parse_prediction
from serving.client.calls import parse_recommendations
from serving.client.calls import parse_status
from serving.client.calls import predict_request
from serving.client.errors import Target
from serving.client.errors import from_rpc_error
from serving.client.retry import Attempts
from serving.client.types import Event
from serving.client.types import ModelMetadata
from serving.client.types import Prediction
from serving.client.types import Recommendation
from serving.client.types import Request
from serving.client.types import VersionStatus


class RecommenderClient(ClientBase):
    """Asks TF Serving, or the local server, for recommendations.

    One client keeps one channel: make it once, use it from any thread, close it
    at the end (or use it as a context manager). `ClientBase` lists the settings.
    Every call raises a `ServingError` (see `serving.client.errors`) that names
    the server, the model, its version or label and the signature.
    """

    def _open_channel(self) -> Any:
        address = self._target.address
        if self._tls is None:
            return grpc.insecure_channel(address, self._options)
        return grpc.secure_channel(address, self._tls.credentials(), self._options)

    def recommend(
        self,
        history: Sequence[Event] = (),
        k: int = 10,
        *,
        exclude_ids: Sequence[str] = (),
        query: str = "",
        user_attributes: Sequence[str] = (),
        request_time: int | None = None,
        timeout: float | None = None,
    ) -> Recommendation:
        """Returns the best entities for one user.

        Args:
            history: what the user did, oldest first; may be empty.
            k: how many; the servable's own number, fixed at export, bounds it.
            exclude_ids: entities that must not come back.
            query: what the user typed, if anything.
            user_attributes: tokens `key=value`.
            request_time: microseconds since the epoch; `None` is now, 0 unknown.
            timeout: seconds, in place of the client's.

        Raises:
            ServingError: the call failed.
            ValueError: the arguments cannot be sent.
        """
        request = Request(history, exclude_ids, query, user_attributes, request_time)
        return self.recommend_batch([request], k, timeout=timeout)[0]

    def recommend_batch(
        self, requests: Sequence[Request], k: int = 10, *, timeout: float | None = None
    ) -> list[Recommendation]:
        """Returns the best entities for each of many users, in their order.

        Args:
            requests: one for each user; more than `max_rows` go as several calls.
            k: how many for each.
            timeout: seconds for each call.

        Raises:
            ServingError: a call failed.
            ValueError: the arguments cannot be sent.
        """
        check_k(k)
        answers: list[Recommendation] = []
        for chunk in self._chunks(requests):
            target, message = self._recommend_message(chunk)
            prediction = self._predict(target, message, timeout)
            answers += parse_recommendations(prediction, "ids", len(chunk), k, target)
        return answers

    def recommend_examples(
        self, examples: Sequence[bytes], k: int = 10, *, timeout: float | None = None
    ) -> list[Recommendation]:
        """Returns the best entities for each of many serialised timelines.

        Args:
            examples: serialised `tf.Example`s, as the example generator writes them.
            k: how many for each.
            timeout: seconds for each call.

        Raises:
            ServingError: a call failed.
        """
        check_k(k)
        answers: list[Recommendation] = []
        for chunk in self._chunks(examples):
            target, message = self._examples_message(chunk)
            prediction = self._predict(target, message, timeout)
            answers += parse_recommendations(prediction, "classes", len(chunk), k, target)
        return answers

    def predict(
        self,
        signature: str,
        inputs: Mapping[str, npt.ArrayLike],
        *,
        output_filter: Sequence[str] = (),
        timeout: float | None = None,
    ) -> Prediction:
        """Calls any signature.

        Args:
            signature: its name, e.g. `embed_query`.
            inputs: an array (or nested lists) for each input.
            output_filter: names of the outputs to return; all by default.
            timeout: seconds, in place of the client's.

        Raises:
            ServingError: the call failed.
            ValueError: an input cannot be sent.
        """
        target = self._target.of(signature)
        return self._predict(target, predict_request(target, inputs, output_filter), timeout)

    def model_status(self, *, timeout: float | None = None) -> list[VersionStatus]:
        """Returns the state of the model's versions, newest first.

        Raises:
            ServingError: the call failed.
        """
        target, message = self._status_message()
        return parse_status(self._call("GetModelStatus", target, message, timeout))

    def metadata(self, *, timeout: float | None = None) -> ModelMetadata:
        """Returns the signatures of the model, with types and shapes.

        Raises:
            ServingError: the call failed.
        """
        target, message = self._metadata_message()
        return parse_metadata(self._call("GetModelMetadata", target, message, timeout))

    def close(self) -> None:
        """Closes the channel; calls under way fail."""
        self._channel.close()

    def __enter__(self) -> RecommenderClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _predict(self, target: Target, message: Any, timeout: float | None) -> Prediction:
        return parse_prediction(self._call("Predict", target, message, timeout), target)

    def _call(self, method: str, target: Target, request: Any, timeout: float | None) -> Any:
        message = self._serialise(request, target)
        attempts = Attempts(self._retry, timeout or self._timeout, target)
        while True:
            try:
                return self._methods[method](message, timeout=attempts.remaining())
            except grpc.RpcError as error:
                failure = from_rpc_error(error, target)
                delay = attempts.next_delay(failure)
                if delay is None:
                    raise failure from error
            time.sleep(delay)
