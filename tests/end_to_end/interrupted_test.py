"""A run that was killed goes on; a changed line runs again what depends on it, and no more."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Run
from tests.end_to_end.conftest import overrides

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

ROOT = Path(__file__).parents[2]
PACKAGES = ("models", "serving", "tfx_pipeline", "transforms")
BEFORE_TRAINER = {
    "timeline-example-gen",
    "curated-schema-gen",
    "statistics-gen",
    "example-validator",
    "transform",
}
PATIENCE = 600  # seconds, against hanging for ever


@pytest.fixture
def edited_sources(tmp_path: Path) -> Path:
    """A copy of the packages in which one line of a model file is another."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("*.pyc"))
    with (tmp_path / "models" / "two_tower" / "model.py").open("a") as file:
        file.write("# a changed line\n")
    return tmp_path


def start(sources: Path, arguments: list[str], output: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(sources)}
    command = [sys.executable, "-m", "tfx_pipeline.cli", "run", "shop_demo", *arguments]
    with output.open("wb") as file:
        return subprocess.Popen(command, cwd=sources, env=environment, stdout=file, stderr=file)


def from_cache(output: Path) -> set[str]:
    lines = [line.split() for line in output.read_text().splitlines() if "from cache" in line]
    return {words[words.index("from") - 1] for words in lines if "]" in " ".join(words[:2])}


@pytest.mark.parametrize("run", ["shop_demo"], indirect=True)
def test_kill_and_go_on_after_an_edit(run: Run, shop_log: Path, edited_sources: Path) -> None:
    run_dir = Path(run.config.run_dir)
    push_dir = edited_sources / "pushed"
    keys = (*overrides(shop_log, run_dir), f"push_dir={push_dir}")
    arguments = [word for key in keys for word in ("--set", key)]
    log = run_dir / "run.log"
    seen = log.stat().st_size

    # The edited line is seen: the Trainer runs again. Kill the run once it is through.
    first = start(edited_sources, arguments, edited_sources / "first.txt")
    deadline = time.time() + PATIENCE
    while b"Component index-builder is running." not in log.read_bytes()[seen:]:
        assert first.poll() is None, (edited_sources / "first.txt").read_text()
        assert time.time() < deadline
        time.sleep(0.2)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert from_cache(edited_sources / "first.txt") == BEFORE_TRAINER

    # The same command goes on behind what had finished, which the Trainer now is.
    second = start(edited_sources, arguments, edited_sources / "second.txt")
    assert second.wait(timeout=PATIENCE) == 0, (edited_sources / "second.txt").read_text()
    finished = BEFORE_TRAINER | {"latest-blessed", "trainer"}
    assert from_cache(edited_sources / "second.txt") == finished
    assert [path.name for path in push_dir.glob("[0-9]*")] == ["1"]
