"""Gathers what a report shows of a run; a part that is not there says why."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from typing import TypeVar

from serving.index import files
from serving.publishing.origin import NO_BASELINE
from serving.publishing.origin import NOT_PUSHED
from tfx_pipeline.components.verdict import REPORT
from tfx_pipeline.evaluation.config import MOST_POPULAR
from tfx_pipeline.evaluation.config import NEIGHBOURS
from tfx_pipeline.evaluation.config import OVER_NEIGHBOURS
from tfx_pipeline.evaluation.measured import Measured
from tfx_pipeline.evaluation.report import BASELINE
from tfx_pipeline.evaluation.report import CHANGE
from tfx_pipeline.evaluation.report import MODEL
from tfx_pipeline.evaluation.report import read_failures
from tfx_pipeline.evaluation.report import read_measured
from tfx_pipeline.evaluation.run_metrics import TRAINING
from tfx_pipeline.report import facts
from tfx_pipeline.runners.recorded import RecordedRun
from tfx_pipeline.stages.table import StageEntry

Slices = dict[str, dict[str, Measured]]  # slice -> metric -> value; "" is everybody
MODEL_NAME = "this model"
BASELINE_NAME = "served model"
POPULAR_NAME = "most popular"
NEIGHBOURS_NAME = "neighbours"
_Z = 1.959964  # standard deviations on either side of 95 % of a normal distribution
Part = TypeVar("Part")


@dataclass(frozen=True)
class Missing:
    """A part of a report that is not there.

    Attributes:
        reason: Why, in a sentence.
    """

    reason: str


@dataclass(frozen=True)
class Evaluation:
    """Metrics of a stage.

    Attributes:
        series: Metrics by slice of the model and of what stands beside it, by name.
        change: The model's metrics less the served model's.
        no_baseline: Why no served model stands beside it; "" if one does.
        intervals: Where the confidence intervals come from, in a sentence.
        names: Every metric of the model, the headline's first.
        users: Test users.
    """

    series: Mapping[str, Slices]
    change: Slices
    no_baseline: str
    intervals: str
    names: tuple[str, ...]
    users: int

    def beside(self, metric: str, within: str = "") -> dict[str, Measured]:
        """Returns a metric in a slice, by series; those without a value are left out."""
        return {
            name: slices[within][metric]
            for name, slices in self.series.items()
            if metric in slices.get(within, {})
        }


@dataclass(frozen=True)
class Gate:
    """What judged a stage.

    Attributes:
        node: The component.
        blessed: Its verdict; None where it gave none.
        reasons: Why it refused, or why it did not judge.
        checks: Single checks: name, whether it passed, expected, received.
    """

    node: str
    blessed: bool | None
    reasons: tuple[str, ...]
    checks: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class StageReport:
    """What a report shows of a stage.

    Attributes:
        entry: The stage.
        verdict: What became of it, in a few words.
        good: Whether it was pushed, or need not be.
        gates: Who judged it.
        pushed_note: Why nothing was pushed; "" if something was.
        evaluation: Metrics.
        training: The Trainer's report: `epochs`, `best`, `config` and more.
        index: The index's description, and the validator's report under `checked`.
        neighbours: The neighbour validator's report.
    """

    entry: StageEntry
    verdict: str
    good: bool
    gates: tuple[Gate, ...]
    pushed_note: str
    evaluation: Evaluation | Missing
    training: Mapping[str, Any] | Missing
    index: Mapping[str, Any] | Missing
    neighbours: Mapping[str, Any] | Missing


def gather_stage(run: RecordedRun, entry: StageEntry) -> StageReport:
    """Gathers what a run left of a stage."""
    pushed = run.output(entry.component_id("pusher"), "pushed_model")
    note = _read_text(pushed / NOT_PUSHED) if pushed else ""
    verdict = facts.verdict(run, entry)
    index: Mapping[str, Any] | Missing = Missing("A ranking model has no index.")
    neighbours: Mapping[str, Any] | Missing = Missing("A ranking model has no neighbour lists.")
    if entry.name == "retrieval":
        neighbours = _part(
            run, "neighbour-validator", "blessing", lambda path: _read_json(path / REPORT)
        )
        index = _part(run, "index-builder", "index", lambda path: _index(run, path))
    return StageReport(
        entry,
        verdict or _unfinished(run, entry),
        verdict.startswith("pushed"),
        _gates(run, entry),
        note,
        _part(
            run,
            entry.component_id("evaluator"),
            "evaluation",
            lambda path: _evaluation(run, entry, path),
        ),
        _part(
            run,
            entry.component_id("trainer"),
            "model_run",
            lambda path: _read_json(path / TRAINING),
        ),
        index,
        neighbours,
    )


def _part(
    run: RecordedRun, node: str, key: str, read: Callable[[Path], Part | Missing]
) -> Part | Missing:
    """Reads a part of a report from an output, or says why it cannot."""
    path = run.output(node, key)
    if path is None:
        return Missing(run.why_missing(node, key))
    try:
        return read(path)
    except (OSError, ValueError, KeyError) as error:
        return Missing(f"What `{node}` left in {path} cannot be read: {error}")


def _unfinished(run: RecordedRun, entry: StageEntry) -> str:
    return run.why_missing(entry.component_id("pusher"), "pushed_model")


def _evaluation(run: RecordedRun, entry: StageEntry, path: Path) -> Evaluation:
    measured = read_measured(path)
    model, baseline = measured[MODEL], measured[BASELINE]
    bootstrapped = any(one.low is not None for values in model.values() for one in values.values())
    if not bootstrapped:
        model, baseline = _with_wilson(model), _with_wilson(baseline)
    series = {
        MODEL_NAME: _without_prefix(model, ""),
        BASELINE_NAME: _without_prefix(baseline, ""),
        POPULAR_NAME: _without_prefix(model, MOST_POPULAR),
        NEIGHBOURS_NAME: _without_prefix(model, NEIGHBOURS),
    }
    own = series[MODEL_NAME].get("", {})
    headline = [name for name in entry.headline if name in own]
    node = entry.component_id("latest-blessed")
    latest = run.output(node, "model")
    reason = "" if baseline else "The evaluation measured no other model."
    if latest is None and not baseline:
        reason = run.why_missing(node, "model")
    elif latest is not None:
        reason = _read_text(latest / NO_BASELINE) or reason
    return Evaluation(
        {name: slices for name, slices in series.items() if any(slices.values())},
        measured[CHANGE],
        reason,
        _about_intervals(bootstrapped, entry),
        (*headline, *(name for name in own if name not in headline)),
        int(own["users"].value) if "users" in own else 0,
    )


def _about_intervals(bootstrapped: bool, entry: StageEntry) -> str:
    if bootstrapped:
        return "Bars are 95 % intervals of TFMA's Poisson bootstrap over users."
    switch = f"Set {entry.name}.evaluation.confidence_intervals=true for bootstrapped ones."
    if entry.name == "retrieval":
        return f"Bars are Wilson's 95 % intervals of shares of users, the hit rates. {switch}"
    return f"No intervals were computed. {switch}"


def _without_prefix(slices: Slices, prefix: str) -> Slices:
    """Returns metrics that begin with a prefix, without it; with "" those of the model alone."""
    prefixes = (MOST_POPULAR, NEIGHBOURS, OVER_NEIGHBOURS)

    def wanted(name: str) -> bool:
        return name.startswith(prefix) if prefix else not name.startswith(prefixes)

    return {
        within: {name.removeprefix(prefix): one for name, one in values.items() if wanted(name)}
        for within, values in slices.items()
    }


def _with_wilson(slices: Slices) -> Slices:
    """Gives hit rates, which are shares of users, Wilson's interval."""
    found: Slices = {}
    for within, values in slices.items():
        users = values["users"].value if "users" in values else 0.0
        found[within] = {
            name: Measured(one.value, *wilson(one.value, users))
            if users and name.rpartition("/")[2].startswith("hr@")
            else one
            for name, one in values.items()
        }
    return found


def wilson(share: float, count: float) -> tuple[float, float]:
    """Returns Wilson's 95 % score interval of a share of `count`.

    (p + z^2 / 2n ± z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)
    """
    spread = _Z * math.sqrt(share * (1 - share) / count + (_Z / (2 * count)) ** 2)
    middle, scale = share + _Z**2 / (2 * count), 1 + _Z**2 / count
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def _gates(run: RecordedRun, entry: StageEntry) -> tuple[Gate, ...]:
    kinds = ("index-validator", "neighbour-validator", "evaluator", "serving-validator")
    nodes = [entry.component_id(kind) for kind in kinds]
    known = facts.gates(run, entry)
    always = entry.component_id("evaluator")
    begun = [node for node in nodes if node in run.steps or node == always]
    return tuple(_gate(run, node, known.get(node)) for node in begun)


def _gate(run: RecordedRun, node: str, blessed: bool | None) -> Gate:
    folder = run.output(node, "blessing")
    if blessed is None or folder is None:
        return Gate(node, blessed, (run.why_missing(node, "blessing"),))
    if (folder / REPORT).is_file():
        report = _read_json(folder / REPORT)
        checks = tuple(report.get("checks", ()))
        return Gate(node, blessed, tuple(report.get("reasons", ())), checks)
    evaluation = run.output(node, "evaluation")
    failures = read_failures(evaluation) if evaluation and not blessed else []
    return Gate(node, blessed, tuple(failures))


def _index(run: RecordedRun, path: Path) -> dict[str, Any]:
    described = _read_json(path / files.INDEX)
    blessing = run.output("index-validator", "blessing")
    if blessing and (blessing / REPORT).is_file():
        described["checked"] = _read_json(blessing / REPORT)
    return described


def _read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""
