"""The command line: help is quick, and mistakes are messages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["data", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from tfx_pipeline.cli import cli; cli(sys.argv[1:], standalone_mode=False); "
        "heavy = {'tensorflow', 'tfx', 'apache_beam', 'pyarrow', 'scann', 'pydantic'}; "
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout


def test_a_mistake_is_a_message_and_no_stack_trace(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tfx_pipeline.cli", "run", "shop_demo"]
    done = subprocess.run(
        [*command, "--set", f"log_dir={tmp_path}/none"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "no event log" in done.stderr
    assert "Traceback" not in done.stderr
