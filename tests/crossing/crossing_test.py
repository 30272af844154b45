"""What one row of the support matrix pushes, the other one serves, updates and trains on.

This environment is one row, the Debian 13 of `make test-next` the other one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.publishing.versions import pushed_versions
from tests.end_to_end.conftest import SHRUNK
from tests.end_to_end.conftest import USERS
from transforms.arrow import read_table

ROOT = Path(__file__).parents[2]
RELEASE = "trixie"
OTHER = ROOT / ".tools" / "next" / RELEASE / "vitrine" / ".venv" / "bin" / "python"
SETTINGS = (
    *SHRUNK,
    "ranking=null",
    "timeline.label={}",
    "retrieval.trainer.warm_start=true",
    "retrieval.trainer.deterministic=true",
    "retrieval.serving_validation.load_timeout_s=1800",  # nightly, beside whatever else runs
)
pytestmark = [
    pytest.mark.nightly,
    pytest.mark.e2e,
    pytest.mark.timeout(3_600),
    pytest.mark.skipif(not OTHER.is_symlink(), reason="no other row here: `make test-next`"),
]


class Shop:
    """A shop's folder, and commands on it in either environment."""

    def __init__(self, root: Path) -> None:
        self.root, self.log, self.run_dir = root, root / "log", root / "run"
        self.push_dir = self.run_dir / "pushed" / "retrieval"

    def python(self, there: bool, *words: object) -> str:
        """Runs `python -m` in this environment or the other; returns what it printed."""
        module = ["-m", *map(str, words)]
        script = [str(ROOT / "scripts" / "next.sh"), ".venv/bin/python"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "VITRINE_NEXT_SHARE": str(self.root)}
        environment["VITRINE_NEXT_RELEASE"] = RELEASE
        done = subprocess.run(
            [*(script if there else [sys.executable]), *module],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout

    def run(self, there: bool) -> str:
        """Runs the pipeline, which pushes a version; returns what TFX logged."""
        log = self.run_dir / "run.log"
        seen = log.stat().st_size if log.is_file() else 0
        settings = (f"log_dir={self.log}", f"run_dir={self.run_dir}", *SETTINGS)
        sets = [word for setting in settings for word in ("--set", setting)]
        self.python(there, "tfx_pipeline.cli", "run", "shop_demo", *sets)
        return log.read_bytes()[seen:].decode()

    def ask(self, there: bool, version: int) -> list[dict[str, Any]]:
        """Returns what the local server of an environment answers from a version."""
        printed = self.python(there, "tests.crossing.ask", self.push_dir, version)
        answers: list[dict[str, Any]] = json.loads(printed.splitlines()[-1])
        return answers


@pytest.mark.parametrize("there", [False, True], ids=["first-pushes", "second-pushes"])
def test_one_row_takes_over_from_the_other(there: bool, tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.python(
        there, "tfx_pipeline.cli", "data", "prepare", "shop", "--out", shop.log,
        "--set", f"users={USERS}", "--set", "images=false",
    )  # fmt: skip
    shop.run(there)
    assert pushed_versions(shop.push_dir) == [1]

    # Served: the same lists, and scores up to how differently two TensorFlows add.
    for mine, others in zip(shop.ask(there, 1), shop.ask(not there, 1), strict=True):
        assert len(mine["ids"]) == 10
        assert set(mine["ids"]) == set(others["ids"])
        np.testing.assert_allclose(mine["scores"], others["scores"], rtol=1e-4)

    # Updated: what is deleted is recommended no more.
    ids = read_table(shop.push_dir / "1/index/candidates.parquet", columns=["id"])["id"]
    gone = tmp_path / "gone.txt"
    gone.write_text("".join(f"{one}\n" for one in mine["ids"][:3]), encoding="utf-8")
    shop.python(
        not there, "tfx_pipeline.cli", "index", "update", "--run", shop.run_dir, "--delete", gone
    )
    assert pushed_versions(shop.push_dir)[-1] == 2
    left = read_table(shop.push_dir / "2/index/candidates.parquet", columns=["id"])["id"]
    assert len(left) == len(ids) - 3
    for answer in shop.ask(there, 2):
        assert not set(answer["ids"]) & set(mine["ids"][:3])

    # Evaluated beside, and trained on from, what is served.
    logged = shop.run(not there)
    assert "warm start: {" in logged
    assert "The baseline is version 2" in logged
    assert pushed_versions(shop.push_dir)[-1] == 3
    assert len(shop.ask(there, 3)[0]["ids"]) == 10
