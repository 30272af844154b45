"""Writes reports as single files: a page, a comparison of runs, a model card."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tfx_pipeline.evaluation.config import best_at_1
from tfx_pipeline.evaluation.config import parse_slice
from tfx_pipeline.evaluation.measured import Measured
from tfx_pipeline.report import curves
from tfx_pipeline.report import facts
from tfx_pipeline.report import intervals
from tfx_pipeline.report.calibration import gather_reliability
from tfx_pipeline.report.card import make_card
from tfx_pipeline.report.data import DataReport
from tfx_pipeline.report.data import gather_data
from tfx_pipeline.report.gather import MODEL_NAME
from tfx_pipeline.report.gather import Evaluation
from tfx_pipeline.report.gather import Missing
from tfx_pipeline.report.gather import StageReport
from tfx_pipeline.report.gather import gather_stage
from tfx_pipeline.report.plot import Plot
from tfx_pipeline.report.rendering import render
from tfx_pipeline.report.samples import gather_samples
from tfx_pipeline.runners.recorded import RecordedRun

CALIBRATION = "calibration"


@dataclass(frozen=True)
class StageView:
    """A stage as a page shows it.

    Attributes:
        report: What was gathered.
        headline: Plots of the headline metrics.
        slices: Plots of the first of them by slice.
        calibration: Plots of calibration; none where nothing is predicted as a probability.
        training: Plots by epoch.
        index: Recall against cost; None where nothing was tuned.
    """

    report: StageReport
    headline: Sequence[Plot]
    slices: Sequence[Plot]
    calibration: Sequence[Plot]
    training: Sequence[Plot]
    index: Plot | None


def render_report(run: RecordedRun) -> str:
    """Returns the page of a run, which needs no network."""
    stages = [_view(run, gather_stage(run, stage)) for stage in facts.stages_of(run)]
    data = gather_data(run)
    return render(
        "report.html",
        title=run.pipeline,
        run=run,
        stages=stages,
        data=data,
        lengths=_lengths(data),
        samples=gather_samples(run),
        seconds=_seconds(run),
        card=make_card(run, [stage.report for stage in stages], data),
        facts=facts,
    )


def render_card(run: RecordedRun) -> str:
    """Returns the model card of a run in Markdown."""
    reports = [gather_stage(run, stage) for stage in facts.stages_of(run)]
    card = make_card(run, reports, gather_data(run))
    return render("card.md", run=run, stages=reports, card=card, facts=facts)


def _view(run: RecordedRun, report: StageReport) -> StageView:
    evaluation, training = report.evaluation, report.training
    headline: list[Plot] = []
    slices: list[Plot] = []
    calibration: list[Plot] = []
    if not isinstance(evaluation, Missing):
        shown = [name for name in report.entry.headline if evaluation.beside(name)]
        headline = [intervals.metric(name, evaluation.beside(name)) for name in shown]
        slices = list(slice_plots(shown[0], evaluation_series(evaluation, shown[0])))
        if CALIBRATION in shown:
            series = evaluation_series(evaluation, CALIBRATION)
            calibration = list(slice_plots(CALIBRATION, series))
    if report.entry.name == "ranking":
        tenths = gather_reliability(run)
        if not isinstance(tenths, Missing) and tenths:
            calibration.insert(0, curves.reliability(tenths))
    trained: list[Plot] = []
    if not isinstance(training, Missing):
        trained = list(training_plots({MODEL_NAME: training}))
    index = None
    if not isinstance(report.index, Missing) and report.index["search"].get("curve"):
        index = curves.index_curve(report.index["search"])
    return StageView(report, headline, slices, calibration, trained, index)


def evaluation_series(evaluation: Evaluation, name: str) -> dict[str, dict[str, Measured]]:
    """Returns a metric by model and by slice, that over everybody left out."""
    return {
        model: {within: one[name] for within, one in slices.items() if within and name in one}
        for model, slices in evaluation.series.items()
    }


def slice_plots(name: str, series: Mapping[str, Mapping[str, Measured]]) -> Iterator[Plot]:
    """Draws a metric by slice, a plot for each feature that slices are made by."""
    grouped: dict[str, dict[str, dict[str, Measured]]] = {}
    for model, values in series.items():
        for within, one in values.items():
            parsed = parse_slice(within)
            feature = " and ".join(key.removeprefix("slice/") for key in parsed)
            label = ", ".join(parsed.values())
            grouped.setdefault(feature, {}).setdefault(model, {})[label] = one
    best = 1.0 if best_at_1(name) else None
    for feature, by_model in grouped.items():
        yield intervals.slices(feature.replace("_", " "), name, by_model, best)


def training_plots(trainings: Mapping[str, Mapping[str, Any]]) -> Iterator[Plot]:
    """Draws loss and the watched metric by epoch, a line for each training."""
    epochs = {name: one["epochs"] for name, one in trainings.items() if one.get("epochs")}
    watched = [one["config"].get("validation", {}).get("monitor", "") for one in trainings.values()]
    titles = {"loss": "Training loss"}
    titles |= {name: f"{name} on the validation split" for name in watched if name}
    for name, title in titles.items():
        if any(name in epoch for found in epochs.values() for epoch in found):
            yield curves.epochs(title, name, epochs)


def _lengths(data: DataReport) -> Plot | None:
    if isinstance(data.statistics, Missing):
        return None
    found = {one.name: one.lengths for one in data.statistics if one.lengths}
    return curves.lengths(found) if found else None


def _seconds(run: RecordedRun) -> Plot | None:
    steps = [(step.node, step.state, step.seconds) for step in run.steps.values()]
    return curves.seconds(steps) if steps else None
