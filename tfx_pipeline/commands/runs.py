"""`vitrine runs`: the runs of a directory, one of them, or what changed between two."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tfx_pipeline.report import facts
from tfx_pipeline.runners.recorded import RecordedRun
from tfx_pipeline.runners.recorded import read_run
from tfx_pipeline.runners.recorded import read_runs
from tfx_pipeline.stages.table import STAGES


def list_runs(run_dir: Path) -> str:
    """Returns a line for each run of a directory, the newest last.

    Raises:
        ValueError: No run ever began there.
    """
    rows = [("run", "started (UTC)", "seconds", "state", "components", "verdict")]
    for run in read_runs(run_dir):
        row = (f"{run.started:%Y-%m-%d %H:%M:%S}", f"{run.seconds:,.0f}", _state(run))
        rows.append((str(run.number), *row, facts.counted_steps(run), facts.verdicts(run)))
    return _table(rows)


def show_run(place: str) -> str:
    """Returns a run's components, metrics and configuration as text.

    Args:
        place: A run's directory, or `DIR@NUMBER` for an earlier run of it.

    Raises:
        ValueError: There is no such run.
    """
    run = read_run(place)
    lines = [
        f"run        {run.number} of {run.run_dir}, TFX's id {run.run_id}",
        f"pipeline   {run.pipeline}",
        f"started    {run.started:%Y-%m-%d %H:%M:%S} UTC, {run.seconds:,.0f} s",
        f"state      {_state(run)}",
        f"verdict    {facts.verdicts(run) or 'none'}",
        f"data       {facts.data_fingerprint(run) or 'not read'}",
        "",
    ]
    rows = [("component", "state", "seconds", "code version")]
    rows += [(s.node, s.state, f"{s.seconds:,.1f}", s.code_version) for s in run.steps.values()]
    lines += [_table(rows), "", "metrics"]
    lines += [f"  {name}: {value:.5g}" for name, value in facts.headline(run).items()]
    lines += ["", "configuration"]
    lines += [f"  {key}: {value}" for key, value in facts.settings(run).items()]
    return "\n".join(lines)


def compare_runs(old: str, new: str | None) -> str:
    """Says what changed between two runs.

    Args:
        old: A run's directory, or `DIR@NUMBER`.
        new: Another; when None, the two newest runs of the directory `old` are compared.

    Raises:
        ValueError: There are no such runs.
    """
    if new is not None:
        return _differences(read_run(old), read_run(new))
    found = read_runs(old)
    if len(found) < 2:
        raise ValueError(f"{old} has one run. Name another directory to compare it with.")
    return _differences(*found[-2:])


def _differences(old: RecordedRun, new: RecordedRun) -> str:
    lines = [f"from {_name(old)}", f"to   {_name(new)}"]
    sections = {
        "data": ({"fingerprint": facts.data_fingerprint(one)} for one in (old, new)),
        "code versions": (facts.code_versions(one) for one in (old, new)),
        "configuration": (facts.settings(one) for one in (old, new)),
        "gates": (_gates(one) for one in (old, new)),
    }
    for title, (before, after) in sections.items():
        changed = [
            f"  {key}: {after.get(key, 'none')} (was {before.get(key, 'none')})"
            for key in before | after
            if before.get(key) != after.get(key)
        ]
        lines += [title if changed else f"{title}: the same", *changed]
    was, now = facts.headline(old), facts.headline(new)
    lines.append("metrics" if was or now else "metrics: none were measured")
    for name in was | now:
        change = f" ({now[name] - was[name]:+.4g})" if name in was and name in now else ""
        both = (f"{one[name]:.5g}" if name in one else "none" for one in (was, now))
        lines.append(f"  {name}: {' -> '.join(both)}{change}")
    return "\n".join(lines)


def _gates(run: RecordedRun) -> dict[str, str]:
    return {
        node: "blessed" if blessed else "refused"
        for stage in STAGES.values()
        for node, blessed in facts.gates(run, stage).items()
    }


def _state(run: RecordedRun) -> str:
    return f"{run.state} in {run.stopped_in}" if run.stopped_in else run.state


def _name(run: RecordedRun) -> str:
    return f"run {run.number} of {run.run_dir}, {run.started:%Y-%m-%d %H:%M:%S} UTC, {_state(run)}"


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
