"""The command `vitrine`, run as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from collections.abc import Mapping

# A benchmark measures what there is; the evaluator's gates are for what is pushed.
UNGATED = (
    "retrieval.evaluation.thresholds={}",
    "retrieval.evaluation.change_thresholds={}",
    "retrieval.evaluation.slice_thresholds={}",
    "retrieval.evaluation.beats_neighbours=null",
    "retrieval.evaluation.min_users=1",
)


def vitrine(
    *arguments: str, settings: Iterable[str] = (), environment: Mapping[str, str] | None = None
) -> str:
    """Runs `vitrine` in a process of its own.

    Args:
        arguments: The command and its options.
        settings: `key=value` pairs for `--set`.
        environment: Variables besides those of this process.

    Returns:
        What it printed.

    Raises:
        subprocess.CalledProcessError: The command failed; it has printed why.
    """
    command = [sys.executable, "-m", "tfx_pipeline.cli", *arguments]
    command += [part for pair in settings for part in ("--set", pair)]
    variables = {**os.environ, **(environment or {})}
    return subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env=variables
    ).stdout
