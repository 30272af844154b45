"""Whether the probabilities of a ranker come true, over test pages."""

from __future__ import annotations

import numpy as np
from tensorflow.core.example import example_pb2

from serving.index.embedding.records import read_batches
from serving.index.embedding.records import split_files
from serving.publishing.requests import values_of
from tfx_pipeline.components.serving_validator.release_candidate import ReleaseCandidateError
from tfx_pipeline.components.serving_validator.release_candidate import load_here
from tfx_pipeline.components.serving_validator.release_candidate import run_here
from tfx_pipeline.report.facts import GENERATOR
from tfx_pipeline.report.gather import Missing
from tfx_pipeline.report.samples import SERVABLES
from tfx_pipeline.report.samples import servable_of
from tfx_pipeline.runners.recorded import RecordedRun
from tfx_pipeline.stages.table import STAGES
from transforms import features as f

_PAGES = 2_000  # that are asked about
_BATCH = 64
_BINS = 10


def gather_reliability(run: RecordedRun) -> list[dict[str, float]] | Missing:
    """Compares predicted with observed shares of clicks, over test pages.

    Returns:
        A row for each tenth of the candidates by predicted probability: `predicted` and
        `observed` means and `candidates`.
    """
    place = servable_of(run, "ranking")
    examples = run.output(GENERATOR, "examples")
    if place is None:
        return Missing(run.why_missing(*SERVABLES["ranking"]))
    if examples is None:
        return Missing(run.why_missing(GENERATOR, "examples"))
    try:
        files = split_files(examples / f"Split-{STAGES['ranking'].test_split}")
        signature = load_here(place).signatures["serving_default"]
    except (OSError, ReleaseCandidateError) as error:
        return Missing(f"The ranker cannot be asked: {error}")
    scores, labels = [], []
    for batch in read_batches(files, _BATCH, _PAGES):
        found = run_here(signature, {"examples": batch})["scores"]
        for raw, row in zip(batch, found, strict=True):
            label = values_of(example_pb2.Example.FromString(raw), f.LABEL_EVENTS)
            labels += [value & 1 for value in label]
            scores += list(row[: len(label)])
    return reliability(np.array(scores), np.array(labels))


def reliability(scores: np.ndarray, labels: np.ndarray) -> list[dict[str, float]]:
    """Groups scores [n] into tenths and compares their means with those of labels [n]."""
    order = np.argsort(scores, kind="stable")
    parts = [part for part in np.array_split(order, _BINS) if part.size]
    return [
        {
            "predicted": float(scores[part].mean()),
            "observed": float(labels[part].mean()),
            "candidates": float(part.size),
        }
        for part in parts
    ]
