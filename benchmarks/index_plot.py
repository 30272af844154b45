"""Draws recall against speed of every engine."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

X, Y = "recall@100", "queries_per_second"


def plot(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draws a panel for each catalogue and batch, and a line for each engine.

    Args:
        rows: Rows of the index benchmark.
        path: The SVG file.
    """
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "index"  # the same figure is the same file
    matplotlib.rcParams["svg.fonttype"] = "none"  # letters stay letters
    from matplotlib import pyplot

    panels = sorted({(row["data"], row["items"], row["batch"]) for row in rows})
    if not panels:
        return
    figure, axes = pyplot.subplots(
        len(panels), 1, figsize=(7, 3.2 * len(panels)), squeeze=False, layout="constrained"
    )
    engines = sorted({row["engine"] for row in rows})
    colours = {engine: f"C{number}" for number, engine in enumerate(engines)}
    for panel, axis in zip(panels, axes[:, 0], strict=True):
        data, items, batch = panel
        here = [row for row in rows if (row["data"], row["items"], row["batch"]) == panel]
        for engine in engines:
            points = sorted((row[X], row[Y]) for row in here if row["engine"] == engine)
            if points:
                axis.plot(*zip(*points, strict=True), ".-", color=colours[engine], label=engine)
        axis.set(title=f"{data}, {items:,} items, batch {batch}", xlabel=X, yscale="log")
        axis.set(ylabel="queries/s", xlim=(0.8, 1.005))
        axis.grid(alpha=0.3)
        axis.legend(fontsize="small")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
