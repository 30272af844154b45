"""The events that a run held out, and whether a model of an earlier run has seen them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from transforms.storage import place

HELD_OUT = "held_out.json"  # beside the metrics, so that it is pushed along
_REPORT = "generation_report.json"  # of the example generator
_TIME_CUT = "time-cut"
_RULES = {  # what decides which events are the last ones of a user
    "leave-last-out": ("target_events", "candidate_types", "min_target_events"),
    "leave-share-out": ("target_events", "candidate_types", "validation_share", "test_share"),
}

HeldOut = Mapping[str, Any]


def generated_split(examples: str | Path) -> HeldOut:
    """Returns how examples were divided, as the example generator reports it.

    Args:
        examples: Directory of the Examples artifact.

    Returns:
        `split` and, for `time-cut`, `validation_start` and `test_start` in microseconds, for
        other splits what decides which events are the last; nothing without a report.
    """
    report = _read(Path(examples, _REPORT))
    config = report.get("config", {})
    if config.get("split") == _TIME_CUT:
        return {
            "split": _TIME_CUT,
            "validation_start": report["validation_start"],
            "test_start": report["test_start"],
        }
    return {name: config[name] for name in ("split", *_RULES[config["split"]])} if config else {}


def write_held_out(examples: str | Path, evaluation: str | Path) -> None:
    """Writes beside the metrics what they were measured on; nothing where nobody knows."""
    found = generated_split(examples)
    if found:
        text = json.dumps(found, indent=1, sort_keys=True) + "\n"
        Path(evaluation, HELD_OUT).write_text(text, encoding="utf-8")


def read_held_out(evaluation: str | Path) -> HeldOut:
    """Returns what `write_held_out` wrote; nothing if it did not."""
    return _read(place(evaluation) / HELD_OUT)


def seen_before(earlier: HeldOut, now: HeldOut) -> str:
    """Says why a model of an earlier run may have seen what is the test now.

    A model of a `time-cut` run has learned from events before its validation period and was
    chosen by those in it; so it has seen all that came before its own test.

    Args:
        earlier: The split that the model was trained on.
        now: The split that it would be judged on.

    Returns:
        The reason; empty when it has not seen it, or when one of the two is not known.
    """
    if not earlier or not now:
        return ""
    if earlier["split"] != now["split"]:
        return (
            f"it was trained on the split {earlier['split']}, and the split is {now['split']} now"
        )
    if now["split"] == _TIME_CUT:
        if earlier["test_start"] <= now["test_start"]:
            return ""
        return (
            f"it has seen the events before {_date(earlier['test_start'])}, and the test starts at "
            f"{_date(now['test_start'])} now"
        )
    changed = [name for name in _RULES[now["split"]] if earlier[name] != now[name]]
    if not changed:
        return ""
    return f"it was trained with other {' and '.join(changed)}, which decide what is held out"


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _date(microseconds: int) -> str:
    return str(np.datetime64(microseconds, "us"))
