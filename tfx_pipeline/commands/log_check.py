"""Checks of an event log that `vitrine run` makes before anything slow is imported."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

from tfx_pipeline.components.timeline_example_gen.config import ANY
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.datasets.event_log import EventLog
from tfx_pipeline.datasets.problem import counted
from tfx_pipeline.datasets.schemas import IMPRESSION
from tfx_pipeline.datasets.validate import Inspection
from tfx_pipeline.datasets.validate import inspect_event_log
from transforms.label_config import LabelConfig
from transforms.nearest import nearest

_OF_TIMES = ("use_time", "use_time_of_day")  # switches of models that read real times

_MORE_USERS = {  # how a split tests more users
    "time-cut": "Lengthen the test period (`timeline.test_days`)",
    "leave-last-out": "Lower `timeline.min_target_events`",
    "leave-share-out": "Raise `timeline.test_share`",
}


def check_log(config: PipelineConfig) -> str:
    """Refuses an event log that the pipeline would refuse, after some seconds a million rows.

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
    timeline = config.timeline_of_log
    found = inspect_event_log(
        log.path, timeline, images=timeline.include_images or config.makes_features
    )
    # What the configuration names comes first: a misspelt target leaves nobody to test.
    for key in ("target_events", "exclude_seen"):
        _require(key, getattr(config, key), found.summary.events)
    _require("candidate_types", config.candidate_types, found.summary.entities)
    if config.ranking:
        _require_label(config.ranking.label, found.summary.events)
    if found.refusal:
        raise ValueError(f"The event log {log.path} cannot be used:\n{found.refusal}")
    _require_times(config, found.ordinal)
    return "\n".join(filter(None, [_describe(log, found), warn_of_few_users(config, found)]))


def warn_of_few_users(config: PipelineConfig, found: Inspection) -> str:
    """Says that the gate will refuse a retrieval model for want of test users; "" if it will not.

    Args:
        config: What is to be run.
        found: What its split finds in the log.
    """
    if not (config.retrieval and found.splits):
        return ""
    (split,) = found.splits
    least = config.retrieval.evaluation.min_users
    if split.test >= least:
        return ""
    return (
        f"Warning: {counted(split.test, 'test user')} {'is' if split.test == 1 else 'are'} fewer "
        f"than `retrieval.evaluation.min_users` ({least:,}): nothing will be pushed. "
        f"{_MORE_USERS[config.timeline.split]}, bring more data, or lower `min_users`, though "
        "the metrics of so few are mostly chance."
    )


def _require_times(config: PipelineConfig, ordinal: bool) -> None:
    """Raises when the model reads times and the log has an order only."""
    sections = config.model_dump()
    told = list(_switches({stage: sections[stage] for stage in config.stages}))
    if ordinal and told:
        raise ValueError(
            f"`{told[0]}` is true: the model would read ages and hours. The log says that its "
            'times are an order only ("time": "ordinal" in manifest.json). Set it to false.'
        )


def _switches(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yields the dotted keys of every switch of `_OF_TIMES` that is true."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _switches(value, f"{prefix}{key}.")
        elif key in _OF_TIMES and value:
            yield f"{prefix}{key}"


def _require(key: str, wanted: Iterable[str], names: Iterable[str]) -> None:
    """Raises when the configuration names something that the log does not have."""
    known = sorted(names)
    for name in wanted:
        if name == ANY or name in known or not known:
            continue
        raise ValueError(
            f"`{key}` names `{name}`{nearest(name, known)}. The log has {', '.join(known)}."
        )


def _require_label(label: LabelConfig, events: Collection[str]) -> None:
    """Raises when the log has none of the rows that a ranking model is trained on."""
    _require("ranking.label.events", label.events, events)
    if label.source == "impressions" and events and IMPRESSION not in events:
        raise ValueError(
            "`ranking.label.source` is `impressions`, but the log has no event of the type "
            f"`{IMPRESSION}`. Set it to `values` or `events`, or leave `ranking` out."
        )


def _describe(log: EventLog, found: Inspection) -> str:
    """Returns what the log holds, and whether there is more to be said of it."""
    lines = [f"log    {log.path}", found.text()]
    remarks = sum(problem.severity != "info" for problem in found.problems)
    if remarks:
        lines.append(
            f"  {counted(remarks, 'remark')}: `vitrine data validate {log.path}` tells more"
        )
    return "\n".join(lines)
