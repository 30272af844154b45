"""The rows of the support matrix beside each other: taken in turns, resumed, compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import rows
from benchmarks.results import Results

TRAINING = "training_examples_per_second"


def test_rows_take_turns_and_what_is_there_is_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    turns = []

    def on_row(stack: str, name: str, seed: int) -> dict[str, float]:
        turns.append((stack, seed))
        return {"value": 100.0 + 10 * seed - 20 * (stack == rows.SECOND), "load": 0.0}

    monkeypatch.setattr(rows, "on_row", on_row)
    monkeypatch.setattr(rows, "COLUMNS", ("name", "stack", "value"))
    monkeypatch.setattr(rows.platform, "python_version", lambda: "3.10.13")
    rows.main(["--only", TRAINING, "--seeds", "1"], tmp_path)
    rows.main(["--only", TRAINING, "--seeds", "2"], tmp_path)
    assert turns == [("3.10", 0), ("3.12", 0), ("3.10", 1), ("3.12", 1)]

    kept = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))["rows"]
    assert [(row["stack"], row["name"], row["value"]) for row in kept] == [
        ("3.10", TRAINING, 105.0),
        ("3.12", TRAINING, 85.0),
    ]
    assert "0.809 (0.800, 0.818)" in capsys.readouterr().out  # 80 / 100 and 90 / 110


def test_the_other_row_does_not_lead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows.platform, "python_version", lambda: "3.13.5")
    with pytest.raises(SystemExit, match="Expected Python 3.10, received 3.13.5"):
        rows.main(["--only", TRAINING], tmp_path)


def test_what_is_measured_here_is_printed_with_load_and_processor_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(rows.MEASURES, TRAINING, lambda folder, seed: 7.0 * seed)
    rows.main(["--here", TRAINING, "--seed", "3"])
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert printed["value"] == 21.0
    assert printed.keys() == {"value", "cpu_seconds", "load"} and printed["cpu_seconds"] > 0


def test_a_row_that_cannot_run_here_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "scripts" / "next.sh"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\necho 'Skipped: only root may mount.'\n", encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setattr(rows, "ROOT", tmp_path)
    with pytest.raises(RuntimeError, match="only root may mount"):
        rows.on_row(rows.SECOND, TRAINING, 0)


def test_rows_without_a_common_seed_are_not_compared(tmp_path: Path) -> None:
    results = Results("rows", rows.COMMAND, directory=tmp_path)
    results.measure({"stack": rows.FIRST, "name": TRAINING}, 0, lambda: {"value": 1.0})
    assert rows.compare(results, TRAINING).endswith("not measured on both rows")
