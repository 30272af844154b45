"""Requests and answers of the signature `rank`; knows no network."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence
from collections.abc import Sized
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.client.calls import encode
from serving.client.calls import query_inputs
from serving.client.calls import row_lengths
from serving.client.catalogue_rows import finite_floats
from serving.client.catalogue_rows import serialise_row
from serving.client.errors import InvalidAnswerError
from serving.client.errors import Target
from serving.client.tensors import pad
from serving.client.types import Candidate
from serving.client.types import Prediction
from serving.client.types import Ranking
from serving.client.types import RankRequest
from serving.client.types import Request

SCORES = "scores"


def rank_inputs(requests: Sequence[RankRequest]) -> dict[str, npt.NDArray[Any]]:
    """Lays requests out as the inputs of the signature `rank`.

    Args:
        requests: B requests.

    Returns:
        Those of `query_inputs`, and `history_values` [B, T] float32, `history_queries` [B, Q]
        bytes and `history_query_index` [B, T] int32 (see `number_queries`), `candidate_ids` and
        `candidate_rows` [B, C] bytes, `candidate_length` [B] int64. C is at least 1; a
        candidate without features has an empty row.

    Raises:
        ValueError: a candidate is no id and no `Candidate`, or has features that cannot
            be sent; or as `recommend_inputs`.
    """
    for request in requests:
        if not isinstance(request, RankRequest):
            raise ValueError(f"Expected `RankRequest`s. Received: {request!r}.")
    inputs = query_inputs(
        [Request(r.history, (), r.query, r.user_attributes, r.request_time) for r in requests]
    )
    values = [event.value for request in requests for event in request.history]
    queries, index = number_queries(encode([e.query for e in r.history]) for r in requests)
    lists = [_candidates(request) for request in requests]
    lengths = row_lengths(lists)
    flat = list(chain.from_iterable(lists))
    ids, rows = [c.id for c in flat], [serialise_row(*c) for c in flat]
    return inputs | {
        "history_values": pad(
            finite_floats(values, "value"), inputs["history_length"], 0.0, np.float32
        ),
        "history_queries": pad(
            list(chain.from_iterable(queries)), row_lengths(queries), b"", object
        ),
        "history_query_index": pad(
            list(chain.from_iterable(index)), inputs["history_length"], 0, np.int32
        ),
        "candidate_ids": pad(encode(ids), lengths, b"", object),
        "candidate_length": lengths,
        "candidate_rows": pad(rows, lengths, b"", object),
    }


def number_queries(
    histories: Iterable[Iterable[bytes]],
) -> tuple[list[list[bytes]], list[list[int]]]:
    """Numbers the distinct queries of histories, so that each is sent once.

    Args:
        histories: the query of each event, empty where none led to it.

    Returns:
        The distinct queries of each history, the empty one first, and of each event the position
        of its query among them.
    """
    distinct, index = [], []
    for history in histories:
        place = {b"": 0}
        index.append([place.setdefault(query, len(place)) for query in history])
        distinct.append(list(place))
    return distinct, index


def parse_rankings(
    prediction: Prediction, requests: Sequence[RankRequest], target: Target
) -> list[Ranking]:
    """Reads the outputs of `rank`: `scores` and those of further heads, each [B, W] numbers.

    W may be more than the candidates that were sent: servers pad requests that they merge.

    Args:
        prediction: its outputs.
        requests: the B requests, as they were sent.
        target: what was called.

    Raises:
        InvalidAnswerError: `scores` is missing, an output has another type or shape, or a
            candidate has a score that is not finite.
    """
    ids = [[candidate.id for candidate in _candidates(request)] for request in requests]
    width = max(map(len, ids), default=0)
    outputs = dict(prediction.outputs)
    for name in {SCORES, *outputs}:
        _check(name, outputs.get(name), len(ids), width, target)
    scores = {name: values.astype(np.float32) for name, values in outputs.items()}  # [B, W]
    return [_ranking(row, number, scores, prediction, target) for number, row in enumerate(ids)]


def _ranking(
    ids: list[str],
    number: int,
    scores: dict[str, npt.NDArray[np.float32]],
    prediction: Prediction,
    target: Target,
) -> Ranking:
    mine = {name: values[number, : len(ids)] for name, values in scores.items()}  # [C]
    for name, values in mine.items():
        if not np.isfinite(values).all():
            raise InvalidAnswerError(
                target, "DATA_LOSS", f"a candidate came back with NaN or inf in `{name}`"
            )
    order = np.argsort(-mine[SCORES], kind="stable")
    best_first = {name: values[order] for name, values in mine.items()}
    return Ranking(
        tuple(ids[position] for position in order),
        best_first.pop(SCORES),
        best_first,
        prediction.model,
        prediction.version,
    )


def _check(
    name: str, values: npt.NDArray[Any] | None, rows: int, width: int, target: Target
) -> None:
    """Raises `InvalidAnswerError` for an output that is not numbers [rows, width or more]."""
    if (
        values is None
        or values.dtype.kind not in "fiu"
        or values.ndim != 2
        or len(values) != rows
        or values.shape[1] < width
    ):
        received = "none" if values is None else f"{values.dtype} {list(values.shape)}"
        raise InvalidAnswerError(
            target,
            "DATA_LOSS",
            f"expected an output `{name}` of numbers [{rows}, {width} or more], "
            f"received {received}",
        )


def _candidates(request: RankRequest) -> list[Candidate]:
    if isinstance(request.candidates, str) or not isinstance(request.candidates, Sized):
        raise ValueError(  # a generator would be empty when the answer is read
            f"Expected a sequence of `candidates`. Received: {type(request.candidates).__name__}."
        )
    return [_candidate(given) for given in request.candidates]


def _candidate(given: Any) -> Candidate:
    if isinstance(given, str):
        given = Candidate(given)
    elif isinstance(given, tuple) and len(given) == 2:
        given = Candidate(*given)
    if not isinstance(given, Candidate) or not isinstance(given.id, str) or not given.id:
        raise ValueError(
            "Expected candidates as ids `type:id` or as `Candidate(id, row)`. Received: "
            f"{given!r} among them."
        )
    return given
