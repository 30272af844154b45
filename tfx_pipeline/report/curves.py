"""Plots of training, index, calibration and data."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import altair as alt

from serving.index.building.curve import is_chosen
from tfx_pipeline.report.plot import COLOURS
from tfx_pipeline.report.plot import HEIGHT
from tfx_pipeline.report.plot import Plot
from tfx_pipeline.report.plot import Row
from tfx_pipeline.report.plot import colour
from tfx_pipeline.report.plot import finished
from tfx_pipeline.report.plot import labels
from tfx_pipeline.report.plot import legend_above
from tfx_pipeline.report.plot import number
from tfx_pipeline.report.plot import whole_numbers

_STATES = ("COMPLETE", "CACHED", "FAILED", "CANCELED", "RUNNING")


def epochs(title: str, name: str, series: Mapping[str, Sequence[Mapping[str, float]]]) -> Plot:
    """Draws a value by epoch, a line for each training."""
    rows: list[Row] = [
        {"epoch": int(epoch["epoch"]), "of": training, "value": epoch[name]}
        for training, found in series.items()
        for epoch in found
        if name in epoch
    ]
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_line(point=alt.OverlayMarkDef(size=40))
        .encode(
            x=alt.X("epoch:Q", title="epoch", axis=whole_numbers(row["epoch"] for row in rows)),
            y=alt.Y("value:Q", title=name, scale=alt.Scale(zero=False)),
            color=colour("of", list(series)),
            tooltip=[alt.Tooltip("of:N"), alt.Tooltip("epoch:Q"), number("value:Q", name)],
        )
        .properties(height=HEIGHT)
    )
    spoken = "; ".join(f"{row['of']}, epoch {row['epoch']}: {row['value']:.4g}" for row in rows)
    return finished(title, f"{title}. {spoken}.", rows, chart)


def index_curve(search: Mapping[str, Any]) -> Plot:
    """Draws the recall of an index over the candidates that a query looks at."""
    rows: list[Row] = [
        {
            "scanned": point["scanned"],
            "recall": point["recall"],
            "re-ranked": point["reorder"],
            "leaves": point["leaves_to_search"],
            "chosen": "chosen" if is_chosen(point, search) else "",
        }
        for point in search["curve"]
        if point["scanned"] > 0
    ]
    depths = sorted({row["re-ranked"] for row in rows})
    data = alt.Chart(alt.Data(values=rows))
    x = alt.X("scanned:Q", title="candidates looked at", scale=alt.Scale(type="log", nice=False))
    y = alt.Y("recall:Q", title=f"recall@{search['recall_at']}", scale=alt.Scale(zero=False))
    tooltip = ["scanned:Q", number("recall:Q"), "re-ranked:O", "leaves:Q"]
    lines = data.mark_line(point=True).encode(
        x=x,
        y=y,
        color=alt.Color(
            "re-ranked:O",
            sort=depths,
            scale=alt.Scale(range=list(COLOURS)),
            legend=legend_above("re-ranked"),
        ),
        tooltip=tooltip,
    )
    chosen = (
        data.transform_filter("datum.chosen == 'chosen'")
        .mark_point(size=220, strokeWidth=3, color="#b3261e")
        .encode(x=x, y=y, tooltip=tooltip)
    )
    aim = (
        alt.Chart(alt.Data(values=[{"aim": search["target_recall"]}]))
        .mark_rule(strokeDash=[5, 4], color="#b3261e")
        .encode(y="aim:Q")
    )
    now = next((row for row in rows if row["chosen"]), None)
    spoken = (
        f"; the setting in use looks at {now['scanned']:,.0f} for {now['recall']:.4f}"
        if now
        else ""
    )
    words = f"Recall rises with the candidates that are looked at, from {rows[0]['recall']:.3f} to "
    words += f"{rows[-1]['recall']:.3f}{spoken}. The aim is {search['target_recall']}."
    chart = alt.layer(lines, chosen, aim).properties(height=HEIGHT)
    return finished("Recall of the index against its cost", words, rows, chart)


def reliability(rows: Sequence[Row]) -> Plot:
    """Draws observed over predicted probabilities, beside the diagonal."""
    most = max(max(row["predicted"], row["observed"]) for row in rows)
    corner = [{"predicted": 0.0, "observed": 0.0}, {"predicted": most, "observed": most}]
    x = alt.X("predicted:Q", title="predicted probability")
    y = alt.Y("observed:Q", title="observed share")
    diagonal = alt.Chart(alt.Data(values=corner)).mark_line(strokeDash=[5, 4], color="#666")
    points = alt.Chart(alt.Data(values=rows)).mark_line(point=True, color=COLOURS[0])
    tooltip = [number("predicted:Q"), number("observed:Q"), "candidates:Q"]
    chart = alt.layer(diagonal.encode(x=x, y=y), points.encode(x=x, y=y, tooltip=tooltip))
    spoken = "; ".join(f"{row['predicted']:.3f}: {row['observed']:.3f}" for row in rows)
    words = f"Observed share of positives by tenth of the predicted probability: {spoken}."
    return finished("Reliability", words, rows, chart.properties(height=HEIGHT))


def lengths(quantiles: Mapping[str, Iterable[tuple[float, float]]]) -> Plot:
    """Draws how many events timelines have, by split."""
    rows: list[Row] = [
        {"split": split, "share of timelines": round(share, 4), "events": max(1.0, events)}
        for split, points in quantiles.items()
        for share, events in points
    ]
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_line(point=True)
        .encode(
            x=alt.X("share of timelines:Q", axis=alt.Axis(format="%")),
            y=alt.Y("events:Q", title="events at most", scale=alt.Scale(type="log")),
            color=colour("split", list(quantiles)),
            tooltip=["split:N", alt.Tooltip("share of timelines:Q", format=".0%"), "events:Q"],
        )
        .properties(height=HEIGHT)
    )
    spoken = [
        f"{split}, the longest: {list(points)[-1][1]:,.0f}" for split, points in quantiles.items()
    ]
    words = f"Lengths of timelines in events, as quantiles. {'; '.join(spoken)}."
    return finished("Lengths of timelines", words, rows, chart)


def seconds(steps: Iterable[tuple[str, str, float]]) -> Plot:
    """Draws how long components took: (component, state, seconds), in their order."""
    rows: list[Row] = [
        {"component": node, "state": state, "seconds": round(taken, 1)}
        for node, state, taken in steps
    ]
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar()
        .encode(
            y=alt.Y(
                "component:N", title=None, sort=[row["component"] for row in rows], axis=labels()
            ),
            x=alt.X("seconds:Q"),
            color=colour(
                "state", [one for one in _STATES if any(row["state"] == one for row in rows)]
            ),
            tooltip=["component:N", "state:N", "seconds:Q"],
        )
        .properties(height=18 * len(rows) + 10)
    )
    longest = max(rows, key=lambda row: row["seconds"])
    words = f"Seconds of each component, most of them {longest['component']}, {longest['seconds']}."
    return finished("Seconds of each component", words, rows, chart)
