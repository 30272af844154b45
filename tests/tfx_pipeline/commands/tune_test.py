"""Tests of what `vitrine tune` writes and refuses."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

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
