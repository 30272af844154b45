"""The verdict of a validator: a blessing as TFX's Evaluator writes one, and its report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import logging

REPORT = "report.json"  # beside a verdict


def write_verdict(blessing: Any, report: Mapping[str, Any], kind: str, judged: Any) -> None:
    """Writes a report and its verdict into the blessing's directory and onto the artifact.

    Args:
        blessing: A `ModelBlessing`.
        report: What was found, with `blessed`.
        kind: What was judged, a word: `index`, `model` or `neighbours`.
        judged: Its artifact.
    """
    from tfx.components.evaluator import constants  # takes 17 s, which `REPORT` alone need not

    folder = Path(blessing.uri)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report, indent=1) + "\n"
    (folder / REPORT).write_text(text, encoding="utf-8")
    blessing.set_string_custom_property(f"current_{kind}", judged.uri)
    blessing.set_int_custom_property(f"current_{kind}_id", judged.id)
    good = bool(report["blessed"])
    (folder / (constants.BLESSED_FILE_NAME if good else constants.NOT_BLESSED_FILE_NAME)).touch()
    blessing.set_int_custom_property(
        constants.ARTIFACT_PROPERTY_BLESSED_KEY,
        constants.BLESSED_VALUE if good else constants.NOT_BLESSED_VALUE,
    )
    if not good:
        logging.error("Not blessed, %s: %s.", judged.uri, "; ".join(report["reasons"]))


def read_reasons(folder: Path) -> list[str]:
    """Returns why a verdict is bad, as the report beside it says; nothing without one."""
    report = folder / REPORT
    found = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}
    return list(found.get("reasons", []))
