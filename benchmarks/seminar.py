"""SEMINAR beside other models of long histories, on one event log, by the length of the history.

A benchmark says which log, how it is divided and which settings; `main` does what is missing:

    python -m benchmarks.seminar_trivago                                # does what is missing
    python -m benchmarks.seminar_trivago --only din seminar --lengths 50 100 --seeds 1
    python -m benchmarks.seminar_trivago --fresh                        # starts over

The rows are of six kinds, `model` by `length`, the newest events that are read:

- models of long histories, mean pooling and DIN over all events among them, and a sequence
  encoder over the newest 50;
- `seminar` after each loss of its pretraining alone, and after all of them; all else starts afresh;
- `seminar_unnormalised` and `twin_normalised`: `normalise` off in SEMINAR, and on in TWIN;
- `.._repeats`, which read whether the candidate itself is among the events (`use_repeats`), as
  SDIM's hashes tell without being told: the same items always collide;
- `seminar_without_queries`, whose pairs are items and whose requests have no query;
- controls: every page has the history of another user's page, and `din_longer` and
  `seminar_longer` train for as many steps more, in whole epochs, as the pretraining takes; as of
  all rows the best epoch on validation pages is taken, here of all of them.

`auc_lost` is how much lower the AUC is than with the exact search of the same weights, of
`seminar_quantised` and `seminar_coarse`.

`auc_rare` is over the candidates that training has at most ten times, as events or impressions.
See `benchmarks.ranking_models` for the other columns, and for what chooses the epoch.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from benchmarks.environment import ROOT
from benchmarks.ranking_models import CHOICE
from benchmarks.ranking_models import RankingBenchmark
from benchmarks.ranking_run import is_same_ranking
from benchmarks.ranking_run import pretrain
from benchmarks.ranking_run import run_ranking
from benchmarks.ranking_speed import training_data
from benchmarks.results import DIRECTORY
from benchmarks.results import Results
from benchmarks.results_table import render
from models.config import PretrainingTrainerConfig
from models.config import RankingTrainerConfig
from models.seminar.config import LossesConfig
from models.seminar.config import SeminarPretrainingConfig
from tfx_pipeline.runners.transformed import Transformed

if TYPE_CHECKING:
    from models.ranking.model import PageEvaluation

NEWEST = 50  # events that the sequence encoder reads
RARE = 10  # events and impressions of an item
SEMINAR = {"family": "seminar"}
DIN = {"family": "din"}
MODELS: dict[str, dict[str, Any]] = {
    "mean_pooling": {"family": "pooled_mlp"},
    "din": DIN,
    "sim_hard": {"family": "sim", "search": "hard"},
    "sim_soft": {"family": "sim", "search": "soft"},
    "eta": {"family": "eta"},
    "sdim": {"family": "sdim"},
    "twin": {"family": "twin"},
    "sequence_encoder": {"family": "sequence_ranker"},
    "seminar": SEMINAR,
    "seminar_quantised": SEMINAR | {"search": "quantised"},
    "seminar_coarse": SEMINAR | {"coarse": {"cells": 1_024, "events": 256, "more_events": 8}},
}
LOSSES = tuple(LossesConfig.model_fields)
PRETRAINED: dict[str, tuple[str, ...]] = {
    **{f"seminar_{name}": (name,) for name in LOSSES},
    "seminar_all_losses": LOSSES,
}
REPEATS = {
    f"{row}_repeats": MODELS[row] | {"use_repeats": True} for row in ("din", "sdim", "seminar")
}
WITHOUT_QUERIES = "seminar_without_queries"
# What normalised vectors in the attention are worth, in SEMINAR and in a published model.
NORMALISED = {
    "seminar_unnormalised": SEMINAR | {"normalise": False},
    "twin_normalised": MODELS["twin"] | {"normalise": True},
}
CONTROLS = {"din_other_histories": DIN, "seminar_other_histories": SEMINAR}
LONGER = {"din_longer": DIN, "seminar_longer": SEMINAR}
APPROXIMATE = ("seminar_quantised", "seminar_coarse")
ROWS: dict[str, dict[str, Any]] = {
    **MODELS,
    **dict.fromkeys(PRETRAINED, SEMINAR),
    **LONGER,
    **NORMALISED,
    **REPEATS,
    WITHOUT_QUERIES: SEMINAR | {"use_query": False, "use_event_query": False},
    **CONTROLS,
}
MEASURED = ("auc", "gauc", "log_loss", "calibration", "auc_rare")
COLUMNS = (
    "model",
    "length",
    "auc",
    "gauc",
    "auc_rare",
    "auc_lost",
    "calibration",
    "best_epoch",
    "runs",
)


@dataclass(frozen=True)
class SeminarBenchmark:
    """A benchmark of models of long histories on one event log.

    Attributes:
        ranking: The log, how it is divided, and what all models' Trainers have in common.
        lengths: Lengths of the history.
        pretraining: How SEMINAR is pretrained.
        prepare: Prepares the log, where that is more than `vitrine data prepare` does.
        without: Rows that the log has nothing for.
    """

    ranking: RankingBenchmark
    lengths: tuple[int, ...] = (50, 100, 200, 500, 1_000)
    pretraining: Mapping[str, Any] = field(default_factory=dict)
    prepare: Callable[[Path], None] | None = None
    without: tuple[str, ...] = ()

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of all rows, in the order of the table."""
        return tuple(row for row in ROWS if row not in self.without)

    def trainer_config(
        self, row: str, length: int, overrides: tuple[str, ...] = (), longer: int = 1
    ) -> RankingTrainerConfig:
        """Returns how a row's model is trained, but for the seed.

        Args:
            row: Of `ROWS`.
            length: Events that are read.
            overrides: `key=value` pairs in which it differs.
            longer: Epochs more of the rows of `LONGER`.
        """
        model = dict(ROWS[row])
        family = model.pop("family")
        window = min(length, NEWEST) if row == "sequence_encoder" else length
        chosen = replace(self.ranking, models={family: model | {"window": window}})
        if row in LONGER:
            epochs = self.ranking.trainer["epochs"] + longer
            choice = CHOICE["validation"] | {"patience": epochs}
            trainer = {**self.ranking.trainer, "epochs": epochs, "validation": choice}
            chosen = replace(chosen, trainer=trainer)
        return chosen.trainer_config(family, overrides)

    def pretraining_config(
        self, row: str, config: RankingTrainerConfig
    ) -> PretrainingTrainerConfig | None:
        """Returns how a row's model is pretrained, but for the seed; None where it is not.

        Args:
            row: Of `ROWS`.
            config: How it is trained then.
        """
        if row not in PRETRAINED:
            return None
        model = config.model.model_dump(include=set(SeminarPretrainingConfig.COMMON))
        used = {name: {"use": name in PRETRAINED[row]} for name in LOSSES}
        given = {"tensorboard": False, "checkpoints": False, "input": config.input.model_dump()}
        values = given | dict(self.ranking.shared) | dict(self.pretraining)
        values.pop("exclude_seen", None)
        values["model"] = model | {"losses": used}
        return PretrainingTrainerConfig.model_validate(values)

    def divided(self, lengths: Sequence[int]) -> RankingBenchmark:
        """Returns the log divided so that histories of the longest length are whole.

        The benchmark's own lengths count as well, whichever are measured: how timelines are cut
        decides how many pages training has, and all rows of a table are to have the same.
        """
        longest = max(*self.lengths, *lengths)
        timeline = dict(self.ranking.timeline)
        timeline["label"] = timeline["label"] | {"max_history": longest}
        timeline["context_events"] = longest
        timeline["max_events_per_example"] = max(4_096, 2 * longest)
        return replace(self.ranking, timeline=timeline)


def main(benchmark: SeminarBenchmark, arguments: list[str] | None = None) -> None:
    """Runs what is missing of a benchmark and prints the table."""
    name = benchmark.ranking.name
    options = _parse(benchmark, arguments)
    results = Results(
        name,
        f"python -m benchmarks.{name}",
        options.fresh,
        options.results_dir,
        is_same=is_same_run,
    )
    if benchmark.prepare and not options.log_dir.exists():
        benchmark.prepare(options.log_dir)
    divided = benchmark.divided(options.lengths)
    data = divided.examples(options.log_dir, options.run_dir, options.reuse)
    longer = epochs_of_pretraining(benchmark, data) if LONGER.keys() & set(options.only) else 1
    for seed in range(options.seeds):
        for length in options.lengths:
            for row in options.only:
                config = benchmark.trainer_config(row, length, tuple(options.overrides), longer)
                before = benchmark.pretraining_config(row, config)
                measure(results, (row, length, seed), config, before, data)
    order = {row: index for index, row in enumerate(benchmark.rows)}
    results.runs.sort(key=lambda run: (run.key["length"], order[str(run.key["model"])], run.seed))
    results.save()
    print(render(results.path, columns_of(results)))


def columns_of(results: Results) -> list[str]:
    """Returns the columns of the table; `auc_lost` only where a search was approximate."""
    approximate = any(run.key["model"] in APPROXIMATE for run in results.runs)
    return [name for name in (*COLUMNS, "seconds") if approximate or name != "auc_lost"]


def measure(
    results: Results,
    row: tuple[str, int, int],
    config: RankingTrainerConfig,
    before: PretrainingTrainerConfig | None,
    data: Transformed,
) -> None:
    """Trains and measures a row with one seed, unless that is done already.

    Args:
        results: Where it is kept.
        row: Model, length and seed.
        config: How the model is trained.
        before: How it is pretrained; None where it is not.
        data: The timelines and page examples.
    """
    model, length, seed = row

    def run() -> dict[str, float]:
        print(f"{model}, length {length}, seed {seed} ...", flush=True)
        given = config.model_copy(update={"seed": seed + 1})
        with tempfile.TemporaryDirectory() as folder:
            earlier, first = None, {}
            if before:
                earlier = Path(folder, "pretrained")
                first = pretrain(before.model_copy(update={"seed": seed + 1}), data, earlier)
            control = model in CONTROLS
            compare = search_exactly if model in APPROXIMATE else None
            report = run_ranking(given, data, control, None, earlier, RARE, compare)
        test, best = report["test"], report["best"]
        # No rare candidate may be positive: such a slice has no AUC.
        values = {name: test[name] for name in MEASURED if test[name] == test[name]}
        values |= {name: test[name] for name in ("candidates", "candidates_rare")}
        if model in APPROXIMATE:
            values["auc_lost"] = test["auc_exact"] - test["auc"]
        values |= {"validation_auc": best["auc"], "best_epoch": best["epoch"]}
        if first:
            values["pretraining_loss"] = first["best"]["pretraining_loss"]
        return values

    kept = {"trainer": _plain(config), "pretraining": before and _plain(before)}
    results.measure({"model": model, "length": length}, seed, run, kept)


def epochs_of_pretraining(benchmark: SeminarBenchmark, data: Transformed) -> int:
    """Returns how many epochs of ranking take as many steps as the pretraining, rounded up."""
    from models.seminar.model import Seminar
    from models.seminar.pretrainer import SeminarPretrainer

    config = benchmark.trainer_config("seminar", NEWEST)
    before = benchmark.pretraining_config("seminar_all_losses", config)
    assert before is not None
    given = training_data(data)
    steps = SeminarPretrainer.of(before, given).count_batches(given) * before.epochs
    return -(-steps // Seminar.of(config, given).count_batches(given))


def search_exactly(evaluation: PageEvaluation) -> dict[str, float]:
    """Measures a SEMINAR with the exact search of the whole history: `auc_exact`."""
    model, batches = evaluation.model, evaluation.batches
    model.is_coded = False
    return {"auc_exact": type(evaluation)(model, batches).evaluate()["auc"]}


def is_same_run(kept: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Returns whether the configurations of two runs say the same; see `Results`."""
    try:
        pretraining = [
            one["pretraining"] and PretrainingTrainerConfig.model_validate(one["pretraining"])
            for one in (kept, wanted)
        ]
    except (KeyError, ValueError):  # an option that the kept one has is gone
        return False
    return pretraining[0] == pretraining[1] and is_same_ranking(kept["trainer"], wanted["trainer"])


def _plain(config: RankingTrainerConfig | PretrainingTrainerConfig) -> dict[str, Any]:
    return config.model_dump(mode="json", exclude={"seed"})


def _parse(benchmark: SeminarBenchmark, arguments: list[str] | None) -> argparse.Namespace:
    """Reads the options of the command line."""
    name = benchmark.ranking.name
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}")
    parser.add_argument("--fresh", action="store_true", help="forget what was measured before")
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    rows = benchmark.rows
    parser.add_argument("--only", nargs="+", choices=rows, default=rows, help="rows", metavar="ROW")
    lengths = list(benchmark.lengths)
    parser.add_argument("--lengths", nargs="+", type=int, default=lengths, help="of the history")
    parser.add_argument("--log-dir", type=Path, default=ROOT / "data" / name)
    runs = ROOT / "runs" / "benchmarks" / name
    parser.add_argument("--run-dir", type=Path, default=runs, help="of timelines and Transform")
    parser.add_argument("--reuse", action="store_true", help="the last run's page examples")
    parser.add_argument("--results-dir", type=Path, default=DIRECTORY)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    return parser.parse_args(arguments)
