"""Several runs side by side, as one page."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tfx_pipeline.report import facts
from tfx_pipeline.report import intervals
from tfx_pipeline.report.gather import MODEL_NAME
from tfx_pipeline.report.gather import Evaluation
from tfx_pipeline.report.gather import Missing
from tfx_pipeline.report.gather import StageReport
from tfx_pipeline.report.gather import gather_stage
from tfx_pipeline.report.page import evaluation_series
from tfx_pipeline.report.page import slice_plots
from tfx_pipeline.report.page import training_plots
from tfx_pipeline.report.plot import Plot
from tfx_pipeline.report.rendering import render
from tfx_pipeline.runners.recorded import RecordedRun
from tfx_pipeline.stages.table import STAGES

Table = dict[str, dict[str, str]]  # what -> run -> value


@dataclass(frozen=True)
class StageComparison:
    """A stage of several runs.

    Attributes:
        name: The stage.
        reports: What was gathered, by run; runs without the stage are left out.
        headline: Plots of the headline metrics, a point for each run.
        slices: Plots of the first of them by slice.
        training: Plots by epoch, a line for each run.
    """

    name: str
    reports: Mapping[str, StageReport]
    headline: Sequence[Plot]
    slices: Sequence[Plot]
    training: Sequence[Plot]


def render_comparison(runs: Sequence[RecordedRun]) -> str:
    """Returns the page that compares runs."""
    named = name_runs(runs)
    return render(
        "comparison.html",
        title=" and ".join(dict.fromkeys(run.pipeline for run in runs)),
        runs=named,
        stages=[_compare(stage.name, named) for stage in STAGES.values()],
        changed={
            "Configuration": differing({name: facts.settings(run) for name, run in named.items()}),
            "Code versions": differing(
                {name: facts.code_versions(run) for name, run in named.items()}
            ),
            "Data": differing(
                {
                    name: {"fingerprint": facts.data_fingerprint(run) or "not read"}
                    for name, run in named.items()
                }
            ),
        },
        facts=facts,
    )


def name_runs(runs: Sequence[RecordedRun]) -> dict[str, RecordedRun]:
    """Gives each run a short name that no other has; a run that comes twice counts once."""
    named: dict[str, RecordedRun] = {}
    for run in runs:
        base = f"{run.run_dir.absolute().name} run {run.number}"
        others = [one.run_dir.absolute() for one in named.values()]
        if base in named and run.run_dir.absolute() not in others:
            base = f"{run.run_dir} run {run.number}"
        named[base] = run
    return named


def differing(values: Mapping[str, Mapping[str, Any]]) -> Table:
    """Returns what is not the same in all runs: key -> run -> value.

    A key is none where a run lacks it. What is only in some runs because the others lack its
    whole section (a stage, a component) is not said key by key.
    """
    keys = dict.fromkeys(key for of_run in values.values() for key in of_run)
    sections = {name: {_section(key) for key in of_run} for name, of_run in values.items()}
    table = {}
    for key in keys:
        row = {name: str(of_run.get(key, "none")) for name, of_run in values.items()}
        if len({row[name] for name in values if _section(key) in sections[name]}) > 1:
            table[key] = row
    return table


def _section(key: str) -> str:
    return key.partition(".")[0]


def _compare(stage: str, runs: Mapping[str, RecordedRun]) -> StageComparison:
    entry = STAGES[stage]
    reports = {
        name: gather_stage(run, entry)
        for name, run in runs.items()
        if entry in facts.stages_of(run)
    }
    evaluated: dict[str, Evaluation] = {
        name: report.evaluation
        for name, report in reports.items()
        if not isinstance(report.evaluation, Missing)
    }
    headline: list[Plot] = []
    slices: list[Plot] = []
    for metric in entry.headline:
        values = {
            name: one.beside(metric)[MODEL_NAME]
            for name, one in evaluated.items()
            if MODEL_NAME in one.beside(metric)
        }
        if values:
            headline.append(intervals.metric(metric, values))
        if values and not slices:
            series = {
                name: evaluation_series(evaluated[name], metric)[MODEL_NAME] for name in values
            }
            slices = list(slice_plots(metric, series))
    trainings = {
        name: report.training
        for name, report in reports.items()
        if not isinstance(report.training, Missing)
    }
    return StageComparison(stage, reports, headline, slices, list(training_plots(trainings)))
