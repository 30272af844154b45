"""The doctor finds this environment sound, and says how to mend one that is not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tfx_pipeline import doctor

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_this_environment_is_sound() -> None:
    code = "import sys; from tfx_pipeline.cli import cli; cli(['doctor'], standalone_mode=False)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "with Keras 2" in done.stdout


def test_keras_3_is_named_with_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "TF_USE_LEGACY_KERAS", "0")
    check = doctor._keras_environment()
    assert check.status == "fail"
    assert "TF_USE_LEGACY_KERAS=1" in doctor.format_check(check)


def test_another_version_than_the_locked_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    python = sys.version_info[:2]
    row = doctor.Row("mine", (python,), (2, 27), {"numpy": "0.0.1", "no-such-package": "1"})
    monkeypatch.setattr(doctor, "ROWS", (row,))
    wrong, missing = doctor._packages()
    assert (wrong.status, missing.status) == ("warn", "fail")
    assert "tested with 0.0.1" in wrong.found


@pytest.mark.parametrize(
    ("python", "name", "lock"),
    [
        ((3, 10), "TFX 1.16", "requirements.lock"),
        ((3, 12), "TFX 1.21", "requirements-3.12.lock"),
        ((3, 13), "TFX 1.21", "requirements-3.12.lock"),
    ],
)
def test_a_row_is_what_its_lock_installs(python: tuple[int, int], name: str, lock: str) -> None:
    row = doctor.row_of(python)
    assert row is not None and row.name == name
    pinned = dict(re.findall(r"^([a-z0-9-]+)==([^ ]+)", (ROOT / lock).read_text(), re.MULTILINE))
    assert row.tested.items() <= pinned.items()


def test_no_row_runs_on_python_3_11() -> None:
    assert doctor.row_of((3, 11)) is None
