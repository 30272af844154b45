"""The asynchronous client: the same calls, awaited."""

from __future__ import annotations

import asyncio
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


class AsyncRecommenderClient(ClientBase):
    """Asks TF Serving, or the local server, for recommendations, on an event loop.

    One client keeps one channel: make it once inside the loop that uses it, close
    it at the end (or use it with `async with`). Calls may run side by side.
    `ClientBase` lists the settings. Every call raises a `ServingError` (see
    `serving.client.errors`) that names the server, the model, its version or
    label and the signature.
    """

    def _open_channel(self) -> Any:
        address = self._target.address
        if self._tls is None:
            return grpc.aio.insecure_channel(address, self._options)
        return grpc.aio.secure_channel(address, self._tls.credentials(), self._options)

    async def recommend(
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
        return (await self.recommend_batch([request], k, timeout=timeout))[0]

    async def recommend_batch(
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
            prediction = await self._predict(target, message, timeout)
            answers += parse_recommendations(prediction, "ids", len(chunk), k, target)
        return answers

    async def recommend_examples(
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
            prediction = await self._predict(target, message, timeout)
            answers += parse_recommendations(prediction, "classes", len(chunk), k, target)
        return answers

    async def predict(
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
        return await self._predict(target, predict_request(target, inputs, output_filter), timeout)

    async def model_status(self, *, timeout: float | None = None) -> list[VersionStatus]:
        """Returns the state of the model's versions, newest first.

        Raises:
            ServingError: the call failed.
        """
        target, message = self._status_message()
        return parse_status(await self._call("GetModelStatus", target, message, timeout))

    async def metadata(self, *, timeout: float | None = None) -> ModelMetadata:
        """Returns the signatures of the model, with types and shapes.

        Raises:
            ServingError: the call failed.
        """
        target, message = self._metadata_message()
        return parse_metadata(await self._call("GetModelMetadata", target, message, timeout))

    async def close(self) -> None:
        """Closes the channel; calls under way fail."""
        await self._channel.close()

    async def __aenter__(self) -> AsyncRecommenderClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _predict(self, target: Target, message: Any, timeout: float | None) -> Prediction:
        return parse_prediction(await self._call("Predict", target, message, timeout), target)

    async def _call(self, method: str, target: Target, request: Any, timeout: float | None) -> Any:
        message = self._serialise(request, target)
        attempts = Attempts(self._retry, timeout or self._timeout, target)
        while True:
            try:
                return await self._methods[method](message, timeout=attempts.remaining())
            except grpc.RpcError as error:
                failure = from_rpc_error(error, target)
                delay = attempts.next_delay(failure)
                if delay is None:
                    raise failure from error
            await asyncio.sleep(delay)
