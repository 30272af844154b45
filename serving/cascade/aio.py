"""The asynchronous cascade: the same calls, awaited."""

from __future__ import annotations

from collections.abc import Sequence

from serving.cascade.answer import CascadeAnswer
from serving.cascade.answer import join
from serving.cascade.base import CascadeBase
from serving.client.aio import AsyncRecommenderClient
from serving.client.errors import ArgumentError
from serving.client.errors import ServingError
from serving.client.retry import Deadline
from serving.client.types import Event
from serving.client.types import Ranking
from serving.client.types import Request


class AsyncCascade(CascadeBase[AsyncRecommenderClient]):
    """Fetches items from a retrieval model and lets a ranker put them in order, on an event loop.

    When the ranker fails, is late or is not there, the retrieval's order is answered, and
    the answer says why. `CascadeBase` lists the settings.
    """

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
    ) -> CascadeAnswer:
        """Returns the best items for one user.

        Args:
            history: what the user did, oldest first; may be empty.
            k: how many.
            exclude_ids: entities that must not come back.
            query: what the user typed, if anything.
            user_attributes: tokens `key=value`.
            request_time: microseconds since the epoch; `None` is now, 0 unknown.
            timeout: seconds for both calls together, in place of the cascade's.

        Raises:
            ServingError: the retrieval failed.
            ArgumentError: the request cannot be sent to either.
        """
        request = Request(history, exclude_ids, query, user_attributes, request_time)
        return (await self.recommend_batch([request], k, timeout=timeout))[0]

    async def recommend_batch(
        self, requests: Sequence[Request], k: int = 10, *, timeout: float | None = None
    ) -> list[CascadeAnswer]:
        """Returns the best items for each of many users, in their order.

        Args:
            requests: one for each user; more than the clients' `max_rows` go as several
                cascades, each of which falls back by itself.
            k: how many for each.
            timeout: seconds for both calls of each cascade.

        Raises:
            ServingError: a retrieval failed.
            ArgumentError: a request cannot be sent to either.
        """
        answers: list[CascadeAnswer] = []
        seconds = self._seconds(timeout)
        for part, fetch in self._parts(requests, k):
            deadline = Deadline(seconds)
            fetched = await self._retriever.recommend_batch(part, fetch, timeout=seconds)
            rankings: list[Ranking] = []
            failure: ServingError | None = None
            try:
                if asked := self._rank_requests(part, fetched):
                    left = deadline.remaining(self._ranker.target.of("rank"))
                    rankings = await self._ranker.rank_batch(asked, timeout=left)
            except ArgumentError:
                raise
            except ServingError as error:
                failure = error
            answers += join(fetched, rankings, failure, k, self._retrieval_weight)
        return answers
