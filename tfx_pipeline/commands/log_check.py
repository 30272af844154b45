"""What `vitrine run` asks of an event log before anything slow is imported."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

from tfx_pipeline.components.timeline_example_gen.config import ANY
from tfx_pipeline.components.timeline_example_gen.plan import make_plan
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.datasets.event_log import CATALOGUE_TABLE
from tfx_pipeline.datasets.event_log import EVENTS_TABLE
from tfx_pipeline.datasets.event_log import EventLog
from tfx_pipeline.datasets.problem import Problem
from tfx_pipeline.datasets.problem import counted
from tfx_pipeline.datasets.validate import Inspection
from tfx_pipeline.datasets.validate import inspect_event_log

MOST_ROWS = 2_000_000  # a few seconds
# Errors of single rows, which become dead letters: a few of them stop nobody.
_OF_ROWS = frozenset(
    "bad-image bad-position bad-price colon-in-type duplicate-row impression-without-page "
    "not-utf8 null-id null-ordinal null-time oversized-image related-form time-out-of-range "
    "type-in-id unknown-event-type unparsable-time vector-length vector-number".split()
)


def check_log(config: PipelineConfig) -> str:
    """Refuses an event log that the pipeline would choke on.

    Rows are read when there are at most `MOST_ROWS`; of a larger log only the
    manifest, the files, their columns and the names in the configuration are
    looked at, because the generator reads every row anyway.

    Args:
        config: What is to be run.

    Returns:
        What the log holds, in a few lines.

    Raises:
        ValueError: The log is not there or not sound, or does not have what
            the configuration names.
    """
    try:
        log = EventLog(config.log_dir)
    except FileNotFoundError as error:
        raise ValueError(
            f"`log_dir` has no event log to read. {error} "
            "The README tells how to bring your own data."
        ) from None
    meant = config.timeline.event_types
    found = inspect_event_log(
        log.path,
        event_types=() if ANY in meant else meant,
        images=config.timeline.include_images,
        most_rows=MOST_ROWS,
    )
    most = config.timeline.max_dead_letter_fraction
    errors = [problem for problem in found.problems if _stops(problem, found.totals, most)]
    if errors:
        told = "\n".join(map(str, errors))
        raise ValueError(f"The event log {log.path} cannot be used:\n{told}")
    _require_times(config, found.ordinal)
    wanted = {key: getattr(config, key) for key in ("target_events", "exclude_seen")}
    events = _names(
        log, EVENTS_TABLE, "event", found.summary.events, [*itertools.chain(*wanted.values())]
    )
    for key, names in wanted.items():
        _require(key, names, events)
    entities = found.summary.entities
    types = _names(log, CATALOGUE_TABLE, "entity_type", entities, config.candidate_types)
    _require("candidate_types", config.candidate_types, types)
    make_plan(config.log_dir, config.timeline)  # periods that do not fit are said here
    return _describe(log, found)


def _stops(problem: Problem, totals: dict[str, int], most: float) -> bool:
    """Returns whether a problem fails the run: any error, of rows above the share allowed."""
    if problem.severity != "error":
        return False
    few = problem.count <= most * totals.get(problem.table, 0)
    return not (problem.kind in _OF_ROWS and few)


def _names(
    log: EventLog, table: str, column: str, counted_names: Iterable[str], wanted: Iterable[str]
) -> list[str]:
    """Returns the names that a column holds; of a log not read, until all wanted are found."""
    names = set(counted_names)
    missing = set(wanted) - {ANY} - names
    if names or not missing:
        return sorted(names)
    for rows in log.row_groups(table, [column]):
        names.update(rows.column(column).unique().drop_null().to_pylist())
        if missing <= names:
            break
    return sorted(names)


def _require_times(config: PipelineConfig, ordinal: bool) -> None:
    """Raises when the model reads times and the log has an order only."""
    told = list(_switches(config.trainer.towers.model_dump(), f"trainer.{config.trainer.model}"))
    if ordinal and told:
        raise ValueError(
            f"`{told[0]}` is true: the model would read ages and hours. The log says that its "
            'times are an order only ("time": "ordinal" in manifest.json). Set it to false.'
        )


def _switches(values: dict[str, Any], prefix: str) -> Iterator[str]:
    """Yields the dotted keys of every `use_time` that is true."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _switches(value, f"{prefix}.{key}")
        elif key == "use_time" and value:
            yield f"{prefix}.{key}"


def _require(key: str, wanted: Iterable[str], names: list[str]) -> None:
    """Raises when the configuration names something that the log does not have."""
    for name in wanted:
        if name == ANY or name in names or not names:
            continue
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"; the nearest is `{near[0]}`" if near else ""
        raise ValueError(f"`{key}` names `{name}`{hint}. The log has {', '.join(names)}.")


def _describe(log: EventLog, found: Inspection) -> str:
    """Returns what the log holds, and what was not looked at or is worth a look."""
    if not found.summary.events:
        return (
            f"log    {log.path}: {counted(found.totals[EVENTS_TABLE], 'event')}. Columns and names "
            "were checked; `vitrine data validate` reads the rows too."
        )
    lines = [f"log    {log.path}", found.summary.text(found.ordinal)]
    remarks = sum(problem.severity != "info" for problem in found.problems)
    if remarks:
        lines.append(
            f"  {counted(remarks, 'remark')}: `vitrine data validate {log.path}` tells more"
        )
    return "\n".join(lines)
