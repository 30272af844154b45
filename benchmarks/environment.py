"""Environment of a result: the commit, the machine and the event log."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
# Result files and the tables made from them change while benchmarks run.
_NOT_CODE = (":(exclude)benchmarks/results", ":(exclude)*.md")


def commit() -> str:
    """Returns the checkout's commit; it ends in `+` when tracked files differ from it."""
    try:
        name = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", *_NOT_CODE)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name + ("+" if changed else "")


@cache
def hardware() -> dict[str, str | int | float]:
    """Returns processor, usable cores, memory in GiB, system and Python version."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory, 1),
        "gpu": _gpus(),
        "system": f"{platform.system()} {platform.machine()}, {'-'.join(platform.libc_ver())}",
        "python": platform.python_version(),
    }


def machine(of: Mapping[str, str | int | float]) -> str:
    """Returns cores, processor, memory and GPU of a `hardware` in a line."""
    cores = int(of["cores"])
    unit = "core" if cores == 1 else "cores"
    return f"{cores} {unit} of {of['processor']}, {of['memory_gib']:.0f} GiB, GPU {of['gpu']}"


def _processor() -> str:
    """Returns the processor's name as Linux gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _gpus() -> str:
    """Returns the names of NVIDIA's cards, `none` without any."""
    files = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("Model")]
    return ", ".join(names) or "none"


def _git(*arguments: str) -> str:
    """Runs git in the checkout and returns what it prints."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def prepare_log(log_dir: Path, source: str, **options: Any) -> None:
    """Prepares an event log as `vitrine data prepare` does, unless it is there."""
    if not log_dir.exists():
        from tfx_pipeline.datasets.registry import prepare

        prepare(source, log_dir, **options)
