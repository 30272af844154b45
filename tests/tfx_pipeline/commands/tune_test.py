"""Tests of what `vitrine tune` writes and refuses."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from models.tuning import Tuned
from models.tuning import require_validation
from tfx_pipeline.cli import cli
from tfx_pipeline.commands.tune import write_tuned
from tfx_pipeline.config_file import given_values
from tfx_pipeline.config_file import load_config


def test_what_is_written_is_what_run_takes(tmp_path: Path) -> None:
    values = {
        "epochs": 7,
        "model.loss": "sampled_softmax",
        "model.dim": 128,
        "optimizer.learning_rate": 0.00123,
        "model.query.dropout": 0.25,
        "model.loss.negatives": 256,
    }
    overrides = ("run_dir=there", "retrieval.trainer.seed=3")
    found = Tuned(values, "ndcg@10", 0.055, 0.05, 20, 4)
    write_tuned(tmp_path / "tuned.yaml", given_values("template", overrides), "retrieval", found)
    config = load_config(str(tmp_path / "tuned.yaml"))
    trainer = config.retrieval.trainer
    assert (trainer.epochs, trainer.seed, config.run_dir) == (7, 3, "there")
    assert trainer.model.family == "two_tower" and trainer.model.dim == 128
    assert trainer.optimizer.learning_rate == 0.00123
    assert trainer.model.loss.negatives == 256 and trainer.model.query.dropout == 0.25
    first = (tmp_path / "tuned.yaml").read_text().splitlines()[0]
    assert "ndcg@10 0.0550 on validation, 0.0500 before (+10.0%)" in first


def test_a_search_of_one_stage_keeps_what_that_of_the_other_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def search(config: Any, stage: str, *limits: Any) -> Tuned:
        rate = {"retrieval": 0.007, "ranking": 0.009}[stage]
        return Tuned({"optimizer.learning_rate": rate}, "hr@10", 0.055, 0.05, 20, 4)

    monkeypatch.setattr("tfx_pipeline.commands.tune.check_log", lambda config: "")
    monkeypatch.setattr("tfx_pipeline.commands.tune._search", search)
    both = ("--set", "ranking={}", "--set", f"run_dir={tmp_path}")
    first, second = tmp_path / "tuned.yaml", tmp_path / "tuned-ranking.yaml"
    for arguments, told in (
        (("shop_demo", *both), first),
        ((str(first), "--stage", "ranking"), second),
    ):
        done = CliRunner().invoke(cli, ["tune", *arguments, "--minutes", "1"])
        assert done.exit_code == 0 and done.output.endswith(f"run    vitrine run {told}\n")
    assert load_config(str(first)).retrieval.trainer.optimizer.learning_rate == 0.007
    config = load_config(str(second))  # made from the first, and so with the values of both
    assert config.retrieval.trainer.optimizer.learning_rate == 0.007
    assert config.ranking and config.ranking.trainer.optimizer.learning_rate == 0.009


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["template", "--minutes", "0"], "0.0 is not in the range"),
        (["template", "--minutes", "-1"], "is not in the range"),
        (["template"], "Missing option '--minutes'"),
        (["template", "--minutes", "1", "--trials", "0"], "0 is not in the range"),
        (["template", "--minutes", "1", "--metric", "hr@7"], "should be one of .*hr@10"),
        (["template", "--minutes", "1", "--stage", "ranking"], "no section `ranking`"),
        (["no_such", "--minutes", "1"], "No configuration `no_such`"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(cli, ["tune", *arguments])
    assert done.exit_code
    assert re.search(message, f"{done.output} {done.exception}")


def test_an_empty_validation_split_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Raise `timeline\.validation_days`"):
        require_validation(SimpleNamespace(validation_files=[]))
