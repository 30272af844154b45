"""Children that end with their parent, even one that is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serving.child_process import ending_with_parent

ROOT = Path(__file__).parents[2]
CHILD = "import os, time; print(os.getpid(), file=open('pid', 'w'), flush=True); time.sleep(600)"
STARTERS = {
    "a command": (
        "import subprocess, sys; from serving.child_process import ending_with_parent; "
        "subprocess.run(ending_with_parent([sys.executable, 'child.py']))"
    ),
    "a step of the index": (
        "from serving.index.processes import run_module; run_module('child', [])"
    ),
    "the validator's server": (
        "import sys, time; from pathlib import Path\n"
        "from tfx_pipeline.components.serving_validator.server import running\n"
        "with running([sys.executable, 'child.py'], Path('log')): time.sleep(600)"
    ),
}


def ended(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"  # nobody has asked for its exit code yet


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of a parent's end")
@pytest.mark.parametrize("starter", STARTERS.values(), ids=STARTERS)
def test_a_killed_parent_takes_its_child_along(starter: str, tmp_path: Path) -> None:
    (tmp_path / "child.py").write_text(CHILD)
    paths = [str(ROOT), str(tmp_path), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    parent = subprocess.Popen([sys.executable, "-c", starter], cwd=tmp_path, env=environment)
    pid = tmp_path / "pid"
    try:
        while not (pid.exists() and pid.read_text().endswith("\n")):
            assert parent.poll() is None
            time.sleep(0.02)
    finally:
        parent.kill()
        parent.wait()
    child = int(pid.read_text())
    while not ended(child):  # the time limit of the test is the patience
        time.sleep(0.02)


def test_the_command_keeps_its_arguments_exit_code_and_environment() -> None:
    code = (
        "import os, sys; print(sys.argv[1:], os.environ['MARK'], sys.flags.isolated); sys.exit(7)"
    )
    command = ending_with_parent([sys.executable, "-c", code, "a b", "-x"])
    environment = {**os.environ, "MARK": "here"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout) == (7, "['a b', '-x'] here 0\n")


def test_a_program_that_cannot_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such program: '/no/server'"):
        ending_with_parent(["/no/server"])
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x00not a program")
    broken.chmod(0o755)
    done = subprocess.run(
        ending_with_parent([str(broken)]), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"Cannot run {broken}: ")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of a parent's end")
def test_a_parent_that_is_gone_already_leaves_no_child(tmp_path: Path) -> None:
    command = ending_with_parent([sys.executable, "-c", "open('ran', 'w')"])
    command[command.index(str(os.getpid()))] = "1"  # as if another process had adopted it
    if os.getpid() != 1:
        assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 1
        assert not (tmp_path / "ran").exists()
