"""Image features in a ranking model: which images are worth what, and how they are best read.

    python -m benchmarks.courier                        # does what is missing
    python -m benchmarks.courier --fresh                # starts over
    python -m benchmarks.courier --source none --source courier --seeds 1

Each source is an image encoder that `vitrine image-features` makes, on the simulated shop, whose
styles sway some users: COURIER, SimCLR, COURIER on the frozen backbone of SimCLR
(`courier_simclr`), item-to-item training on co-clicks, one with random weights, and COURIER where
pages have the histories of others (`courier_other_histories`). `style` is the truth that images are
drawn from. Each is read in three ways by one fixed DIN, which also
reads ids, categories, attributes, prices and titles: as a vector, as the mean and greatest
cosine with the history (`similarity`), and as the id of its cluster among many. `hashing` is the
cluster of a random vector.

`auc` and `gauc` are of the test pages, `auc_cold` of candidates that training met at most ten
times. Encoders that are in the log already are not trained again; `--log-dir` elsewhere starts
afresh.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Collection
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.environment import ROOT
from benchmarks.environment import prepare_log
from benchmarks.ranking_run import exchange_histories
from benchmarks.ranking_run import run_ranking
from benchmarks.results import DIRECTORY
from benchmarks.results import Results
from benchmarks.results_table import render
from models.config import RankingTrainerConfig
from models.config import RepresentationTrainerConfig
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.image_features.clusters import fit_centres
from tfx_pipeline.image_features.clusters import nearest
from tfx_pipeline.image_features.config import RepresentationConfig
from tfx_pipeline.runners.transformed import last_transformed
from tfx_pipeline.runners.transformed import transformed_log
from transforms.arrow import pa
from transforms.arrow import pq

if TYPE_CHECKING:
    from models.training.data import TrainingData

NAME = "courier_shop"
OTHERS = "courier_other_histories"
SIMCLR, COURIER_SIMCLR = "simclr", "courier_simclr"
# Random weights that stay, wide: principal components of many random features tell more of a small
# picture than what clicks alone teach a few convolutions.
BACKBONE: dict[str, Any] = {"frozen": True, "channels": [128, 256, 256]}
# What views train is narrower: every step computes it anew.
TRAINED: dict[str, Any] = {"channels": [48, 96, 160]}
PAGES: dict[str, Any] = {"negatives": "page", "losses": {"click_sequence": 0.0}}
PAGE_MEAN = PAGES | {"rebuild": "mean", "temperature": 1.0}
MODELS: dict[str, dict[str, Any]] = {
    "courier": PAGE_MEAN,
    "random": {"objective": "none"},
    "co_click": {"objective": "co_click"},
    SIMCLR: {"objective": "simclr", "temperature": 0.2, "backbone": TRAINED},
    COURIER_SIMCLR: PAGE_MEAN | {"backbone": TRAINED | {"frozen": True}},
    OTHERS: PAGE_MEAN,
}
TRUTH, HASHING = "style", "hashing"
SOURCES = (*MODELS, TRUTH, HASHING)
USES = ("vector", "similarity", "cluster_id")
CLUSTERS, RARE, DIM = 1_000, 10, 64
ENCODER: dict[str, Any] = {
    "model": {"dim": DIM, "backbone": BACKBONE, "history": 20, "window": 40},
    "input": {"batch_size": 128},
    "optimizer": {"learning_rate": 0.003},
    "epochs": 2,
    "validation": {"batches": 20},
    "tensorboard": False,
    "checkpoints": False,
}
# Of single sources. Views are of images, and nothing that was clicked chooses the epoch.
TRAINERS: dict[str, dict[str, Any]] = {
    SIMCLR: {
        "input": {"batch_size": 256},
        "optimizer": {"learning_rate": 0.001},
        "epochs": 6,
        "validation": {"batches": 20, "monitor": "views_loss"},
    }
}
RANKER: dict[str, Any] = {
    "model": {"family": "din", "use_time": True, "window": 20, "candidate": {"id_dropout": 0.6}},
    "label": {"source": "impressions"},
    "candidate_types": ["item"],
    "input": {"batch_size": 128},
    "optimizer": {"learning_rate": 0.003},
    "epochs": 3,
    "validation": {"monitor": "auc", "patience": 1},
    "tensorboard": False,
    "checkpoints": False,
}
COLUMNS = ("source", "use", "auc", "gauc", "auc_cold", "runs", "seconds")


def pipeline(log_dir: Path, run_dir: Path, fields: dict[str, Any] | None = None) -> PipelineConfig:
    """Returns how the log is read, with the fields that are declared."""
    timeline = {
        "split": "time-cut",
        "validation_days": 5,
        "test_days": 5,
        "label": {"source": "impressions"},
        "catalogue_fields": fields or {},
    }
    return PipelineConfig.model_validate(
        {
            "name": "courier-shop",
            "log_dir": str(log_dir),
            "run_dir": str(run_dir),
            "target_events": ["click", "cart", "buy"],
            "candidate_types": ["item"],
            "timeline": timeline,
        }
    )


def section(source: str) -> RepresentationConfig:
    """Returns which encoder a source is, but for the place of weights that it starts from."""
    model = {"model": ENCODER["model"] | MODELS[source], "candidate_types": ["item"]}
    trainer = ENCODER | TRAINERS.get(source, {}) | model
    return RepresentationConfig.model_validate(
        {"field": source, "trainer": trainer, "clusters": CLUSTERS}
    )


def is_made(log_dir: Path, source: str) -> bool:
    """Returns whether the log has features of a source."""
    return (log_dir / "features" / f"{source}_cluster").is_dir()


def starting_from(
    trainer: RepresentationTrainerConfig, weights: str | Path
) -> RepresentationTrainerConfig:
    """Returns how an encoder is trained whose backbone starts from that of another.

    Args:
        trainer: How it is trained.
        weights: A file of weights, or the other's folder.
    """
    backbone = trainer.model.backbone.model_copy(update={"weights": str(weights)})
    model = trainer.model.model_copy(update={"backbone": backbone})
    return trainer.model_copy(update={"model": model})


def make_features(log_dir: Path, run_dir: Path, sources: Collection[str]) -> None:
    """Trains the encoders that are missing and writes features of sources into the log."""
    from tfx_pipeline.image_features.make import folder_of
    from tfx_pipeline.image_features.make import learn_from
    from tfx_pipeline.image_features.make import train_encoder
    from tfx_pipeline.image_features.make import write_features

    config = pipeline(log_dir, run_dir)
    label = config.timeline.label
    assert label is not None
    data: TrainingData | None = None
    missing = {name for name in sources if name in MODELS and not is_made(log_dir, name)}
    views = folder_of(config, section(SIMCLR))
    if COURIER_SIMCLR in missing and not views.is_dir():
        missing.add(SIMCLR)
    for source in (name for name in MODELS if name in missing):
        given = section(source)
        folder = folder_of(config, given)
        if source == COURIER_SIMCLR:
            given = given.model_copy(update={"trainer": starting_from(given.trainer, views)})
        data = data or learn_from(config)
        print(f"{source} ...", flush=True)
        with exchanged_histories() if source == OTHERS else contextlib.nullcontext():
            metrics = train_encoder(data, given, folder, label)
        print(source, {name: round(value, 4) for name, value in metrics.items()}, flush=True)
        write_features(config, given, folder)
    styles = np.load(log_dir / "truth" / "world" / "item_style.npy", allow_pickle=False)
    names = np.load(log_dir / "truth" / "world" / "item_id.npy", allow_pickle=False)
    random = np.random.default_rng(0).normal(size=[len(names), DIM])
    write_vectors(log_dir, TRUTH, names, styles)
    write_vectors(log_dir, HASHING, names, random)


@contextlib.contextmanager
def exchanged_histories() -> Iterator[None]:
    """Lets encoders learn from pages with the histories of others; they are judged as they are."""
    from models.courier import model

    own = model.page_batches

    def exchanged(*given: Any) -> Any:
        return own(*given).map(exchange_histories)

    with mock.patch.object(model, "page_batches", exchanged):
        yield


def write_vectors(log_dir: Path, name: str, ids: np.ndarray, vectors: np.ndarray) -> None:
    """Writes vectors of items, and clusters of them, as declared fields."""
    clusters = nearest(vectors, fit_centres(vectors, CLUSTERS))
    key = {"entity_type": ["item"] * len(ids), "entity_id": [str(one) for one in ids.tolist()]}
    lists = {
        name: ("vector", pa.array(vectors.tolist(), pa.list_(pa.float32()))),
        f"{name}_cluster": ("tokens", pa.array([[f"c{one}"] for one in clusters.tolist()])),
    }
    for field, (column, values) in lists.items():
        folder = log_dir / "features" / field
        if not folder.is_dir():
            folder.mkdir(parents=True)
            pq.write_table(pa.table(key | {column: values}), folder / "part-0.parquet")


def declared(log_dir: Path) -> dict[str, Any]:
    """Returns the fields of the sources that the log has features of."""
    style = np.load(log_dir / "truth" / "world" / "item_style.npy", allow_pickle=False).shape[1]
    there = [name for name in SOURCES if is_made(log_dir, name)]
    vectors = {name: style if name == TRUTH else DIM for name in there}
    return {"vectors": vectors, "tokens": [f"{name}_cluster" for name in there]}


def ranker(source: str, use: str) -> RankingTrainerConfig:
    """Returns how DIN is trained that reads a source in a way."""
    model = dict(RANKER["model"])
    features = ["categories", "attributes", "title", "price"]
    if use == "vector":
        features.append(f"vector/{source}")
    if use == "cluster_id":
        features.append(f"token/{source}_cluster")
    if use == "similarity":
        model["similarity"] = [f"vector/{source}"]
    model["candidate"] = model["candidate"] | {"features": features}
    return RankingTrainerConfig.model_validate(RANKER | {"model": model})


def rows(sources: Collection[str]) -> list[tuple[str, str]]:
    """Returns the rows of sources, each a source and a use, in the order of the table."""
    every = [("none", "none")]
    every += [(source, use) for source in (*MODELS, TRUTH) for use in USES]
    every.append((HASHING, "cluster_id"))
    return [row for row in every if row[0] in sources]


def main(arguments: list[str] | None = None) -> None:
    """Does what is missing and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.courier", description=__doc__)
    parser.add_argument("--fresh", action="store_true", help="forget what was measured before")
    parser.add_argument("--seeds", type=int, default=3)
    every = ("none", *SOURCES)
    parser.add_argument("--source", choices=every, action="append", help="some of the sources")
    parser.add_argument("--use", choices=USES, help="one use")
    parser.add_argument("--users", type=int, default=10_000, help="of the shop, where it is made")
    parser.add_argument("--log-dir", type=Path, default=ROOT / "data" / "shop-courier")
    parser.add_argument("--run-dir", type=Path, default=ROOT / "runs" / "benchmarks" / NAME)
    parser.add_argument("--reuse", action="store_true", help="the last run's page examples")
    parser.add_argument("--results-dir", type=Path, default=DIRECTORY)
    options = parser.parse_args(arguments)
    options.source = options.source or every
    results = Results(NAME, "python -m benchmarks.courier", options.fresh, options.results_dir)
    prepare_log(options.log_dir, "shop", users=options.users)
    if options.reuse:
        data = last_transformed(options.run_dir)
    else:
        make_features(options.log_dir, options.run_dir, options.source)
        fields = declared(options.log_dir)
        data = transformed_log(pipeline(options.log_dir, options.run_dir, fields))
    chosen = [row for row in rows(options.source) if options.use in (None, row[1])]
    for seed in range(options.seeds):
        for source, use in chosen:
            config = ranker(source, use).model_copy(update={"seed": seed + 1})

            def run(config: RankingTrainerConfig = config) -> dict[str, float]:
                test = run_ranking(config, data, rare=RARE)["test"]
                return {
                    "auc": test["auc"],
                    "gauc": test["gauc"],
                    "auc_cold": test["auc_rare"],
                    "candidates": test["candidates"],
                    "candidates_cold": test["candidates_rare"],
                }

            print(f"{source} {use}, seed {seed} ...", flush=True)
            given = {"ranker": config.model_dump(mode="json"), "encoder": {}}
            del given["ranker"]["seed"]
            if source in MODELS:
                places = {"in_pipeline", "encoder"}  # which name no other encoder
                given["encoder"] = section(source).model_dump(mode="json", exclude=places)
            done = results.measure({"source": source, "use": use}, seed, run, given)
            print(json.dumps(done.values), flush=True)
    print(render(results.path, list(COLUMNS)))


if __name__ == "__main__":
    main()
