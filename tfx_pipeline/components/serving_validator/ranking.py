"""Asks a ranker through a server for the scores of page views, and judges what came back."""

from __future__ import annotations

import time
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tensorflow.core.example import example_pb2

from serving.client import HistoryCodes
from serving.client import RecommenderClient
from serving.publishing.requests import dense_inputs
from serving.publishing.requests import values_of
from serving.publishing.servable_file import read_servable
from tfx_pipeline.components.serving_validator.answers import Answers
from tfx_pipeline.components.serving_validator.checks import NOTHING
from tfx_pipeline.components.serving_validator.checks import Check
from tfx_pipeline.components.serving_validator.checks import latency
from tfx_pipeline.components.serving_validator.checks import listed
from tfx_pipeline.components.serving_validator.checks import near_probability
from tfx_pipeline.components.serving_validator.config import ServingValidationConfig
from tfx_pipeline.components.serving_validator.release_candidate import load_here
from tfx_pipeline.components.serving_validator.release_candidate import run_here
from transforms import features as f

Heads = Mapping[str, npt.NDArray[np.float32]]  # scores of each head, [B, C]


@dataclass
class RankingAnswers(Answers):
    """Answers of a ranker.

    Attributes:
        alone: To each page, asked by itself.
        merged: To all pages in calls of many rows.
        coded: The same, with the histories as codes.
        examples: To all pages, from `serving_default`.
        with_rows: To the first page, whose candidates are rows of the catalogue, sent along.
        without_rows: To the same, the rows not sent.

    The others are as `Answers` says.
    """

    alone: list[Heads] = field(default_factory=list)
    merged: list[Heads] = field(default_factory=list)
    coded: list[Heads] = field(default_factory=list)
    examples: list[Heads] = field(default_factory=list)
    with_rows: Heads | None = None
    without_rows: Heads | None = None


def ask(
    client: RecommenderClient,
    pages: Sequence[bytes],
    catalogue: Sequence[bytes],
    max_rows: int,
    patient: bool,
    codes: HistoryCodes | None = None,
) -> RankingAnswers:
    """Sends every kind of request.

    Args:
        client: A client of a server that has loaded the release candidate.
        pages: Serialised raw page examples.
        catalogue: Serialised raw catalogue rows.
        max_rows: Rows of one call.
        patient: Whether an answer that does not come in time is no fault of the
            release candidate's.
        codes: The codes of histories that the release candidate reads, if any.

    Returns:
        The answers; a call that failed for the release candidate's sake is a fault in them.

    Raises:
        ServingError: Nobody answers, the server takes no more requests, or gives
            no answer in time: of that the release candidate is innocent.
    """
    answers = RankingAnswers(patient=patient)
    views = [example_pb2.Example.FromString(page) for page in pages]

    def rank(inputs: Mapping[str, Any]) -> Heads:
        return client.predict("rank", inputs).outputs

    with answers.noting("rank"):
        for view in views:
            inputs = dense_inputs("rank", [view])
            start = time.perf_counter()
            answers.alone.append(rank(inputs))
            answers.milliseconds.append(1e3 * (time.perf_counter() - start))
        for first in range(0, len(views), max_rows):
            answers.merged.append(rank(dense_inputs("rank", views[first : first + max_rows])))
        if catalogue:
            known, rows = _with_candidates(views[0], catalogue)
            answers.without_rows = rank(known)
            answers.with_rows = rank(known | {"candidate_rows": rows})
    with answers.noting("rank_codes"):
        for first in range(0, len(views) if codes else 0, max_rows):
            assert codes
            inputs = codes.encode(dense_inputs("rank", views[first : first + max_rows]))
            answers.coded.append(client.predict("rank_codes", inputs).outputs)
    with answers.noting("serving_default"):
        for first in range(0, len(pages), max_rows):
            part = np.array(pages[first : first + max_rows], object)
            answers.examples.append(client.predict("serving_default", {"examples": part}).outputs)
    return answers


def judge(
    servable: Path,
    model: Path,
    pages: Sequence[bytes],
    answers: RankingAnswers,
    config: ServingValidationConfig,
) -> list[Check]:
    """Compares answers with what `serving_default` answers without a server.

    Args:
        servable: The release candidate.
        model: What the Trainer wrote, which is the release candidate itself.
        pages: What was asked.
        answers: What came back.
        config: Bounds.

    Raises:
        ReleaseCandidateError: The release candidate cannot be loaded in this process.
    """
    del model
    signature = load_here(servable).signatures["serving_default"]
    expected = [run_here(signature, {"examples": np.array([page], object)}) for page in pages]
    lengths = [_length(page) for page in pages]
    given = {
        "rank": ("rank", answers.alone, "for each page by itself"),
        "merged": ("rank", answers.merged, "for many pages in one call"),
        "serving_default": ("serving_default", answers.examples, "for serialised pages"),
    }
    if "rank_codes" in read_servable(servable).signatures:
        given["rank_codes"] = ("rank_codes", answers.coded, "for histories as codes")
    checks = []
    for name, (call, received, how) in given.items():
        wanted = f"the scores that `serving_default` gives without a server, {how}"
        if call in answers.faults:
            checks.append(Check(name, None, wanted, NOTHING))
            continue
        found = _differences(expected, _by_page(received), lengths, config.tolerance)
        checks.append(Check(name, not found, wanted, listed(found, f"{len(pages)} equal answers")))
    return [
        _valid(answers, lengths),
        *checks,
        _rows(answers, config.tolerance),
        latency(answers.milliseconds, config.latency_p99_ms),
    ]


def _valid(answers: RankingAnswers, lengths: Sequence[int]) -> Check:
    """Probabilities, one for each candidate."""
    faults = [f"`{name}`: {answers.faults[name]}" for name in answers.faults if name != "warm_up"]
    for number, (page, length) in enumerate(zip(answers.alone, lengths, strict=False), 1):
        for head, scores in page.items():
            kept = scores[0, :length]
            if len(kept) < length or not ((kept >= 0) & (kept <= 1)).all():
                faults.append(f"page {number} has the {head} {kept[:3]} for {length} candidates")
    wanted = "a probability for every candidate"
    return Check("answers", not faults, wanted, listed(faults, f"{len(answers.alone)} such pages"))


def _rows(answers: RankingAnswers, tolerance: float) -> Check:
    """A row of the catalogue says nothing new of an item that the export knows."""
    wanted = "the same scores of items whose catalogue rows are sent along"
    if answers.with_rows is None or answers.without_rows is None:
        return Check("candidate_rows", None if "rank" in answers.faults else True, wanted, NOTHING)
    expected, received = answers.without_rows, answers.with_rows
    length = expected["scores"].shape[1]
    found = _differences([expected], [received], [length], tolerance)
    return Check("candidate_rows", not found, wanted, listed(found, f"{length} equal scores"))


def _differences(
    expected: Sequence[Heads], received: Sequence[Heads], lengths: Sequence[int], tolerance: float
) -> list[str]:
    """Returns where scores differ, with the number of the page.

    Args:
        expected: Of each page, [1, C] by head.
        received: Of each page, [1, C'] by head; beyond the page's candidates nothing counts.
        lengths: Candidates of each page.
        tolerance: See `near_probability`.
    """
    found = []
    pages = zip(expected, received, lengths, strict=True)
    for number, (wanted, got, length) in enumerate(pages, 1):
        if wanted.keys() != got.keys():
            found.append(f"page {number} has {sorted(got)} in place of {sorted(wanted)}")
            continue
        for head in wanted:
            one, other = wanted[head][0, :length], got[head][0, :length]
            if one.shape != other.shape:
                found.append(f"page {number} has {other.size} scores in place of {one.size}")
            elif not (apart := near_probability(one, other, tolerance)).all():
                at = int(np.argmin(apart))
                what = f"{other[at]:.6g} in place of {one[at]:.6g}"
                found.append(f"page {number} has {what} as {head} of its candidate {at + 1}")
    return found


def _by_page(batches: Sequence[Heads]) -> list[Heads]:
    """Divides answers of many rows."""
    return [
        {head: scores[row : row + 1] for head, scores in batch.items()}
        for batch in batches
        for row in range(len(batch["scores"]))
    ]


def _with_candidates(
    view: example_pb2.Example, catalogue: Sequence[bytes]
) -> tuple[dict[str, Any], npt.NDArray[Any]]:
    """Returns the request of a page that shows items of the catalogue in place of its own.

    Returns:
        The inputs of `rank` without rows, and the rows [1, C].
    """
    items = [example_pb2.Example.FromString(row) for row in catalogue]
    ids = [values_of(item, f.CATALOGUE_ENTITY)[0] for item in items]
    rows = [item.SerializeToString(deterministic=True) for item in items]
    known = dense_inputs("rank", [view]) | {
        "candidate_ids": np.array([ids], object),
        "candidate_length": np.array([len(ids)], np.int64),
        "candidate_rows": np.full((1, len(ids)), b"", object),
    }
    return known, np.array([rows], object)


def _length(page: bytes) -> int:
    return len(values_of(example_pb2.Example.FromString(page), f.CANDIDATE_ENTITY))
