"""What of the log is seen on the terminal as it happens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from absl import logging

from models import trainer
from models.defaults import LogStatistics
from tfx_pipeline.config_file import load_config
from tfx_pipeline.runners.console import Console


def test_what_follows_from_the_log_is_shown_when_it_is_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    counts = LogStatistics(60, 9, 8, 50, 0.1, 9, False)
    monkeypatch.setattr(trainer, "log_statistics", lambda data: counts)
    config, data = load_config("template").retrieval, Any
    assert config
    with Console(tmp_path / "log.txt", ["trainer", "evaluator"]):
        logging.info("Component trainer is running.")
        _, report = trainer.resolved(config.trainer, data)
        logging.info("something else")
        logging.info("Component trainer is finished.")
    *lines, last = capfd.readouterr().err.splitlines()
    chosen = [
        f"chosen {key} {one['value']}: {one['reason']}" for key, one in report["chosen"].items()
    ]
    assert len(chosen) > 5 and [line.strip() for line in lines] == chosen
    assert last.startswith("[ 1/2] trainer")
    assert "something else" in (tmp_path / "log.txt").read_text()
