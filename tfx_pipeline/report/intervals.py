"""Plots of metrics with their confidence intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt

from tfx_pipeline.evaluation.config import value_order
from tfx_pipeline.evaluation.measured import Measured
from tfx_pipeline.report.plot import SHAPES
from tfx_pipeline.report.plot import Plot
from tfx_pipeline.report.plot import Row
from tfx_pipeline.report.plot import colour
from tfx_pipeline.report.plot import finished
from tfx_pipeline.report.plot import labels
from tfx_pipeline.report.plot import legend_above
from tfx_pipeline.report.plot import look
from tfx_pipeline.report.plot import number

_ROW_HEIGHT = 26  # pixels


def metric(name: str, beside: Mapping[str, Measured]) -> Plot:
    """Draws one metric of several models, with confidence intervals."""
    rows = [_row(series, one) for series, one in beside.items()]
    y = alt.Y("of:N", title=None, sort=list(beside), axis=labels())
    chart = _intervals(rows, name, y, list(beside)).properties(height=_ROW_HEIGHT * len(rows) + 20)
    spoken = "; ".join(f"{row['of']} {_spoken(row)}" for row in rows)
    return finished(name, f"{name}: {spoken}.", rows, chart)


def slices(
    title: str, name: str, series: Mapping[str, Mapping[str, Measured]], best: float | None = None
) -> Plot:
    """Draws one metric by slice, of several models.

    Args:
        title: What the slices have in common.
        name: The metric.
        series: Model -> slice -> value.
        best: Where the metric is best, if that is in the middle.
    """
    rows = [
        {"slice": within, **_row(model, one)}
        for model, values in series.items()
        for within, one in values.items()
    ]
    names = sorted({row["slice"] for row in rows}, key=value_order)
    y = alt.Y("slice:N", title=None, sort=names, axis=labels())
    offset = alt.YOffset("of:N", sort=list(series))
    chart = _intervals(rows, name, y, list(series), offset, best).properties(
        height=len(names) * (14 * len(series) + 14)
    )
    spoken = "; ".join(f"{row['slice']}, {row['of']}: {_spoken(row)}" for row in rows)
    return finished(f"{name} by {title}", f"{name} by {title}. {spoken}.", rows, chart)


def _intervals(
    rows: list[Row],
    name: str,
    y: alt.Y,
    order: list[str],
    offset: alt.YOffset | None = None,
    best: float | None = None,
) -> Any:
    """Draws a point for each row, with its interval where it has one."""
    base = alt.Chart(alt.Data(values=rows))
    scale = alt.Scale(zero=False, nice=True)
    title, legend, more = (
        (None, None, {}) if offset is None else (name, legend_above(), {"yOffset": offset})
    )
    tinted = colour("of", order, legend)
    shape = alt.Shape(
        "of:N",
        sort=order,
        scale=alt.Scale(domain=order, range=look(order, SHAPES)),
        legend=legend,
    )
    x = alt.X("value:Q", title=title, scale=scale)
    tooltip = [number("value:Q", name), number("low:Q"), number("high:Q")]
    names = [alt.Tooltip(f"{key}:N") for key in rows[0] if key in ("slice", "of")]
    points = base.mark_point(filled=True, size=70, opacity=1)
    layers = [points.encode(x=x, y=y, color=tinted, shape=shape, tooltip=names + tooltip, **more)]
    if any(row["low"] is not None for row in rows):
        bars = base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=2, opacity=0.6)
        low = alt.X("low:Q", title=title, scale=scale)
        layers.insert(0, bars.encode(x=low, x2="high:Q", y=y, color=tinted, **more))
    if best is not None:
        line = alt.Chart(alt.Data(values=[{"best": best}])).mark_rule(strokeDash=[5, 4])
        layers.insert(0, line.encode(x=alt.X("best:Q", scale=scale)))
    return alt.layer(*layers)


def _row(name: str, one: Measured) -> Row:
    return {"of": name, "value": one.value, "low": one.low, "high": one.high}


def _spoken(row: Row) -> str:
    if row["low"] is None:
        return f"{row['value']:.4g}"
    return f"{row['value']:.4g} ({row['low']:.4g} to {row['high']:.4g})"
