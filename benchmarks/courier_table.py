"""Image features in a ranking model, on one event log: which images are worth what, read how.

A benchmark says which log, how it is divided and which settings; `main` does what is missing:

    python -m benchmarks.courier                        # the simulated shop
    python -m benchmarks.courier_movielens_1m
    python -m benchmarks.courier_hm
    python -m benchmarks.courier_hm --fresh             # starts over
    python -m benchmarks.courier_hm --source none --source courier --seeds 1

Each source is an image encoder that `vitrine image-features` makes: COURIER, SimCLR, COURIER on
the frozen backbone of SimCLR (`courier_simclr`), item-to-item training on co-clicks, one with
random weights, and COURIER where pages have the histories of others (`courier_other_histories`).
`courier` is what each benchmark says (`courier` of it) on a frozen backbone of random weights;
`courier_paper` has the attention, negatives, temperature and losses of the paper on the same
backbone, and `courier_trained` has these and trains the narrower backbone that SimCLR trains.
A log may have a truth that images are drawn from. Each is read in three ways by one fixed DIN,
which reads the other features of the catalogue as well: as a vector, as the mean and greatest
cosine with the history (`similarity`), and as the id of its cluster among many. `hashing` is the
cluster of a random vector.

`auc` and `gauc` are of the test pages, `auc_cold` of candidates that training hardly met, or not
at all. Encoders that are in the log already are not trained again; `--log-dir` elsewhere starts
afresh.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.courier_features import Vectors
from benchmarks.courier_features import declared
from benchmarks.courier_features import is_made
from benchmarks.courier_features import make_encoders
from benchmarks.courier_features import write_vectors
from benchmarks.environment import ROOT
from benchmarks.ranking_run import run_ranking
from benchmarks.results import DIRECTORY
from benchmarks.results import Results
from benchmarks.results_table import render
from models.config import RankingTrainerConfig
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.datasets.event_log import CATALOGUE_TABLE
from tfx_pipeline.datasets.event_log import EventLog
from tfx_pipeline.image_features.config import RepresentationConfig
from tfx_pipeline.runners.transformed import Transformed
from tfx_pipeline.runners.transformed import last_transformed
from tfx_pipeline.runners.transformed import transformed_log
from transforms.arrow import pa
from transforms.arrow import pc

SIMCLR, COURIER_SIMCLR, OTHERS = "simclr", "courier_simclr", "courier_other_histories"
COURIER_PAPER, COURIER_TRAINED = "courier_paper", "courier_trained"
HASHING = "hashing"
USES = ("vector", "similarity", "cluster_id")
DIM = 64
# Random weights that stay, wide: principal components of many random features tell more of a small
# picture than what clicks alone teach a few convolutions.
BACKBONE: dict[str, Any] = {"frozen": True, "channels": [128, 256, 256]}
PAGES: dict[str, Any] = {"negatives": "page", "losses": {"click_sequence": 0.0}}
PAGE_MEAN = PAGES | {"rebuild": "mean", "temperature": 1.0}
PAPER: dict[str, Any] = {
    "negatives": "batch",
    "rebuild": "attention",
    "temperature": 0.05,
    "losses": {"click_sequence": 1.0},
}
ENCODER: dict[str, Any] = {
    "model": {"dim": DIM, "backbone": BACKBONE, "history": 20, "window": 40},
    "input": {"batch_size": 128},
    "optimizer": {"learning_rate": 0.003},
    "epochs": 2,
    "validation": {"batches": 20},
    "tensorboard": False,
    "checkpoints": False,
}
# Views are of images, and nothing that was clicked chooses the epoch.
VIEWS: dict[str, Any] = {
    "input": {"batch_size": 256},
    "optimizer": {"learning_rate": 0.001},
    "epochs": 6,
    "validation": {"batches": 20, "monitor": "views_loss"},
}
COLUMNS = ("source", "use", "auc", "gauc", "auc_cold", "runs", "seconds")


@dataclass(frozen=True)
class CourierBenchmark:
    """A benchmark of image features on one event log.

    Attributes:
        name: Of the result file.
        module: What is run.
        prepare: Makes an event log with images, of so many users; of all for 0.
        log: How it is read: keys of a run's configuration.
        features: What the ranker reads of the catalogue besides images.
        ranker: The ranker and how it is trained.
        trained: The backbone that views train, narrower: every step computes it anew.
        courier: What COURIER's model differs in from that of the others.
        encoder: The encoders and how they are trained.
        views: What SimCLR's training differs in.
        backbone_training: What that of `courier_trained` differs in.
        clusters: How many.
        rare: Candidates that training met at most so often are cold.
        truth: The name of what images are drawn from, and what reads it of the log.
        users: Of the log, where it is made.
        log_dir: Its directory below `data/`; the name where empty.
    """

    name: str
    module: str
    prepare: Callable[[Path, int], None]
    log: Mapping[str, Any]
    features: tuple[str, ...]
    ranker: Mapping[str, Any]
    trained: Mapping[str, Any]
    courier: Mapping[str, Any] = field(default_factory=lambda: PAGE_MEAN)
    encoder: Mapping[str, Any] = field(default_factory=lambda: ENCODER)
    views: Mapping[str, Any] = field(default_factory=lambda: VIEWS)
    backbone_training: Mapping[str, Any] = field(default_factory=dict)
    clusters: int = 200
    rare: int = 0
    truth: tuple[str, Callable[[Path], Vectors]] | None = None
    users: int = 0
    log_dir: str = ""

    @property
    def models(self) -> dict[str, dict[str, Any]]:
        """What the model of each source with an encoder differs in."""
        clicks = dict(self.courier)
        return {
            "courier": clicks,
            "random": {"objective": "none"},
            "co_click": {"objective": "co_click"},
            SIMCLR: {"objective": "simclr", "temperature": 0.2, "backbone": dict(self.trained)},
            COURIER_SIMCLR: clicks | {"backbone": {**self.trained, "frozen": True}},
            OTHERS: clicks,
            COURIER_PAPER: PAPER,
            COURIER_TRAINED: PAPER | {"backbone": dict(self.trained)},
        }

    @property
    def sources(self) -> tuple[str, ...]:
        """All sources of features."""
        return (*self.models, *((self.truth[0],) if self.truth else ()), HASHING)

    @property
    def types(self) -> tuple[str, ...]:
        """Entity types of what is ranked, and has images."""
        return tuple(self.log["candidate_types"])

    def pipeline(
        self, log_dir: Path, run_dir: Path, fields: dict[str, Any] | None = None
    ) -> PipelineConfig:
        """Returns how the log is read, with the fields that are declared."""
        values = {"name": self.name.replace("_", "-"), **self.log}
        values["timeline"] = {**self.log["timeline"], "catalogue_fields": fields or {}}
        places = {"log_dir": str(log_dir), "run_dir": str(run_dir)}
        return PipelineConfig.model_validate(values | places)

    def section(self, source: str) -> RepresentationConfig:
        """Returns which encoder a source is, but for the place of weights that it starts from."""
        differing = {SIMCLR: self.views, COURIER_TRAINED: self.backbone_training}
        trainer = {**self.encoder, **differing.get(source, {})}
        trainer["model"] = self.encoder["model"] | self.models[source]
        trainer["candidate_types"] = list(self.types)
        return RepresentationConfig.model_validate(
            {"field": source, "trainer": trainer, "clusters": self.clusters}
        )

    def trainer_config(self, source: str, use: str) -> RankingTrainerConfig:
        """Returns how the ranker is trained that reads a source in a way, but for the seed."""
        model = dict(self.ranker["model"])
        features = list(self.features)
        if use == "vector":
            features.append(f"vector/{source}")
        if use == "cluster_id":
            features.append(f"token/{source}_cluster")
        if use == "similarity":
            model["similarity"] = [f"vector/{source}"]
        model["candidate"] = model["candidate"] | {"features": features}
        return RankingTrainerConfig.model_validate({**self.ranker, "model": model})

    def rows(self, sources: Collection[str]) -> list[tuple[str, str]]:
        """Returns the rows of sources, each a source and a use, in the order of the table."""
        every = [("none", "none")]
        every += [(name, use) for name in self.sources if name != HASHING for use in USES]
        every.append((HASHING, "cluster_id"))
        return [row for row in every if row[0] in sources]


def main(benchmark: CourierBenchmark, arguments: list[str] | None = None) -> None:
    """Does what is missing of a benchmark and prints the table."""
    options = _parse(benchmark, arguments)
    command = f"python -m benchmarks.{benchmark.module}"
    results = Results(benchmark.name, command, options.fresh, options.results_dir)
    if not options.log_dir.exists():
        benchmark.prepare(options.log_dir, options.users)
    sources = options.source or ("none", *benchmark.sources)
    if options.reuse:
        data = last_transformed(options.run_dir)
    else:
        make_features(benchmark, options.log_dir, options.run_dir, sources)
        fields = declared(options.log_dir, benchmark.sources)
        data = transformed_log(benchmark.pipeline(options.log_dir, options.run_dir, fields))
    chosen = [row for row in benchmark.rows(sources) if options.use in (None, row[1])]
    for seed in range(options.seeds):
        for row in chosen:
            measure(results, benchmark, row, seed, data)
    print(render(results.path, list(COLUMNS)))


def of_first_users(events: pa.Table, users: int) -> pa.Table:
    """Keeps the rows of the first users of an events table; 0 keeps all."""
    if not users:
        return events
    return events.filter(pc.is_in(events["user_id"], pc.unique(events["user_id"])[:users]))


def make_features(
    benchmark: CourierBenchmark, log_dir: Path, run_dir: Path, sources: Collection[str]
) -> None:
    """Writes features of sources into the log, and trains the encoders that are missing."""
    wanted = {name: benchmark.section(name) for name in benchmark.models if name in sources}
    if COURIER_SIMCLR in wanted and not is_made(log_dir, COURIER_SIMCLR):
        wanted = {SIMCLR: benchmark.section(SIMCLR)} | wanted
    make_encoders(
        benchmark.pipeline(log_dir, run_dir),
        wanted,
        starts={COURIER_SIMCLR: SIMCLR},
        exchanged=(OTHERS,),
    )
    catalogue = EventLog(log_dir).read(CATALOGUE_TABLE, ["entity_type", "entity_id"])
    keys = catalogue.filter(pc.is_in(catalogue["entity_type"], pa.array(benchmark.types)))
    random = np.random.default_rng(0).normal(size=[len(keys), DIM])
    write_vectors(log_dir, HASHING, Vectors(keys, random), benchmark.clusters)
    if benchmark.truth:
        name, read = benchmark.truth
        write_vectors(log_dir, name, read(log_dir), benchmark.clusters)


def measure(
    results: Results,
    benchmark: CourierBenchmark,
    row: tuple[str, str],
    seed: int,
    data: Transformed,
) -> None:
    """Trains and measures a row with one seed, unless that is done already.

    Args:
        results: Where it is kept.
        benchmark: The benchmark.
        row: Source and use.
        seed: Of the ranker.
        data: The timelines and page examples.
    """
    source, use = row
    config = benchmark.trainer_config(source, use)

    def run() -> dict[str, float]:
        given = config.model_copy(update={"seed": seed + 1})
        test = run_ranking(given, data, rare=benchmark.rare)["test"]
        return {
            "auc": test["auc"],
            "gauc": test["gauc"],
            "auc_cold": test["auc_rare"],
            "candidates": test["candidates"],
            "candidates_cold": test["candidates_rare"],
        }

    print(f"{source} {use}, seed {seed} ...", flush=True)
    kept: dict[str, Any] = {"ranker": config.model_dump(mode="json", exclude={"seed"})}
    kept["encoder"] = {}
    if source in benchmark.models:
        places = {"in_pipeline", "encoder"}  # which name no other encoder
        kept["encoder"] = benchmark.section(source).model_dump(mode="json", exclude=places)
    done = results.measure({"source": source, "use": use}, seed, run, kept)
    print(json.dumps(done.values), flush=True)


def _parse(benchmark: CourierBenchmark, arguments: list[str] | None) -> argparse.Namespace:
    """Reads the options of the command line."""
    name = f"python -m benchmarks.{benchmark.module}"
    parser = argparse.ArgumentParser(prog=name)
    parser.add_argument("--fresh", action="store_true", help="forget what was measured before")
    parser.add_argument("--seeds", type=int, default=3)
    every = ("none", *benchmark.sources)
    parser.add_argument("--source", choices=every, action="append", help="some of the sources")
    parser.add_argument("--use", choices=USES, help="one use")
    about = "of the log, where it is made" + "; 0 is all" * (benchmark.users == 0)
    parser.add_argument("--users", type=int, default=benchmark.users, help=about)
    log_dir = ROOT / "data" / (benchmark.log_dir or benchmark.name)
    parser.add_argument("--log-dir", type=Path, default=log_dir)
    runs = ROOT / "runs" / "benchmarks" / benchmark.name
    parser.add_argument("--run-dir", type=Path, default=runs)
    parser.add_argument("--reuse", action="store_true", help="the last run's page examples")
    parser.add_argument("--results-dir", type=Path, default=DIRECTORY)
    return parser.parse_args(arguments)
