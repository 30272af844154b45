"""A model card of a run: intended use, data, metrics by slice, limits and lineage.

The sections are those of Mitchell et al. 2019, "Model Cards for Model Reporting"
(https://arxiv.org/abs/1810.03993), as far as a run knows them.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from datetime import timezone
from typing import Any

from tfx_pipeline.datasets.problem import counted
from tfx_pipeline.report import facts
from tfx_pipeline.report.data import DataReport
from tfx_pipeline.report.gather import MODEL_NAME
from tfx_pipeline.report.gather import POPULAR_NAME
from tfx_pipeline.report.gather import Evaluation
from tfx_pipeline.report.gather import Missing
from tfx_pipeline.report.gather import StageReport
from tfx_pipeline.runners.recorded import RecordedRun

FEW_USERS = 1_000  # below it a share is known to no better than three in a hundred
_WORST = 3  # slices that are named


@dataclass(frozen=True)
class Card:
    """A model card.

    Attributes:
        intended_use: What the models are for, and how they are asked.
        out_of_scope: What they are not for.
        data: What they learned from and were measured on.
        limits: What is known to be weak or unknown.
    """

    intended_use: tuple[str, ...]
    out_of_scope: tuple[str, ...]
    data: tuple[str, ...]
    limits: tuple[str, ...]


def make_card(run: RecordedRun, stages: Sequence[StageReport], data: DataReport) -> Card:
    """Makes the card of a run."""
    return Card(
        tuple(_use(run, stage) for stage in stages),
        (
            "Decisions about people: scores order items, and say nothing else about a user.",
            "Other catalogues or event types than those of the log; scores of two models or two "
            "versions do not compare.",
        ),
        tuple(_about_data(data)),
        tuple(_limits(stages)),
    )


def _use(run: RecordedRun, stage: StageReport) -> str:
    known = facts.configuration(run)
    family = (known.get(stage.entry.name) or {}).get("trainer", {}).get("model", {}).get("family")
    model = f"the {family} model" if family else "a model"
    name = stage.entry.model_name(run.pipeline)
    if stage.entry.name == "ranking":
        return (
            f"{name}, {model}: puts the candidates of one result page or recommendation list in "
            "order for a user, by the probability of a click (signature `rank`)."
        )
    types = known.get("candidate_types") or ["*"]
    what = "items of every type" if "*" in types else f"entities of the type {', '.join(types)}"
    among = ""
    if not isinstance(stage.index, Missing):
        among = f" among {stage.index['candidates']:,} candidates"
    return (
        f"{name}, {model}: proposes {what}{among} to a user from what they did before (signature "
        "`recommend`), also to one who did nothing yet."
    )


def _about_data(data: DataReport) -> Iterator[str]:
    report = data.generation
    if isinstance(report, Missing):
        yield report.reason
        return
    rows, users = report.get("rows", {}), report.get("users", {})
    yield (
        f"{counted(rows.get('events', 0), 'event')} of {counted(users.get('all', 0), 'user')}, "
        f"impressions among them, and {counted(rows.get('catalogue', 0), 'catalogue row')}."
    )
    config = report.get("config", {})
    yield f"Held out by {config.get('split', 'an unknown rule')}{_periods(report)}."
    shares = {name: report.get(name, {}).get("examples", 0) for name in ("train", "test")}
    yield (
        f"{counted(shares['train'], 'timeline')} to learn from, {counted(shares['test'], 'user')} "
        "to be measured on."
    )


def _periods(report: dict[str, Any] | Any) -> str:
    if "test_start" not in report:
        return ""
    moments = (report["validation_start"], report["test_start"])
    validation, test = (
        datetime.fromtimestamp(moment / 1e6, timezone.utc).strftime("%Y-%m-%d %H:%M")
        for moment in moments
    )
    return f": validation from {validation} UTC, test from {test} UTC"


def _limits(stages: Sequence[StageReport]) -> Iterator[str]:
    for stage in stages:
        name = stage.entry.name
        if not stage.good:
            yield f"The model of the stage {name} is not to be served: {stage.verdict}"
        if isinstance(stage.evaluation, Missing):
            yield f"Nothing is known of the quality of the stage {name}: {stage.evaluation.reason}"
            continue
        users = stage.evaluation.users
        if users < FEW_USERS:
            yield f"The stage {name} was measured on {counted(users, 'user')}: intervals are wide."
        if stage.evaluation.no_baseline:
            yield f"The stage {name} was compared with no served model."
        yield from _weak_slices(stage, stage.evaluation)
    yield (
        "The log holds what earlier systems showed. What they did not show could not be taken, so "
        "that offline figures favour models that are like them; only a test on users tells."
    )
    yield "Items that came after the export are not known until the index is updated or built anew."


def _weak_slices(stage: StageReport, evaluation: Evaluation) -> Iterator[str]:
    """Names slices in which popularity alone is better."""
    name = stage.entry.headline[0]
    below = []
    for within in evaluation.series[MODEL_NAME]:
        beside = evaluation.beside(name, within)
        if within and POPULAR_NAME in beside and MODEL_NAME in beside:
            gap = beside[MODEL_NAME].value - beside[POPULAR_NAME].value
            below += [(gap, within)] if gap < 0 else []
    if below:
        worst = "; ".join(f"{within} ({gap:+.4f})" for gap, within in sorted(below)[:_WORST])
        yield f"What is most popular has the better {name} in {worst}."
