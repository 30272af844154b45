"""`vitrine index inspect`: what an index is made of, as text or JSON."""

from __future__ import annotations

import json
from typing import Any

from serving.index import files
from serving.index.building import curve
from serving.index.checking.inspect import inspect
from serving.index.checking.inspect import measure
from serving.index.config import CheckConfig
from serving.index.config import IndexConfig
from tfx_pipeline.commands.index_place import Place
from tfx_pipeline.datasets.problem import counted


def inspect_index(
    place: Place, measured: bool, queries: int | None, with_curve: bool, as_json: bool
) -> str:
    """Describes an index.

    Args:
        place: The index; see `find_index`.
        measured: Whether recall is measured again.
        queries: How many are asked then; as many as the validator asks when None.
        with_curve: Whether the curve of the tuning is printed.
        as_json: Whether the answer is JSON, which holds the curve in any case.

    Raises:
        ValueError: The index is damaged.
    """
    index = files.open_index(place.index)
    report = inspect(index, place.version)
    if measured:
        config = IndexConfig.model_validate(place.section("index"))
        check = config.section(CheckConfig)
        if queries is not None:
            check = check.model_copy(update={"validation_queries": queries})
        report["measured"] = measure(index, place.version, place.timelines(), check)
    if as_json:
        return json.dumps(report, indent=1, sort_keys=True)
    if with_curve and not measured:
        return curve.to_text(index.info["search"])
    more = ["", curve.to_text(index.info["search"])] if with_curve else []
    return "\n".join([*_lines(report), *more])


def _lines(report: dict[str, Any]) -> list[str]:
    types = ", ".join(f"{count:,} {name}" for name, count in report["candidate_types"].items())
    answers = f", answers by {report['answers']} search" if report["answers"] else ""
    lines = [
        f"index       {report['path']}",
        f"candidates  {report['candidates']:,} x {report['dimension']} ({types})",
        f"index type  {report['index_type']}{answers}",
    ]
    if report["because"]:
        lines.append(f"            {report['because']}")
    for name in ("build", "search"):
        known = {key: value for key, value in report[name].items() if value is not None}
        if known:
            words = " · ".join(f"{key} {value}" for key, value in known.items())
            lines.append(f"{name:<12}{words}")
    if report["leaves"]:
        leaves = report["leaves"]
        lines.append(
            f"leaves      {leaves['count']:,}: min {leaves['min']:,} · median "
            f"{leaves['median']:,.0f} · max {leaves['max']:,} · variation {leaves['cv']:.2f} · "
            f"{leaves['empty']:,} empty"
        )
    when = "updated" if report["updated"] else "built"
    lines.append(f"recall      {_recall(report['recall'], when)}")
    if report["updated"]:
        done = report["updated"]
        lines.append(
            f"updated     {counted(done['times'], 'time')}: {done['upserted']:,} put in, "
            f"{done['deleted']:,} taken out since leaves and codes were trained"
        )
    for where, parts in report["bytes"].items():
        if parts:
            sizes = " · ".join(f"{part} {size:,}" for part, size in parts.items())
            lines.append(f"bytes       {where} {sum(parts.values()):,}: {sizes}")
    if "measured" in report:
        lines += _measured(report["measured"])
    return lines


def _recall(found: dict[str, Any] | None, when: str) -> str:
    if found is None:
        return f"not measured when it was {when}"
    at = f"@{found['recall_at']} " if found["recall_at"] else ""
    on = f"{found['queries']:,} {found['asked']}"
    return f"{at}{found['recall']:.4f} of ScaNN when it was {when}, on {on}"


def _measured(measured: dict[str, Any]) -> list[str]:
    lines = [f"measured    on {measured['queries']:,} {measured['asked']}, against exact search"]
    for name, key in (("ScaNN", "scann"), (measured["answer"]["backend"], "answer")):
        one = measured[key]
        lines.append(
            f"            recall@{one['recall_at']} {one['recall']:.4f} of {name}, "
            f"{one['latency_ms']['p50']:.2f} ms a query (99 % within "
            f"{one['latency_ms']['p99']:.2f})"
        )
    return lines
