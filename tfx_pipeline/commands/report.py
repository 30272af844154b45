"""`vitrine report`: a page about a run, or about several side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tfx_pipeline.runners.recorded import read_run

REPORT = "report.html"
COMPARISON = "comparison.html"


def write_report(
    places: Sequence[str], compare: bool, output: Path | None, card: Path | None
) -> str:
    """Writes a report of a run, or a comparison of runs.

    Args:
        places: Directories of runs, or `DIR@NUMBER` for earlier runs of one.
        compare: Whether they are compared; otherwise there is one.
        output: The page to write; in the directory of the (first) run when None.
        card: A model card in Markdown to write besides; none when None.

    Returns:
        What was written.

    Raises:
        ValueError: There is no such run, or the number of runs does not fit.
        OSError: A file cannot be written.
    """
    if compare and card:
        raise ValueError("`--card` is of one run: leave `--compare` out.")
    if compare and len(places) < 2:
        raise ValueError("`--compare` compares at least two runs. Name another one.")
    if not compare and len(places) != 1:
        raise ValueError("A report is of one run. Put `--compare` before several.")
    runs = [read_run(place) for place in places]  # mistakes cost less than TFMA's import
    from tfx_pipeline.report.compare import render_comparison
    from tfx_pipeline.report.page import render_card
    from tfx_pipeline.report.page import render_report

    page = output or runs[0].run_dir / (COMPARISON if compare else REPORT)
    text = render_comparison(runs) if compare else render_report(runs[0])
    lines = [_write(page, text)]
    if card:
        lines.append(_write(card, render_card(runs[0])))
    return "\n".join(lines)


def _write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return f"{path}  {path.stat().st_size / 1e6:.1f} MB"
