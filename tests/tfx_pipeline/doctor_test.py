"""The doctor finds this environment sound, and says how to mend one that is not."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tfx_pipeline import doctor


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
    monkeypatch.setattr(doctor, "TESTED", {"numpy": "0.0.1", "no-such-package": "1"})
    wrong, missing = doctor._packages()
    assert (wrong.status, missing.status) == ("warn", "fail")
    assert "tested with 0.0.1" in wrong.found
