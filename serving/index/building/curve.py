"""Recall against cost, as tuning measured it: a table and a plot beside the index.

The plot is written by hand, and not by a library: building an index needs no
more than NumPy, Arrow and ScaNN, and the same curve gives the same bytes.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TABLE = "curve.csv"
PLOT = "curve.svg"
COLUMNS = ("leaves_to_search", "reorder", "scanned", "recall")

_WIDTH, _HEIGHT = 640, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 616, 40, 344
_COLOURS = ("#25a", "#2a8", "#c80", "#a3a", "#777")  # of the depths


def write(path: Path, search: Mapping[str, Any]) -> None:
    """Writes the curve of `search` (see `tuning.tune`) into the index directory `path`.

    Nothing is written when nothing was tuned.
    """
    if not search["curve"]:
        return
    (path / TABLE).write_text(to_csv(search["curve"]), encoding="utf-8")
    (path / PLOT).write_text(to_svg(search), encoding="utf-8")


def to_csv(curve: Sequence[Mapping[str, Any]]) -> str:
    """Returns one line a setting, with a header."""
    sink = io.StringIO()
    writer = csv.DictWriter(sink, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(curve)
    return sink.getvalue()


def to_text(search: Mapping[str, Any]) -> str:
    """Returns the curve for a terminal; the setting that was chosen has a star."""
    if not search.get("curve"):
        return "The search was not tuned: its settings were given, or there were no queries."
    recall = f"recall@{search['recall_at']}" if "recall_at" in search else "recall"
    lines = [f"  {'leaves':>7} {'reorder':>8} {'scanned':>11} {recall:>11}"]
    for point in search["curve"]:
        star = "*" if is_chosen(point, search) else " "
        scanned = f"{point['scanned']:,.0f}" if "scanned" in point else "-"
        lines.append(
            f"{star} {point['leaves_to_search']:>7,} {point['reorder']:>8,} {scanned:>11} "
            f"{point['recall']:>11.5f}"
        )
    return "\n".join(lines)


def is_chosen(point: Mapping[str, Any], search: Mapping[str, Any]) -> bool:
    """Returns whether a point of the curve is the setting that the index searches with."""
    return all(point[name] == search[name] for name in ("leaves_to_search", "reorder"))


def to_svg(search: Mapping[str, Any]) -> str:
    """Draws recall over the candidates that a query looks at, a line for each depth."""
    points = search["curve"]
    costs = [math.log10(max(1.0, point["scanned"])) for point in points]
    low, high = math.floor(min(costs)), max(math.ceil(max(costs)), math.floor(min(costs)) + 1)
    floor = math.floor(10 * min(point["recall"] for point in points)) / 10
    floor = min(floor, 0.9)

    def x(cost: float) -> float:
        return round(_LEFT + (_RIGHT - _LEFT) * (cost - low) / (high - low), 1)

    def y(recall: float) -> float:
        return round(_BOTTOM - (_BOTTOM - _TOP) * (recall - floor) / (1 - floor), 1)

    drawn = [_text(_WIDTH / 2, 24, f"recall@{search['recall_at']} against exact search")]
    drawn.append(_text(_WIDTH / 2, _HEIGHT - 16, "candidates that a query looks at"))
    for exponent in range(low, high + 1):
        drawn.append(_line(x(exponent), _TOP, x(exponent), _BOTTOM, "#ddd"))
        drawn.append(_text(x(exponent), _BOTTOM + 18, f"{10**exponent:,}"))
    for step in range(6):
        recall = floor + (1 - floor) * step / 5
        drawn.append(_line(_LEFT, y(recall), _RIGHT, y(recall), "#ddd"))
        drawn.append(_text(_LEFT - 24, y(recall) + 4, f"{recall:.2f}"))
    aim = y(search["target_recall"])
    drawn.append(_line(_LEFT, aim, _RIGHT, aim, "#b33", ' stroke-dasharray="5 4"'))
    places = [(x(cost), y(point["recall"])) for cost, point in zip(costs, points, strict=True)]
    for number, depth in enumerate(sorted({point["reorder"] for point in points})):
        colour = _COLOURS[number % len(_COLOURS)]
        line = [
            (at, point)
            for at, point in zip(places, points, strict=True)
            if point["reorder"] == depth
        ]
        path = " ".join(f"{across},{down}" for (across, down), _ in line)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        drawn.append(_text(_RIGHT - 60, _BOTTOM - 12 - 16 * number, f"{depth:,} re-ranked", colour))
        for (across, down), point in line:
            radius, fill = (6, "#b33") if is_chosen(point, search) else (3, colour)
            drawn.append(f'<circle cx="{across}" cy="{down}" r="{radius}" fill="{fill}"/>')
    body = "\n".join(drawn)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'font-family="sans-serif" font-size="12">\n'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>\n{body}\n</svg>\n'
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, more: str = "") -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}"{more}/>'


def _text(x: float, y: float, words: str, colour: str = "#000") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="middle" fill="{colour}">{words}</text>'
