"""Requirements on the counts of a generation."""

from __future__ import annotations

from typing import Any

from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.datasets.event_log import EVENTS_TABLE
from tfx_pipeline.datasets.matching import mismatch
from tfx_pipeline.datasets.rules import reason
from tfx_pipeline.datasets.schemas import features_table
from tfx_pipeline.datasets.validate_features import no_match
from transforms.features import PAGE_SPLITS
from transforms.label_config import LabelConfig
from transforms.storage import place


def check(log_dir: str, counts: dict[str, Any], config: TimelineConfig) -> None:
    """Fails when nothing good can come of what was generated.

    Args:
        log_dir: Directory of the event log.
        counts: The report.
        config: How timelines were cut.

    Raises:
        ValueError: The events or a declared field name other entities than the catalogue, a
            split is empty, or a label is never positive, or of values never negative.
    """
    _require_match(log_dir, counts, config)
    _require_fields(counts, config)
    _require_splits(counts, config)
    _require_labels(counts, config)


def _require_match(log_dir: str, counts: dict[str, Any], config: TimelineConfig) -> None:
    """Fails when the events and the catalogue name entities differently."""
    of_events = counts.get("events", {})
    removed = counts.get("dead_letters", {}).get(EVENTS_TABLE, {})
    told = mismatch(
        place(log_dir),
        of_events.get("may_be_targets_in_catalogue", 0),
        of_events.get("may_be_targets", 0) + removed.get(reason("unknown-entity", "", ""), 0),
        config.min_catalogue_match,
        config.candidate_types,
    )
    if told:
        raise ValueError(told)


def _require_fields(counts: dict[str, Any], config: TimelineConfig) -> None:
    """Fails when no row of a declared field is about an entity of the catalogue."""
    for name in config.catalogue_fields.names:
        found = counts.get("fields", {}).get(name, {})
        if found.get("rows") and not found.get("in_catalogue"):
            raise ValueError(no_match(features_table(name), found["rows"]))


def _require_splits(counts: dict[str, Any], config: TimelineConfig) -> None:
    empty = [split for split in config.splits if not counts.get(split, {}).get("examples")]
    if not empty or config.allow_empty_splits:
        return
    hint = (
        f"Users need at least min_target_events = {config.min_target_events} events of the types "
        f"{list(config.target_events)} on entities of the types {list(config.candidate_types)}."
        if config.split == "leave-last-out"
        else "Users need events before a cut and targets after it; see the periods or shares of "
        "the split, `target_events` and `candidate_types`."
    )
    if config.label and set(empty) <= set(PAGE_SPLITS):
        held = {
            "impressions": "result pages",
            "values": f"events of the types {list(config.label.events)} with a value other than 0",
            "events": f"events of the types {list(config.label.events)} on entities of the "
            f"catalogue of the types {list(config.candidate_types)}",
        }
        hint = f"Behind each cut there have to be {held[config.label.source]}."
    raise ValueError(
        f"No example in {', '.join(empty)} out of {counts['rows'][EVENTS_TABLE]:,} events of "
        f"{counts.get('users', {}).get('all', 0):,} users. {hint}"
    )


def _require_labels(counts: dict[str, Any], config: TimelineConfig) -> None:
    """Fails when a head of a ranking model would have nothing to learn from, or to be judged on."""
    if not config.label or config.allow_empty_splits:
        return
    if config.label.source == "values":
        _require_both_labels(counts, config.label)
    if config.label.source != "impressions":
        return
    found = counts.get("train", {}).get("labels", {})
    absent = [head for head in config.label.heads if not found.get(head)]
    if absent:
        raise ValueError(
            f"`label.events` asks for {absent}, but no impression of a training page is followed "
            "by such an event on its page. Events need the `page_id` and the entity of the "
            "impression, and a later time or ordinal; or name other types."
        )


def _require_both_labels(counts: dict[str, Any], label: LabelConfig) -> None:
    """Fails when the values of a split are all positive, or none of them is."""
    (head,) = label.heads
    for split in ("train", *PAGE_SPLITS):
        found = counts.get(split, {})
        rows, positive = found.get("candidates", 0), found.get("labels", {}).get(head, 0)
        if not 0 < positive < rows:
            raise ValueError(
                f"`label.at_least` = {label.at_least:g} makes {positive:,} of the {rows:,} values "
                f"in {split} positive: a ranking model needs positive and negative ones. Set a "
                "bound that divides the values, name other `label.events`, or hold out more."
            )
