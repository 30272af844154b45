"""Judges what a retrieval servable answered."""

from __future__ import annotations

import json
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from serving.client import InvalidAnswerError
from serving.client import Recommendation
from serving.client import Request
from serving.index.config import EVERY
from serving.publishing.servable_file import SERVABLE
from tfx_pipeline.components.serving_validator.checks import NOTHING
from tfx_pipeline.components.serving_validator.checks import Check
from tfx_pipeline.components.serving_validator.checks import latency
from tfx_pipeline.components.serving_validator.checks import listed
from tfx_pipeline.components.serving_validator.checks import near
from tfx_pipeline.components.serving_validator.config import RetrievalServingValidationConfig
from tfx_pipeline.components.serving_validator.retrieval import reference
from tfx_pipeline.components.serving_validator.retrieval.agreement import differences
from tfx_pipeline.components.serving_validator.retrieval.ask import RetrievalAnswers
from tfx_pipeline.components.serving_validator.retrieval.joined import JoinedExactSearch
from tfx_pipeline.components.serving_validator.retrieval.requests import request_of


def judge(
    servable: Path,
    towers: Path,
    timelines: Sequence[bytes],
    answers: RetrievalAnswers,
    config: RetrievalServingValidationConfig,
) -> list[Check]:
    """Compares answers with what they should be.

    Args:
        servable: The release candidate.
        towers: The Trainer's towers, which it was made of.
        timelines: What the requests were made of.
        answers: What came back.
        config: Bounds.

    Raises:
        ReleaseCandidateError: The release candidate cannot be loaded in this process.
        FileNotFoundError: There are no towers.
    """
    model = reference.Reference(servable)
    requests = [request_of(timeline) for timeline in timelines]
    asked = [*requests, *answers.excluding]
    received = [*answers.recommended, *answers.excluded]
    return [
        _valid(answers),
        _same("recommend", lambda: model.recommend(asked), received, answers, config.tolerance),
        _same(
            "serving_default",
            lambda: model.recommend_examples(timelines),
            answers.examples,
            answers,
            config.tolerance,
        ),
        *_towers(servable, towers, requests, answers, config),
        _excluded(answers),
        _seen(requests, answers, config.exclude_seen),
        latency(answers.milliseconds, config.latency_p99_ms),
    ]


def _valid(answers: RetrievalAnswers) -> Check:
    """Of the two retrieval signatures; the client refuses an answer that is not finite."""
    faults = []
    for name, given in (("recommend", answers.recommended), ("serving_default", answers.examples)):
        if name in answers.faults:
            faults.append(f"`{name}`: {answers.faults[name]}")
        elif not any(answer.ids for answer in given):
            faults.append(f"`{name}`: recommends nothing to anybody")
    count = len(answers.recommended) + len(answers.excluded) + len(answers.examples)
    return Check(
        "answers",
        not faults,
        "ids with finite scores in every answer",
        listed(faults, f"{count} such answers"),
    )


def _same(
    name: str,
    expected: Callable[[], list[Recommendation]],
    received: Sequence[Recommendation],
    answers: RetrievalAnswers,
    tolerance: float,
) -> Check:
    wanted = "what this signature answers without a server, up to ties"
    if name in answers.faults:
        return Check(name, None, wanted, NOTHING)
    try:
        found = differences(expected(), received, tolerance)
    except InvalidAnswerError as error:
        found = [f"without a server {error.details}"]
    return Check(name, not found, wanted, listed(found, f"{len(received)} equal answers"))


def _towers(
    servable: Path,
    towers: Path,
    requests: Sequence[Request],
    answers: RetrievalAnswers,
    config: RetrievalServingValidationConfig,
) -> list[Check]:
    """Compares with the Trainer's towers: it may agree with itself and be wrong."""
    queries = reference.embed(towers, requests)
    expected = queries["embedding"]
    wanted = "the embeddings of the Trainer's towers"
    found = answers.embeddings
    if found is None or found.shape != expected.shape:
        shape = "no output `embedding`" if found is None else f"the shape {list(found.shape)}"
        what = answers.faults.get("embed_query", shape)
        embedded = Check("embed_query", False, f"{wanted}: {list(expected.shape)}", what)
    else:
        apart = ~near(expected, found, config.tolerance).reshape(len(expected), -1).all(axis=1)
        worst = float(np.abs(found - expected).max())
        received = f"{int(apart.sum())} of {len(expected)} others, at most {worst:.3g} apart"
        embedded = Check("embed_query", not apart.any(), wanted, received)
    return [
        embedded,
        *_against_exact_search(servable, queries, requests, answers, config),
    ]


def _against_exact_search(
    servable: Path,
    queries: Mapping[str, npt.NDArray[np.float32]],
    requests: Sequence[Request],
    answers: RetrievalAnswers,
    config: RetrievalServingValidationConfig,
) -> list[Check]:
    scored = "the Trainer's query embedding times the index's vector, of every item"
    best = f"at least {config.min_recall:g} of the best by exact search with the Trainer's towers"
    joined = joins(servable)
    if joined:
        scored = f"{scored}, with its other sources and as they are combined"
        best = f"{best}, among all sources"
    if "recommend" in answers.faults:
        return [Check("scores", None, scored, NOTHING), Check("recall", None, best, NOTHING)]
    search = (
        JoinedExactSearch(servable, queries, requests)
        if joined
        else reference.ExactSearch(servable, queries)
    )
    found = []
    expected = search.score(answers.recommended)
    for number, (scores, answer) in enumerate(zip(expected, answers.recommended, strict=True), 1):
        for rank in np.flatnonzero(~near(scores, answer.scores, config.tolerance))[:1]:
            found.append(
                f"request {number} has `{answer.ids[rank]}` with {answer.scores[rank]:.6g} in "
                f"place of {scores[rank]:.6g}"
            )
    hidden = [_seen_by(one, config.exclude_seen) | set(one.exclude_ids) for one in requests]
    recall = search.recall(hidden, answers.recommended)
    return [
        Check("scores", not found, scored, listed(found, "such scores")),
        Check("recall", recall >= config.min_recall, best, f"{recall:.4f}"),
    ]


def joins(servable: Path) -> bool:
    """Says whether a servable has more sources than its tower."""
    description = json.loads((servable / SERVABLE).read_text(encoding="utf-8"))
    return len(description.get("sources", ())) > 1


def _excluded(answers: RetrievalAnswers) -> Check:
    wanted = "none of the items that a request excludes"
    if "recommend" in answers.faults:
        return Check("excluded", None, wanted, NOTHING)
    found = _leaked((set(one.exclude_ids) for one in answers.excluding), answers.excluded)
    return Check("excluded", not found, wanted, listed(found, "none"))


def _seen(requests: Sequence[Request], answers: RetrievalAnswers, types: tuple[str, ...]) -> Check:
    if not types:
        return Check("seen", True, "nothing: exclude_seen is empty", "not looked at")
    sets = [_seen_by(one, types) for one in requests]
    wanted = f"none of the items that the history has with {', '.join(types)}"
    given = {"recommend": answers.recommended, "serving_default": answers.examples}
    valid = [name for name in given if name not in answers.faults]
    found = [f"`{name}`: {what}" for name in valid for what in _leaked(sets, given[name])]
    if not valid:
        return Check("seen", None, wanted, NOTHING)
    return Check("seen", not found, wanted, listed(found, "none"))


def _seen_by(request: Request, types: tuple[str, ...]) -> set[str]:
    """Returns the entities of the history's events of these types."""
    return {event.id for event in request.history if EVERY in types or event.event in types}


def _leaked(forbidden: Iterable[set[str]], answers: Sequence[Recommendation]) -> list[str]:
    found = []
    for number, (names, answer) in enumerate(zip(forbidden, answers, strict=True), 1):
        leaked = [name for name in answer.ids if name in names]
        if leaked:
            found.append(f"request {number} has `{leaked[0]}`")
    return found
