"""Set-up's choice of a row of the support matrix, by what a machine has."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OLDER, NEWER = "TFX 1.16", "TFX 1.21"


def choice(
    tmp_path: Path,
    glibc: str,
    pythons: list[str],
    row: str = "",
    venv: str = "",
    finished: bool = True,
) -> tuple[int, str]:
    """Runs a copy of the script where `getconf` and some Pythons are what is given."""
    script = tmp_path / "scripts" / "bootstrap.sh"
    script.parent.mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "bootstrap.sh", script)
    programs = tmp_path / "bin"
    programs.mkdir()
    _program(programs / "getconf", f"echo glibc {glibc}")
    for version in pythons:
        _python(programs / f"python{version}", version)
    if venv:
        (tmp_path / ".venv" / "bin").mkdir(parents=True)
        _python(tmp_path / ".venv" / "bin" / "python", venv)
    if venv and finished:
        (tmp_path / ".venv" / ".vitrine-installed").touch()
    for tool in ("bash", "cut", "dirname", "grep", "head", "ls", "sort"):
        (programs / tool).symlink_to(shutil.which(tool) or tool)
    environment = {"PATH": str(programs), "HOME": str(tmp_path), "VITRINE_ROW": row}
    done = subprocess.run(
        [str(programs / "bash"), str(script), "--row"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def _program(path: Path, line: str) -> None:
    path.write_text(f"#!{shutil.which('bash')}\n{line}\n")
    os.chmod(path, 0o755)


def _python(path: Path, version: str) -> None:
    """Makes a program that knows its version alone, as the script asks for it."""
    _program(path, f"[[ $2 == *\"!= '{version}'\"* ]]")


@pytest.mark.parametrize(
    ("glibc", "pythons", "row", "why"),
    [
        ("2.36", ["3.10", "3.13"], OLDER, "needs glibc 2.39"),
        ("2.38", ["3.12"], OLDER, "needs glibc 2.39"),
        ("2.41", ["3.13"], NEWER, "glibc is 2.39 or newer"),
        ("2.41", ["3.10", "3.12"], NEWER, "glibc is 2.39 or newer"),
        ("2.100", ["3.12"], NEWER, "glibc is 2.39 or newer"),
        ("2.41", ["3.10", "3.11"], OLDER, "neither 3.12 nor 3.13"),
        ("2.41", [], NEWER, "glibc is 2.39 or newer"),
    ],
)
def test_the_machine_chooses(
    tmp_path: Path, glibc: str, pythons: list[str], row: str, why: str
) -> None:
    code, said = choice(tmp_path, glibc, pythons)
    assert code == 0
    assert said.startswith(row) and why in said


@pytest.mark.parametrize(
    ("venv", "row", "other"),
    [("3.10", OLDER, "3.12"), ("3.12", NEWER, "3.10"), ("3.13", NEWER, "3.10")],
)
def test_an_environment_keeps_its_row(tmp_path: Path, venv: str, row: str, other: str) -> None:
    _, said = choice(tmp_path, "2.41", ["3.10" if row == NEWER else "3.12"], venv=venv)
    assert said.startswith(row) and f"VITRINE_ROW={other}" in said


def test_an_environment_that_was_never_finished_keeps_nothing(tmp_path: Path) -> None:
    _, said = choice(tmp_path, "2.41", ["3.12"], venv="3.10", finished=False)
    assert said.startswith(NEWER)


def test_the_default_is_to_choose_by_the_machine(tmp_path: Path) -> None:
    first = choice(tmp_path / "unset", "2.36", ["3.12"])
    assert first == choice(tmp_path / "auto", "2.36", ["3.12"], row="auto")


def test_the_user_has_the_last_word(tmp_path: Path) -> None:
    _, said = choice(tmp_path, "2.41", ["3.12"], row="3.10")
    assert said.startswith(OLDER) and "VITRINE_ROW says so" in said


def test_a_row_that_is_none_is_refused(tmp_path: Path) -> None:
    code, said = choice(tmp_path, "2.41", ["3.12"], row="3.11")
    assert code == 1 and "3.10, 3.12 or auto, not 3.11" in said
