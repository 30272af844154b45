"""Result files of benchmarks: written run by run, resumed, summarised.

    results = Results("throughput", command="python -m benchmarks.throughput", fresh=args.fresh)
    for seed in range(3):
        results.measure({"model": "two_tower"}, seed, lambda: {"hr@10": train(seed)})

`benchmarks/results/throughput.json` then holds every run with its commit, and
one row for each key with the mean and the deviation over its runs.
"""

from __future__ import annotations

import json
import math
import operator
import os
import statistics
import time
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

from benchmarks.environment import commit
from benchmarks.environment import hardware
from benchmarks.environment import machine

DIRECTORY = Path(__file__).parent / "results"
DEVIATION = "_deviation"

Label = str | int | float | bool


@dataclass(frozen=True)
class Run:
    """One finished measurement.

    Attributes:
        key: What the row of the table is named by, e.g. `{"model": "ease"}`.
        seed: The seed of the run.
        configuration: What else the values depend on; a run is kept only as
            long as this does not change.
        machine: What measured it, as `benchmarks.environment.machine` says it.
        values: What was measured.
        seconds: Wall time.
        commit: The commit that was measured; ends in `+` when tracked files differed from it.
    """

    key: dict[str, Label]
    seed: int
    values: dict[str, float]
    seconds: float
    commit: str
    configuration: dict[str, Any] = field(default_factory=dict)
    machine: str = field(default_factory=lambda: machine(hardware()))


class Results:
    """The runs of one benchmark, on disk after each of them.

    Args:
        name: The file is `<directory>/<name>.json`.
        command: What a reader types to make the file again.
        fresh: Forget the runs that are there.
        directory: Where result files are.
        is_same: Whether a kept run's configuration, which is not equal to the wanted one, says
            the same: an option that is younger than the run has its default there, which
            is what the run did without it.

    Raises:
        ValueError: The file is there and is not a result file.
    """

    def __init__(
        self,
        name: str,
        command: str,
        fresh: bool = False,
        directory: Path = DIRECTORY,
        is_same: Callable[[Mapping[str, Any], Mapping[str, Any]], bool] = operator.eq,
    ) -> None:
        self.path = directory / f"{name}.json"
        self.command = command
        self._is_same = is_same
        self.runs: list[Run] = []
        if self.path.exists() and not fresh:
            self.runs = _read_runs(self.path)

    def find(
        self,
        key: Mapping[str, Label],
        seed: int = 0,
        configuration: Mapping[str, Any] | None = None,
    ) -> Run | None:
        """Returns the kept run of this key, seed and configuration, if there is one."""
        wanted = _plain(configuration or {})
        for run in self.runs:
            if run.key == dict(key) and run.seed == seed:
                kept = run.configuration
                if kept == wanted or self._is_same(kept, wanted):
                    return run
        return None

    def measure(
        self,
        key: Mapping[str, Label],
        seed: int,
        run: Callable[[], Mapping[str, float]],
        configuration: Mapping[str, Any] | None = None,
        seconds: float | None = None,
    ) -> Run:
        """Runs what is missing and keeps it; a run that is there is returned as it is.

        Args:
            key: What the row is named by.
            seed: The seed of this run.
            run: Measures; returns finite numbers by name.
            configuration: What else the values depend on. A kept run of the
                same key and seed with another configuration is replaced.
            seconds: Wall time, where `run` only hands over what one process has
                measured for several rows.

        Returns:
            The run.

        Raises:
            ValueError: A value is not a finite number.
        """
        kept = self.find(key, seed, configuration)
        if kept is not None:
            return kept
        version, started = commit(), time.perf_counter()
        values = {name: float(value) for name, value in run().items()}
        seconds = time.perf_counter() - started if seconds is None else seconds
        wrong = {name: value for name, value in values.items() if not math.isfinite(value)}
        if wrong:
            raise ValueError(
                f"The run {dict(key)}, seed {seed}, should give finite values: {wrong}"
            )
        done = Run(dict(key), seed, values, round(seconds, 1), version, _plain(configuration or {}))
        self.runs = [r for r in self.runs if (r.key, r.seed) != (done.key, seed)] + [done]
        self.save()
        return done

    def rows(self) -> list[dict[str, Any]]:
        """Returns one row a key, in the order of first runs: mean, deviation, number of runs.

        The deviation is the sample standard deviation over the runs; it is 0
        for a single run, which `runs` tells apart.
        """
        groups: dict[str, list[Run]] = {}
        for run in self.runs:
            groups.setdefault(json.dumps(run.key, sort_keys=True), []).append(run)
        return [_summarise(group) for group in groups.values()]

    def having(self, columns: Iterable[str]) -> list[str]:
        """Returns those of some columns that any row has."""
        known = {name for row in self.rows() for name in row}
        return [name for name in columns if name in known]

    def save(self) -> None:
        """Writes the file aside and renames it, so that a killed benchmark loses nothing."""
        content = {
            "name": self.path.stem,
            "command": self.command,
            "commit": self.runs[-1].commit if self.runs else commit(),
            "hardware": hardware(),
            "wall_seconds": round(sum(run.seconds for run in self.runs), 1),
            "seeds": sorted({run.seed for run in self.runs}),
            "rows": self.rows(),
            "runs": [asdict(run) for run in self.runs],
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        aside = self.path.with_suffix(".json.partial")
        aside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        os.replace(aside, self.path)


def _summarise(group: list[Run]) -> dict[str, Any]:
    """Returns the row of runs with one key."""
    row: dict[str, Any] = dict(group[0].key)
    names = dict.fromkeys(name for run in group for name in run.values)
    for name in names:
        values = [run.values[name] for run in group if name in run.values]
        row[name] = statistics.fmean(values)
        row[name + DEVIATION] = statistics.stdev(values) if len(values) > 1 else 0.0
    row["runs"] = len(group)
    # Wall time of a run, unless the benchmark measures seconds of its own.
    row.setdefault("seconds", round(statistics.fmean(run.seconds for run in group), 1))
    return row


def _read_runs(path: Path) -> list[Run]:
    """Reads the runs of a result file."""
    try:
        return runs_of(json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} should be a result file with a list `runs`, but {error!r}. "
            "Move it away, or start over with --fresh."
        ) from error


def runs_of(content: Mapping[str, Any]) -> list[Run]:
    """Returns the runs in the content of a result file."""
    unnamed = {"machine": machine(content["hardware"])}  # runs once had none of their own
    return [Run(**unnamed | run) for run in content["runs"]]


def _plain(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the configuration as it comes back from JSON, so that it can be compared."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(configuration), sort_keys=True))
    return plain
