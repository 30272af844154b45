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
from serving.client.base import Plan
from serving.client.base import Step
from serving.client.base import T
from serving.client.errors import InvalidRequestError
from serving.client.errors import ServingError
from serving.client.errors import from_rpc_error
from serving.client.retry import Attempts
from serving.client.retry import Deadline
from serving.client.types import Candidate
from serving.client.types import Event
from serving.client.types import ModelMetadata
from serving.client.types import Prediction
from serving.client.types import Ranking
from serving.client.types import RankRequest
from serving.client.types import Recommendation
from serving.client.types import Request
from serving.client.types import VersionStatus


class AsyncRecommenderClient(ClientBase):
    """Asks TF Serving, or the local server, for recommendations, on an event loop.

    One client keeps one channel: make it once inside the loop that uses it, close
    it at the end (or use it with `async with`). Calls may run side by side.
    `ClientBase` lists the settings. Whatever goes wrong is a `ServingError` (see
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
            ServingError: the call failed, or could not be made.
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
            timeout: seconds for all of them together.

        Raises:
            ServingError: a call failed, or could not be made.
        """
        return await self._run(self._recommend(requests, k), timeout)

    async def recommend_each(
        self, requests: Sequence[Request], k: int = 10, *, timeout: float | None = None
    ) -> list[Recommendation | InvalidRequestError]:
        """Returns a recommendation for each user, or what is wrong with that one's request.

        As `recommend_batch`; where the server refuses a batch, or a row cannot be
        sent, its rows go one by one, so that a bad one costs the others nothing.

        Args:
            requests: one for each user.
            k: how many for each.
            timeout: seconds for all of them together.

        Returns:
            In the order of the requests; an `InvalidRequestError` in place of the
            recommendations of a row that is refused alone, too.

        Raises:
            ServingError: a call failed for another reason.
        """
        return await self._run(self._recommend(requests, k, singly=True), timeout)

    async def recommend_examples(
        self, examples: Sequence[bytes], k: int = 10, *, timeout: float | None = None
    ) -> list[Recommendation]:
        """Returns the best entities for each of many serialised timelines.

        Args:
            examples: serialised `tf.Example`s, as the example generator writes them.
            k: how many for each.
            timeout: seconds for all of them together.

        Raises:
            ServingError: a call failed.
        """
        return await self._run(self._recommend_examples(examples, k), timeout)

    async def recommend_each_example(
        self, examples: Sequence[bytes], k: int = 10, *, timeout: float | None = None
    ) -> list[Recommendation | InvalidRequestError]:
        """Returns a recommendation for each timeline, or what is wrong with that one.

        As `recommend_examples`, one by one where a batch is refused.

        Args:
            examples: serialised `tf.Example`s, as the example generator writes them.
            k: how many for each.
            timeout: seconds for all of them together.

        Returns:
            In the order of the examples; an `InvalidRequestError` in place of the
            recommendations of one that is refused alone, too.

        Raises:
            ServingError: a call failed for another reason.
        """
        return await self._run(self._recommend_examples(examples, k, singly=True), timeout)

    async def rank(
        self,
        history: Sequence[Event],
        candidates: Sequence[str | Candidate],
        *,
        query: str = "",
        user_attributes: Sequence[str] = (),
        request_time: int | None = None,
        timeout: float | None = None,
    ) -> Ranking:
        """Scores candidates for one user; the model is a ranker.

        Args:
            history: what the user did, oldest first; may be empty.
            candidates: items by id, or as `Candidate(id, row)` where the item is newer
                than the ranker's export.
            query: what the user typed, if anything.
            user_attributes: tokens `key=value`.
            request_time: microseconds since the epoch; `None` is now, 0 unknown.
            timeout: seconds, in place of the client's.

        Raises:
            ServingError: the call failed, or could not be made.
        """
        request = RankRequest(history, candidates, query, user_attributes, request_time)
        return (await self.rank_batch([request], timeout=timeout))[0]

    async def rank_batch(
        self, requests: Sequence[RankRequest], *, timeout: float | None = None
    ) -> list[Ranking]:
        """Scores the candidates of each of many users, in their order.

        Args:
            requests: one for each user, with as many candidates as it has; more than
                `max_rows` go as several calls.
            timeout: seconds for all of them together.

        Raises:
            ServingError: a call failed, or could not be made.
        """
        return await self._run(self._rank(requests), timeout)

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
            ServingError: the call failed, or could not be made.
        """
        return await self._run(self._predict(signature, inputs, output_filter), timeout)

    async def model_status(self, *, timeout: float | None = None) -> list[VersionStatus]:
        """Returns the state of the model's versions, newest first.

        With a version or a label, that version's only; a label of a version that
        is not served yet is not found.

        Raises:
            ServingError: the call failed.
        """
        return await self._run(self._status(), timeout)

    async def metadata(self, *, timeout: float | None = None) -> ModelMetadata:
        """Returns the signatures of the model, with types and shapes.

        Raises:
            ServingError: the call failed.
        """
        return await self._run(self._metadata(), timeout)

    async def close(self) -> None:
        """Closes the channel; calls under way fail with `ClosedError`."""
        self._closed = True
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

    async def _run(self, plan: Plan[T], timeout: float | None) -> T:
        deadline = Deadline(self.seconds(timeout))
        try:
            step = next(plan)
            while True:
                try:
                    answer = await self._call(step, deadline)
                except ServingError as error:
                    step = plan.throw(error)
                else:
                    step = plan.send(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result

    async def _call(self, step: Step, deadline: Deadline) -> Any:
        target, message = step.target, self._serialise(step)
        attempts = Attempts(self._retry, deadline, target)
        while True:
            try:
                return self._parse(step, await self._send(step, message, attempts.remaining()))
            except grpc.RpcError as error:
                failure = from_rpc_error(error, target)
                delay = attempts.next_delay(failure)
                if delay is None:
                    raise failure from error
            await asyncio.sleep(delay)

    async def _send(self, step: Step, message: bytes, seconds: float) -> bytes:
        async def send() -> bytes:
            answer: bytes = await self._methods[step.method](message, timeout=seconds)
            return answer

        sent = asyncio.ensure_future(send())
        try:
            return await asyncio.shield(sent)
        except asyncio.CancelledError:
            if sent.cancelled():  # by closing the channel, and not by whoever waits here
                raise self._closed_error(step.target, "the channel was closed") from None
            sent.cancel()
            raise
        except (grpc.aio.UsageError, RuntimeError) as error:  # closed channel or event loop
            raise self._closed_error(step.target, error) from error
        except KeyError as error:
            details = f"the server ended the call with status {error}, which gRPC does not know"
            raise ServingError(step.target, "UNKNOWN", details) from error
