"""Asks a retrieval servable through a server; judges nothing."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from serving.client import Recommendation
from serving.client import RecommenderClient
from serving.client import Request
from serving.client import query_inputs
from tfx_pipeline.components.serving_validator.answers import Answers
from tfx_pipeline.components.serving_validator.retrieval.requests import request_of

ALL = sys.maxsize  # results of a request: as many as the servable returns
Row = TypeVar("Row")
_EXCLUDED = 5  # of the best items, that are asked to be left out


@dataclass
class RetrievalAnswers(Answers):
    """Answers of a retrieval servable.

    Attributes:
        recommended: To each request, one at a time.
        examples: To each serialised timeline, from `serving_default`.
        excluding: The requests again, each without the best of its first answer.
        excluded: To those.
        embeddings: [B, d] or [B, K, d] float32, from `embed_query`.

    The others are as `Answers` says.
    """

    recommended: list[Recommendation] = field(default_factory=list)
    examples: list[Recommendation] = field(default_factory=list)
    excluding: list[Request] = field(default_factory=list)
    excluded: list[Recommendation] = field(default_factory=list)
    embeddings: npt.NDArray[np.float32] | None = None


def ask(
    client: RecommenderClient,
    timelines: Sequence[bytes],
    catalogue: Sequence[bytes],
    max_rows: int,
    patient: bool,
) -> RetrievalAnswers:
    """Sends every kind of request.

    Args:
        client: A client of a server that has loaded the release candidate.
        timelines: Serialised raw timelines.
        catalogue: Serialised raw catalogue rows, of which requests hold none.
        max_rows: Rows of one call.
        patient: Whether an answer that does not come in time is no fault of the
            release candidate's.

    Returns:
        The answers; a call that failed for the release candidate's sake is a fault in them.

    Raises:
        ServingError: Nobody answers, the server takes no more requests, or gives
            no answer in time: of that the release candidate is innocent.
    """
    del catalogue
    answers = RetrievalAnswers(patient=patient)
    requests = [request_of(timeline) for timeline in timelines]
    with answers.noting("recommend"):
        for request in requests:
            start = time.perf_counter()
            answers.recommended += client.recommend_batch([request], ALL)
            answers.milliseconds.append(1e3 * (time.perf_counter() - start))
        answers.excluding = [
            dataclasses.replace(request, exclude_ids=answer.ids[:_EXCLUDED])
            for request, answer in zip(requests, answers.recommended, strict=True)
        ]
        # One call for each request, so that each has the whole time.
        answers.excluded = [
            answer
            for part in _parts(answers.excluding, max_rows)
            for answer in client.recommend_batch(part, ALL)
        ]
    with answers.noting("serving_default"):
        answers.examples = [
            answer
            for part in _parts(timelines, max_rows)
            for answer in client.recommend_examples(part, ALL)
        ]
    with answers.noting("embed_query"):
        answers.embeddings = _embed(client, requests, max_rows)
    return answers


def _parts(rows: Sequence[Row], max_rows: int) -> Iterator[Sequence[Row]]:
    """Yields rows in parts of at most `max_rows`."""
    for start in range(0, len(rows), max_rows):
        yield rows[start : start + max_rows]


def _embed(
    client: RecommenderClient, requests: Sequence[Request], max_rows: int
) -> npt.NDArray[np.float32] | None:
    """Returns the embeddings of requests; nothing if there is no such output."""
    parts = []
    for part in _parts(requests, max_rows):
        outputs = client.predict("embed_query", query_inputs(part)).outputs
        if "embedding" not in outputs:
            return None
        parts.append(outputs["embedding"])
    return np.concatenate(parts)
