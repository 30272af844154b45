"""Memory and processor time of a process and all its children, sampled from outside."""

from __future__ import annotations

import csv
import subprocess
import time
from collections.abc import Iterable
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil


class Sample(NamedTuple):
    """What a tree of processes used up to a moment.

    Attributes:
        time: Seconds since the epoch.
        resident_bytes: Sum of the processes' resident sets; what they share counts for each.
        cpu_seconds: Processor time since the tree began, ended children included.
    """

    time: float
    resident_bytes: float
    cpu_seconds: float


class Usage(NamedTuple):
    """What was used between two moments.

    Attributes:
        peak_bytes: The largest resident set.
        cpu_seconds: Processor time.
    """

    peak_bytes: float
    cpu_seconds: float


def run_sampled(
    command: Sequence[str], samples: Path, log: Path, every: float = 0.5, **popen: object
) -> None:
    """Runs a command to its end and appends a sample of its process tree every so often.

    Args:
        command: What to run.
        samples: A file without header, one sample a line. A second command goes on in it,
            and counts its processor time from where the first one ended.
        log: What the command prints is appended here.
        every: Seconds between samples.
        **popen: Further arguments of `subprocess.Popen`.

    Raises:
        subprocess.CalledProcessError: The command failed; `log` says why.
    """
    before = highest = read_samples(samples)[-1].cpu_seconds if samples.exists() else 0.0
    with log.open("ab") as out, samples.open("a", newline="", encoding="utf-8") as file:
        child = subprocess.Popen(command, stdout=out, stderr=out, **popen)  # type: ignore[call-overload]
        writer = csv.writer(file)
        while child.poll() is None:
            sample = _sample(child.pid)
            if sample is not None:
                # A child that ends between two looks is missed once.
                highest = max(highest, before + sample.cpu_seconds)
                writer.writerow(sample._replace(cpu_seconds=highest))
                file.flush()
            time.sleep(every)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, list(command))


def read_samples(path: Path) -> list[Sample]:
    """Reads what `run_sampled` wrote, in the order of time."""
    with path.open(newline="", encoding="utf-8") as file:
        return [Sample(*map(float, row)) for row in csv.reader(file)]


def used_between(samples: Iterable[Sample], start: float, end: float) -> Usage:
    """Returns what was used between two moments.

    Args:
        samples: In the order of time.
        start: Seconds since the epoch.
        end: Likewise.

    Returns:
        The peak over the samples in between and the newest before them, which is all that
        there is of something shorter than the interval of the samples.

    Raises:
        ValueError: There is no sample as early as that.
    """
    before = [sample for sample in samples if sample.time <= end]
    first = max((i for i, sample in enumerate(before) if sample.time <= start), default=0)
    if not before:
        raise ValueError(f"Expected samples from {start} to {end}; the first one is later.")
    inside = before[first:]
    return Usage(
        max(sample.resident_bytes for sample in inside),
        inside[-1].cpu_seconds - inside[0].cpu_seconds,
    )


def _sample(pid: int) -> Sample | None:
    """Samples a tree; None if it has just ended."""
    resident = busy = 0.0
    try:
        root = psutil.Process(pid)
        tree = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return None
    for process in tree:
        try:
            with process.oneshot():
                resident += process.memory_info().rss
                busy += sum(process.cpu_times()[:4])  # its own and its ended children's
        except psutil.NoSuchProcess:
            continue
    return Sample(time.time(), resident, busy)
