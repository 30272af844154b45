"""Runs after the first, of one model: what the cache answers, what a changed line runs again.

What holds for any model is tried with one: each family costs a run as it is.
"""

from __future__ import annotations

import ast
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.end_to_end.conftest import DATA
from tests.end_to_end.conftest import UNRANKED
from tests.end_to_end.conftest import Run
from tests.end_to_end.conftest import overrides
from tests.end_to_end.conftest import pushed
from tests.helpers.pages import Page
from tfx_pipeline.cli import cli
from tfx_pipeline.commands.report import write_report
from tfx_pipeline.commands.run import REFUSED
from tfx_pipeline.commands.run import execute
from tfx_pipeline.config_file import load_config

pytestmark = [
    pytest.mark.slow,
    pytest.mark.e2e,
    pytest.mark.parametrize("run", ["shop_demo"], indirect=True),
]

ROOT = Path(__file__).parents[2]
PACKAGES = ("models", "serving", "tfx_pipeline", "transforms")
PATIENCE = 600  # seconds, against hanging for ever


def keys_of(run: Run, shop_log: Path, push_dir: Path | None = None) -> tuple[str, ...]:
    """Returns the overrides of the run without its ranker, with another push directory if given."""
    where = push_dir or run.version.parents[1]
    return (*overrides(shop_log, Path(run.config.run_dir)), *UNRANKED, f"push_dir={where}")


def arguments_of(keys: tuple[str, ...]) -> list[str]:
    return [word for key in keys for word in ("--set", key)]


def run_and_kill(sources: Path, run: Run, keys: tuple[str, ...], words: bytes) -> set[str]:
    """Runs the command until its log has the words; returns what came from the cache."""
    log = Path(run.config.run_dir, "run.log")
    output = Path(run.config.run_dir, "killed.txt")
    seen = log.stat().st_size
    command = [sys.executable, "-m", "tfx_pipeline.cli", "run", run.name, *arguments_of(keys)]
    environment = os.environ | {"PYTHONPATH": str(sources)}
    with output.open("wb") as file:
        process = subprocess.Popen(command, cwd=sources, env=environment, stdout=file, stderr=file)
    deadline = time.time() + PATIENCE
    while words not in log.read_bytes()[seen:]:
        assert process.poll() is None, output.read_text()
        assert time.time() < deadline
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    lines = [line.split() for line in output.read_text().splitlines() if "from cache" in line]
    return {line[line.index("from") - 1] for line in lines if "]" in " ".join(line[:2])}


@pytest.fixture
def edited_sources(tmp_path: Path) -> Path:
    """A copy of the packages in which one line of a model file is another."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("*.pyc"))
    with (tmp_path / "models" / "two_tower" / "model.py").open("a") as file:
        file.write("# a changed line\n")
    return tmp_path


@dataclass(frozen=True)
class Second:
    """A run that starts from what an earlier one pushed, and was killed on its way.

    Attributes:
        one: The earlier run's configuration, with the push directory of both.
        log: What the run logged.
        cached_first: What came from the cache before it was killed.
        cached: What came from the cache when it went on.
        metrics: What it measured.
        versions: What is pushed at its end.
    """

    one: Any
    log: str
    cached_first: set[str]
    cached: set[str]
    metrics: dict[str, Any]
    versions: list[str]


@pytest.fixture(scope="module")
def second(run: Run, shop_log: Path, tmp_path_factory: pytest.TempPathFactory) -> Second:
    """Pushes the run's model to a new directory, then trains another that starts from it."""
    push_dir = tmp_path_factory.mktemp("push") / "pushed"
    keys = keys_of(run, shop_log, push_dir)
    one = load_config(run.name, keys)
    execute(one)
    log = Path(run.config.run_dir, "run.log")
    seen = len(log.read_bytes())
    keys = (*keys, "retrieval.trainer.warm_start=true", "retrieval.trainer.seed=5")
    # The words come once the Trainer is through.
    cached_first = run_and_kill(ROOT, run, keys, b"Component index-builder is running.")
    metrics, _, cached = execute(load_config(run.name, keys))
    text = log.read_bytes()[seen:].decode()
    return Second(one, text, cached_first, set(cached), metrics, pushed(push_dir / "retrieval"))


def test_a_changed_gate_runs_the_gate_again_and_refuses(run: Run, shop_log: Path) -> None:
    given = (
        *keys_of(run, shop_log),
        'retrieval.evaluation.thresholds={"hr@10": 0.99}',
        "retrieval.evaluation.min_users=1000",
    )
    config = load_config(run.name, given)
    metrics, _, cached = execute(config)
    assert set(cached) == DATA | {
        "trainer",
        "index-builder",
        "index-validator",
        "source-combiner",
        "servable-builder",
        "serving-validator",
        "latest-blessed",
    }
    assert metrics["gate"]["blessed"] == 0
    assert {failure.split()[0] for failure in metrics["gate"]["failures"]} == {"hr@10", "only"}
    assert pushed(run.version.parent) == ["1"]

    # The command says so with a return code of its own.
    result = CliRunner().invoke(cli, ["run", run.name, *arguments_of(given)])
    assert result.exit_code == REFUSED, result.output
    assert "NOT BLESSED" in result.output
    assert "retrieval.evaluation.min_users: 1000 (was 100)" in result.output
    assert "vitrine serve" not in result.output

    # And its report says why.
    page = Path(run.config.run_dir, "refused.html")
    write_report([run.config.run_dir], False, page, None)
    text = Page(page.read_text(encoding="utf-8")).text
    assert "retrieval: refused by evaluator" in text
    assert all(failure in text for failure in metrics["gate"]["failures"] if "`" not in failure)
    assert "Nothing was pushed: the model is not blessed" in text


def test_a_changed_line_runs_again_what_depends_on_it(
    run: Run, shop_log: Path, edited_sources: Path
) -> None:
    keys = keys_of(run, shop_log)
    assert run_and_kill(edited_sources, run, keys, b"Training model.") == DATA


@pytest.mark.nightly
def test_a_killed_run_goes_on_behind_what_had_finished(run: Run, second: Second) -> None:
    assert second.cached_first == DATA
    assert second.cached == DATA | {"latest-blessed", "trainer"}
    assert second.versions == ["1", "2"]


@pytest.mark.nightly
def test_the_next_run_starts_from_the_last_blessed_model(run: Run, second: Second) -> None:
    (taken,) = [
        line.rpartition("warm start: ")[2]
        for line in second.log.splitlines()
        if "warm start: {" in line
    ]
    counts = ast.literal_eval(taken)
    assert counts["left"] == 0 and counts["weights"] > 3 and counts["rows"] > 100
    assert second.metrics["gate"]["blessed"] == 1


@pytest.mark.nightly
def test_the_cache_does_not_answer_for_a_push_directory_that_changed(
    run: Run, second: Second
) -> None:
    one, push_dir = second.one, second.one.push_dir_of("retrieval")
    _, _, cached = execute(one)  # back to the first: it is compared with the second and pushed
    assert pushed(push_dir) == ["1", "2", "3"]
    assert {"trainer", "servable-builder"} <= set(cached)
    assert not {"latest-blessed", "evaluator", "pusher"} & set(cached)
    _, _, cached = execute(one)
    assert len(cached) == 16
    shutil.rmtree(push_dir)
    execute(one)
    assert pushed(push_dir) == ["1"]
