"""What `serve`, `recommend` and `demo` say to a user who got something wrong."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tfx_pipeline.cli import cli
from tfx_pipeline.commands.demo import run_demo
from tfx_pipeline.commands.serve import serve_run

ADDRESS = {"host": "127.0.0.1", "port": 0, "insecure": False}
WITHOUT_TFX = """
import importlib.abc
import sys


class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("apache_beam", "scann", "tensorflow", "tfx"):
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)


sys.meta_path.insert(0, Refuse())
"""


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_an_unknown_option_names_the_nearest_and_nothing_else(tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:
        serve_run(None, tmp_path, None, ADDRESS, ("portt=3",))
    assert str(caught.value) == (
        "What the server was told is not a valid configuration:\n"
        "  `portt` is not a key of ServerConfig; the nearest is `port`."
    )


def test_a_value_of_a_wrong_type_is_told_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:
        serve_run(None, tmp_path, None, ADDRESS, ("batching.max_batch_size=0",))
    head, line = str(caught.value).splitlines()
    assert line.startswith("  batching.max_batch_size: ")
    assert "http" not in str(caught.value)


def test_serve_on_a_taken_port_says_how_to_choose_another(tmp_path: Path, taken: int) -> None:
    result = CliRunner().invoke(
        cli, ["serve", "--base-path", str(tmp_path), "--port", str(taken)], standalone_mode=False
    )
    assert isinstance(result.exception, ValueError)
    assert f"Port {taken} of 127.0.0.1 is taken" in str(result.exception)
    assert "--port" in str(result.exception)
    assert result.output == ""


def test_the_demo_looks_at_the_port_before_it_does_anything(
    tmp_path: Path, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"Port {taken} is taken.*DEMO_PORT.*--port"):
        run_demo(taken)
    assert list(tmp_path.iterdir()) == []


def test_a_timeout_is_positive() -> None:
    result = CliRunner().invoke(cli, ["recommend", "--user", "3", "--timeout", "0"])
    assert result.exit_code == 2
    assert "--timeout" in result.output


def without_tfx(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT_TFX + code]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_serve_and_recommend_start_without_the_pipeline() -> None:
    done = without_tfx("import tfx_pipeline.commands.recommend, tfx_pipeline.commands.serve")
    assert done.returncode == 0, done.stderr


def test_what_is_not_installed_is_named_with_the_extra() -> None:
    code = "from tfx_pipeline import cli\n"
    code += "cli.cli.add_command(cli.click.Command('needs', callback=lambda: __import__('tfx')))\n"
    done = without_tfx(code + "sys.argv = ['vitrine', 'needs']\ncli.main()")
    assert done.returncode == 1
    assert "No module named 'tfx'" in done.stderr
    assert "[pipeline]" in done.stderr
