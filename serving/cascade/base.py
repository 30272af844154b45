"""Base of the synchronous and the asynchronous cascade."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Generic
from typing import TypeVar

from serving.client.base import ClientBase
from serving.client.base import check_count
from serving.client.errors import arguments
from serving.client.types import Candidate
from serving.client.types import CatalogueRow
from serving.client.types import RankRequest
from serving.client.types import Recommendation
from serving.client.types import Request

ClientT = TypeVar("ClientT", bound=ClientBase)


class CascadeBase(Generic[ClientT]):
    """Settings of a cascade.

    Each client says server, model, version or label, TLS and retries of its stage. The
    cascade does not close them.

    Args:
        retriever: client of the retrieval model.
        ranker: client of the ranker.
        fetch: how many items to fetch and rank.
        retrieval_weight: w, how much the retrieval's score counts in the order of items:
            log(p / (1 - p)) + w * retrieval score, with p the ranker's probability. 0 leaves
            the order to the ranker.
        timeout: seconds for both calls together, retries included; by default the
            retriever's.
        rows: catalogue rows of items that are newer than the ranker's export, by id.

    Raises:
        ArgumentError: `fetch` is no whole number above 0, `retrieval_weight` is negative or not
            finite, or `timeout` cannot be waited for.
    """

    def __init__(
        self,
        retriever: ClientT,
        ranker: ClientT,
        *,
        fetch: int = 100,
        retrieval_weight: float = 0.0,
        timeout: float | None = None,
        rows: Mapping[str, CatalogueRow | bytes] | None = None,
    ) -> None:
        self._retriever = retriever
        self._ranker = ranker
        self._timeout = timeout
        self._rows = rows or {}
        with arguments(retriever.target):
            self._fetch = check_count(fetch, "fetch")
            self._retrieval_weight = _check_weight(retrieval_weight)
        if timeout is not None:
            retriever.seconds(timeout)

    def _parts(self, requests: Sequence[Request], k: int) -> Iterator[tuple[list[Request], int]]:
        """Cuts requests into parts that fit one message of either stage, and sets their time.

        Yields:
            Requests, and how many items to fetch for each.
        """
        with arguments(self._retriever.target):
            fetch = max(check_count(k, "k"), self._fetch)
            now = time.time_ns() // 1000  # of both stages
            waiting = [
                dataclasses.replace(request, request_time=now)
                if isinstance(request, Request) and request.request_time is None
                else request
                for request in requests
            ]
        while waiting:
            size = min(self._retriever.max_rows, self._ranker.max_rows)
            part, waiting = waiting[:size], waiting[size:]
            yield part, fetch

    def _seconds(self, timeout: float | None) -> float:
        return self._retriever.seconds(self._timeout if timeout is None else timeout)

    def _rank_requests(
        self, requests: Sequence[Request], fetched: Sequence[Recommendation]
    ) -> list[RankRequest]:
        """Returns the requests for the ranker; none where nothing was fetched."""
        if not any(fetched):
            return []
        return [
            RankRequest(
                request.history,
                [Candidate(name, self._rows.get(name)) for name in found.ids],
                request.query,
                request.user_attributes,
                request.request_time,
            )
            for request, found in zip(requests, fetched, strict=True)
        ]


def _check_weight(weight: float) -> float:
    if not (math.isfinite(weight) and weight >= 0.0):
        raise ValueError(f"`retrieval_weight` should be 0 or a positive number, received {weight}")
    return weight
