"""Writes reports as single files: a page, a comparison of runs, a model card."""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import vl_convert
from altair import SCHEMA_VERSION
from markupsafe import Markup
from markupsafe import escape

from tfx_pipeline.evaluation.config import best_at_1
from tfx_pipeline.evaluation.config import parse_slice
from tfx_pipeline.evaluation.report import Measured
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
from tfx_pipeline.report.samples import gather_samples
from tfx_pipeline.runners.recorded import RecordedRun

CALIBRATION = "calibration"
_TICKED = re.compile(r"`([^`]+)`")


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


def render(template: str, **values: Any) -> str:
    """Returns a template with values, in which markup is escaped where it is a page."""
    return _environment().get_template(template).render(script=_script, **values)


def _script() -> Markup:
    """Returns the script that draws the plots, to stand in a page."""
    version = ".".join(SCHEMA_VERSION.lstrip("v").split(".")[:2])
    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", version)
    return Markup(bundle.replace("</script", "<\\/script"))


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tfx_pipeline.report"),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"measured": _measured, "number": _number, "ticked": _ticked}
    return environment


def _measured(one: Any) -> str:
    """Writes a value with its interval; nothing for what has none."""
    if not isinstance(one, Measured):
        return ""
    interval = "" if one.low is None else f" ({one.low:.4f} to {one.high:.4f})"
    return f"{_number(one.value)}{interval}"


def _ticked(text: Any) -> Markup:
    """Returns text as a part of a page, with what stands in backticks as code."""
    return Markup(_TICKED.sub(r"<code>\1</code>", str(escape(text))))


def _number(value: Any) -> str:
    """Writes a number as people read it, anything else as it is."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:.4f}" if abs(value) < 100 else f"{value:,.1f}"
