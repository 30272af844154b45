"""GMN, its arms and its baselines on a log of two kinds of entities; what its benchmarks share.

Trained rows are kept at their best epoch on the part `tune`, on which settings are chosen, too:
`--tune` prints what is reached there and writes nothing. All are asked with the training part.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from benchmarks.environment import ROOT
from benchmarks.environment import prepare_log
from benchmarks.results import DIRECTORY
from benchmarks.results import Label
from benchmarks.results import Results
from benchmarks.results_table import render

if TYPE_CHECKING:
    from benchmarks.two_kinds import Learned
    from benchmarks.two_kinds import Scorer
    from benchmarks.two_kinds import Task
    from benchmarks.two_kinds import TwoKinds
    from benchmarks.two_kinds_towers import Towers
    from models.config import RetrievalTrainerConfig

_NO_NODES = {"model.query.node_level": False}
_NO_PREFERENCES = {"model.query.preference_level": False}
_NO_LEVEL = _NO_NODES | _NO_PREFERENCES
# Trained rows that read both kinds: what each differs in from GMN.
ARMS: dict[str, dict[str, Any]] = {
    "pooled": _NO_LEVEL,
    "node_level": _NO_PREFERENCES,
    "preference_level": _NO_NODES,
    "gmn": {},
    "gmn_1_preference": {"model.query.preferences": 1},
    "gmn_2_preferences": {"model.query.preferences": 2},
    "gmn_8_preferences": {"model.query.preferences": 8},
    "gmn_several": {"model.query.vectors": "several"},
    "gmn_shuffled": {},
    "comirec": _NO_LEVEL,
}
TRAINED = ("two_tower", *ARMS)
COUNTED = ("popularity", "neighbours", "neighbours_both", "ease", "ease_both")
ROWS = (*COUNTED, "lightgcn", *TRAINED)


@dataclass(frozen=True)
class Benchmark:
    """A log, its task, and the settings that were chosen on `tune`.

    Attributes:
        name: Of the result file and the module.
        source: What `vitrine data prepare` knows.
        read: Reads what candidates of a type are learned from.
        k: Length of the lists.
        chosen_by: What the best epoch is told by, on `tune`.
        trainer: Of all trained rows, as nested values.
        gmn: What all rows that read both kinds differ in, by dotted key.
        counted: Rows that need no training, with their settings.
        lightgcn: Its settings.
        candidates: Types that are candidates in turn; one leaves the column out.
        options: Of `vitrine data prepare`.
    """

    name: str
    source: str
    read: Callable[[Path, str], Task]
    k: int
    chosen_by: str
    trainer: Mapping[str, Any]
    gmn: Mapping[str, Any]
    counted: Mapping[str, Mapping[str, Any]]
    lightgcn: Mapping[str, Any]
    candidates: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def measured(self) -> tuple[str, ...]:
        """The columns of the table."""
        named = ("candidates", "model") if len(self.candidates) > 1 else ("model",)
        of_test = [f"{name}@{self.k}" for name in ("recall", "hr", "ndcg")]
        return (*named, *of_test, "auc", "runs", "seconds")

    def config(self, row: str, seed: int, overrides: Mapping[str, Any]) -> RetrievalTrainerConfig:
        """Returns the configuration of a trained row."""
        from models.config import RetrievalTrainerConfig
        from models.defaults import changed
        from models.fixed_values import retrieval_trainer

        reads_both = row != "two_tower"
        values = {"candidate_types": ["candidate"], "seed": seed, "exclude_seen": ["*"]}
        model = {"family": "gmn" if reads_both else "two_tower"} | self.trainer["model"]
        config = retrieval_trainer({**self.trainer, **values, "model": model})
        differs = dict(self.gmn) | ARMS[row] if reads_both else {}
        whole = changed(config, differs | dict(overrides))
        assert isinstance(whole, RetrievalTrainerConfig)
        return whole

    def run(
        self, task: Task, row: str, seed: int, overrides: Mapping[str, Any], parts: tuple[str, ...]
    ) -> tuple[Callable[[], dict[str, float]], dict[str, Any]]:
        """Returns what measures a row, and what its values depend on."""
        make: Callable[[], Learned]
        if row in TRAINED:
            config = self.config(row, seed, overrides)
            make = partial(make_towers, task.data, row, config)
            settings = config.model_dump(mode="json", exclude={"seed"})
            return partial(train, self, task, row, make, config.epochs, parts), settings
        given = self.counted[row] if row in COUNTED else self.lightgcn
        settings = {**given, **overrides}
        if row in COUNTED:
            return partial(count, self, task, row, settings, parts), settings
        rest = {name: value for name, value in settings.items() if name != "epochs"}
        make = partial(make_lightgcn, task.data, rest, seed)
        return partial(train, self, task, row, make, settings["epochs"], parts), settings


def make_towers(data: TwoKinds, row: str, config: RetrievalTrainerConfig) -> Towers:
    """Makes the model of a row of `TRAINED`, with what it may read of the data."""
    from benchmarks.comirec import ComiRec
    from benchmarks.two_kinds_towers import Towers

    if row == "two_tower":
        data = data.without_others()
    if row == "gmn_shuffled":
        data = data.with_shuffled_others(config.seed)
    return Towers(data, config, ComiRec if row == "comirec" else None)


def make_lightgcn(data: TwoKinds, settings: Mapping[str, Any], seed: int) -> Learned:
    """Makes the model of the row `lightgcn`."""
    from benchmarks.lightgcn import LightGCN

    return LightGCN(data, **settings, seed=seed)


def train(
    benchmark: Benchmark,
    task: Task,
    row: str,
    make: Callable[[], Learned],
    epochs: int,
    parts: tuple[str, ...],
) -> dict[str, float]:
    """Trains a row and measures its best epoch on `tune`, and that one on the other parts."""
    model = make()
    best: dict[str, float] = {}
    for epoch in range(1, epochs + 1):
        loss = model.train_epoch()
        scorer = model.scorer()
        tuned = _measured(benchmark, scorer, task, ("tune",))
        print(f"{row}, epoch {epoch}: loss {loss:.3f}, {tuned}", flush=True)
        told_by = f"tune_{benchmark.chosen_by}"
        if tuned[told_by] > best.get(told_by, 0.0):
            best = tuned | _measured(benchmark, scorer, task, parts) | {"best_epoch": epoch}
    return best


def count(
    benchmark: Benchmark, task: Task, row: str, settings: Mapping[str, Any], parts: tuple[str, ...]
) -> dict[str, float]:
    """Counts what a row needs and measures it."""
    from benchmarks import two_kinds_counted

    made = getattr(two_kinds_counted, row.removesuffix("_both"))(task.data, **settings)
    return _measured(benchmark, made, task, ("tune", *parts))


def _measured(
    benchmark: Benchmark, scorer: Scorer, task: Task, parts: tuple[str, ...]
) -> dict[str, float]:
    """Measures parts; values are named by their part, but for the test's."""
    from benchmarks.two_kinds import measure

    values: dict[str, float] = {}
    for part in parts:
        held_out = task.held_out[part]
        found = measure(scorer, task.data.candidates, held_out, benchmark.k, task.few)
        prefix = "" if part == "test" else f"{part}_"
        values |= {prefix + name: round(value, 6) for name, value in found.items()}
    return values


def main(benchmark: Benchmark, arguments: list[str] | None = None) -> None:
    """Runs what is missing of a benchmark and prints the table."""
    options = _parse(benchmark, arguments)
    prepare_log(options.log_dir, benchmark.source, **benchmark.options)
    overrides = dict(pair.split("=", 1) for pair in options.overrides)
    overrides = {
        name: value if "." in name else json.loads(value) for name, value in overrides.items()
    }
    rows = options.only or [row for row in ROWS if row in (*benchmark.counted, *ROWS[5:])]
    command = f"python -m benchmarks.{benchmark.name}"
    results = Results(benchmark.name, command, directory=options.results_dir)
    if options.fresh:
        results.runs = [run for run in results.runs if run.key["model"] not in rows]
    parts = () if options.tune else ("test",)
    for candidates in options.candidates or benchmark.candidates:
        task = benchmark.read(options.log_dir, candidates)
        key: dict[str, Label] = {"candidates": candidates} if len(benchmark.candidates) > 1 else {}
        for row in rows:
            for seed in range(1 if row in COUNTED else options.seeds):
                run, settings = benchmark.run(task, row, seed, overrides, parts)
                if options.tune:
                    print(candidates, row, seed, run(), flush=True)
                else:
                    results.measure(key | {"model": row}, seed, run, settings)
    if not options.tune:
        _sort(results, benchmark)
        print(render(results.path, benchmark.measured))


def _sort(results: Results, benchmark: Benchmark) -> None:
    """Puts runs in the order of types and rows."""
    order = {name: place for place, name in enumerate((*benchmark.candidates, *ROWS))}

    def place(run: Any) -> tuple[int, int, int]:
        named = str(run.key.get("candidates", benchmark.candidates[0]))
        return order.get(named, 99), order.get(str(run.key["model"]), 99), run.seed

    results.runs.sort(key=place)
    results.save()


def _parse(benchmark: Benchmark, arguments: list[str] | None) -> argparse.Namespace:
    """Reads the options of the command line."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{benchmark.name}")
    parser.add_argument("--fresh", action="store_true", help="forget what was measured before")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=ROWS, nargs="+", help="some rows")
    parser.add_argument("--candidates", choices=benchmark.candidates, nargs="+", help="some types")
    parser.add_argument("--tune", action="store_true", help="measure the part `tune` alone")
    parser.add_argument("--log-dir", type=Path, default=ROOT / "data" / benchmark.source)
    parser.add_argument("--results-dir", type=Path, default=DIRECTORY)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    return parser.parse_args(arguments)
