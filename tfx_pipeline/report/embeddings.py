"""The results of the benchmark of embeddings: as text, as JSON, as a page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tfx_pipeline.evaluation.embeddings.suite import Measured
from tfx_pipeline.evaluation.embeddings.suite import Scored
from tfx_pipeline.evaluation.embeddings.suite import Suite
from tfx_pipeline.report.rendering import render

_REFERENCE = "random (reference)"


def as_text(suite: Suite, scored: Sequence[Scored]) -> str:
    """Returns a table with a row for each task, so that names stay whole, and what to know of it.

    Values of tasks are those of their metrics; `score` is the mean skill.
    """
    names = [one.name for one in scored]
    rows = [["task", "metric", _REFERENCE, *names]]
    for name, task in suite.tasks.items():
        values = [_cell(one.values.get(name)) for one in scored]
        rows.append([name, task.metric, f"{suite.reference[name]:.4f}", *values])
    rows.append(["score", "skill", "0.0000", *(_cell(one.score) for one in scored)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines += [f"{name} is not measured: {reason}." for name, reason in suite.without.items()]
    return "\n".join([*lines, *_remarks(suite, scored)])


def as_json(suite: Suite, scored: Sequence[Scored]) -> str:
    """Returns all figures with their intervals."""
    content: dict[str, Any] = {
        "log": suite.log.name,
        "hidden": sorted(suite.log.hidden),
        "users": len(suite.log.users),
        "items": len(suite.log.items),
        "tasks": {
            name: {
                "kind": task.kind,
                "metric": task.metric,
                "about": task.about,
                "reference": suite.reference[name],
            }
            for name, task in suite.tasks.items()
        },
        "not_measured": suite.without,
        "rows": [{"embedding": one.name, **asdict(one)} for one in scored],
    }
    for row in content["rows"]:
        del row["name"]
    return json.dumps(content, indent=1) + "\n"


def render_embeddings(suite: Suite, scored: Sequence[Scored]) -> str:
    """Returns the page, a table with a row for each embedding."""
    return render(
        "embeddings.html",
        title=suite.log.name,
        suite=suite,
        scored=sorted(scored, key=lambda one: -one.score.value if one.score else 1.0),
        readings={
            name: next((one.readings[name] for one in scored if name in one.readings), {})
            for name in suite.tasks
        },
        reference=_REFERENCE,
        missing=_remarks(suite, scored),
    )


def _cell(value: Measured | None) -> str:
    return f"{value.value:.4f}" if value else "-"


def _remarks(suite: Suite, scored: Sequence[Scored]) -> list[str]:
    """Says what embeddings lack, and which may have read what they are asked about."""
    remarks = []
    for one in scored:
        if one.score is None:
            remarks.append(
                f"{one.name} has not both users and items: tasks that need them are not measured, "
                "and there is no score."
            )
        elif one.missing_users or one.missing_items:
            remarks.append(
                f"{one.name} lacks {one.missing_users:,} of {len(suite.log.users):,} users and "
                f"{one.missing_items:,} of {len(suite.log.items):,} items, which count as zeros."
            )
        if one.events and suite.log.events and one.events > suite.log.events:
            remarks.append(
                f"Warning: {one.name} was made from {one.events:,} events, and the known part has "
                f"{suite.log.events:,}. It may have read what it is asked about."
            )
    return remarks
