"""What a plot of a report is, and how all of them look."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from tfx_pipeline.report.gather import BASELINE_NAME
from tfx_pipeline.report.gather import MODEL_NAME
from tfx_pipeline.report.gather import NEIGHBOURS_NAME
from tfx_pipeline.report.gather import POPULAR_NAME

Row = dict[str, Any]
HEIGHT = 240  # pixels
# By Okabe and Ito: told apart by those who see few colours, too.
COLOURS = ("#0072b2", "#d55e00", "#666666", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
SHAPES = ("circle", "diamond", "square", "triangle-up", "cross", "triangle-down", "triangle-left")
_KNOWN = (MODEL_NAME, BASELINE_NAME, POPULAR_NAME, NEIGHBOURS_NAME)  # look alike in all plots
_LABEL_WIDTH = 130
_TICKS = 10


@dataclass(frozen=True)
class Plot:
    """A plot.

    Attributes:
        title: What it shows.
        description: The same in words, for those who do not see it.
        rows: What it is drawn from; all have the same keys.
        spec: Vega-Lite.
    """

    title: str
    description: str
    rows: Sequence[Row]
    spec: Mapping[str, Any]


def finished(title: str, description: str, rows: Sequence[Row], chart: Any) -> Plot:
    """Makes a plot of an Altair chart: as wide as there is room, with a description."""
    spec = (
        chart.properties(
            width="container",
            description=description,
            autosize=alt.AutoSizeParams(type="fit-x", contains="padding"),
            background="transparent",
        )
        .configure_view(stroke=None)
        .configure(font="system-ui, sans-serif")
        .configure_axisQuantitative(tickCount=5, labelOverlap="greedy")
        .to_dict()
    )
    return Plot(title, description, rows, spec)


def look(names: Sequence[str], of: Sequence[str]) -> list[str]:
    """Chooses a colour or a shape for each name: known ones always have the same.

    Args:
        names: What is drawn.
        of: Colours or shapes.
    """
    order = _KNOWN if set(names) <= set(_KNOWN) else names
    return [of[order.index(name) % len(of)] for name in names]


def colour(key: str, order: list[str], legend: Any = alt.Undefined) -> alt.Color:
    """Colours rows by a key; there is a legend where there are several."""
    if legend is alt.Undefined:
        legend = legend_above() if len(order) > 1 else None
    scale = alt.Scale(domain=order, range=look(order, COLOURS))
    return alt.Color(f"{key}:N", sort=order, scale=scale, legend=legend)


def number(field: str, title: str | None = None) -> alt.Tooltip:
    """Shows a number when it is pointed at."""
    return alt.Tooltip(field, title=title or field.partition(":")[0], format=".4f")


def whole_numbers(values: Iterable[int]) -> alt.Axis:
    """Returns an axis with a tick at every value, while these are few."""
    different = sorted(set(values))
    if len(different) > _TICKS:
        return alt.Axis(format="d", tickMinStep=1)
    return alt.Axis(format="d", values=different)


def labels() -> alt.Axis:
    """Returns an axis of names, long ones cut."""
    return alt.Axis(labelLimit=_LABEL_WIDTH)


def legend_above(title: str | None = None) -> alt.Legend:
    """Returns a legend that leaves a narrow plot its width."""
    return alt.Legend(orient="top", columns=2, labelLimit=140, title=title)
