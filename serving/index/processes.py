"""Runs a module in a process of its own and brings its errors back."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from collections.abc import Sequence

from serving.child_process import ending_with_parent

_EXPECTED_FAILURE = 3  # a failure whose message is for the user
_PREFIX = "error: "


@contextlib.contextmanager
def reporting_errors() -> Iterator[None]:
    """Ends the process with the message of a `ValueError` or `OSError`, without a traceback."""
    try:
        yield
    except (ValueError, OSError) as error:
        sys.stderr.write(_PREFIX + " ".join(str(error).split()) + "\n")
        raise SystemExit(_EXPECTED_FAILURE) from error


def run_module(module: str, arguments: Sequence[str]) -> str:
    """Runs `python -m module` with this interpreter and returns what it printed.

    Raises:
        ValueError: The module refused its input; with its message.
        RuntimeError: It ended in any other way; with its last lines.
    """
    done = subprocess.run(
        ending_with_parent([sys.executable, "-m", module, *arguments]),
        capture_output=True,
        text=True,
        errors="replace",
        env={"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ},
        check=False,
    )
    if done.returncode == 0:
        return done.stdout
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    if done.returncode == _EXPECTED_FAILURE and lines and lines[-1].startswith(_PREFIX):
        raise ValueError(f"`{module}`: {lines[-1][len(_PREFIX) :]}")
    ended = f"with exit code {done.returncode}"
    if done.returncode < 0:
        ended = f"by the signal {signal.Signals(-done.returncode).name}"
        ended += " (out of memory?)" if done.returncode == -signal.SIGKILL else ""
    tail = "\n".join(lines[-20:]) or "(it wrote nothing)"
    raise RuntimeError(f"`python -m {module}` ended {ended}. Its last lines:\n{tail}")
