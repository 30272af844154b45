"""Youshu: which book lists readers save, by the lists that they saved and the books that they read.

    python -m benchmarks.gmn_youshu                         # does what is missing
    python -m benchmarks.gmn_youshu --only gmn --seeds 1
    python -m benchmarks.gmn_youshu --only gmn --set model.query.preferences=8 --tune

The given split of 2,959 users' saved lists: all 4,771 lists are ranked, those of the training part
excluded; recall is hits over held-out lists. Trained rows are kept at their best epoch on the
part `tune`, on which settings are chosen, too: `--tune` prints what is reached there and writes
nothing. All are asked with the training part alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from benchmarks.environment import ROOT
from benchmarks.results import DIRECTORY
from benchmarks.results import Results
from benchmarks.results_table import render

if TYPE_CHECKING:
    from scipy import sparse

    from benchmarks.gmn import Learned
    from benchmarks.gmn import Scorer
    from benchmarks.gmn import TwoKinds
    from models.config import RetrievalTrainerConfig

COLUMNS = ("model", "recall@20", "ndcg@20", "tune_recall@20", "tune_ndcg@20", "runs", "seconds")
TRAINER: dict[str, Any] = {
    "model": {
        "loss": "full_softmax",
        "dim": 64,
        "normalize": True,
        "temperature": 0.1,
        "candidate": {"features": ["related"], "id_dropout": 0.3, "max_related": 512},
        "query": {
            "window": 200,
            "hidden_units": [],
            "dropout": 0.5,
            "item_dropout": 0.0,
            "use_order": False,
            "use_event_types": False,
            "use_time": False,
            "use_user_attributes": False,
        },
    },
    "input": {"batch_size": 1024, "pool": 1024},
    "optimizer": {"learning_rate": 0.003},
    "epochs": 5,
    "steps_per_epoch": 0,
}
_GMN = {
    "model.family": "gmn",
    "model.start": "graph",
    "model.query.draw": "sampled",
    "model.query.neighbours": 40,
    "model.query.training_neighbours": 16,
    "model.query.neighbour_dropout": 0.5,
    "model.query.item_dropout": 0.2,
}
_NO_NODES = {"model.query.node_level": False}
_NO_PREFERENCES = {"model.query.preference_level": False}
_POOLED = {  # settings of its own, chosen on `tune` as those of GMN were
    "model.dim": 128,
    "model.query.training_neighbours": 40,
    "model.query.item_dropout": 0.0,
}
# Trained rows: what each differs in.
TRAINED: dict[str, dict[str, Any]] = {
    "two_tower": {"model.family": "two_tower"},
    "pooled": _GMN | _NO_NODES | _NO_PREFERENCES | _POOLED,
    "node_level": _GMN | _NO_PREFERENCES,
    "preference_level": _GMN | _NO_NODES,
    "gmn": _GMN,
    "gmn_several": _GMN | {"model.query.vectors": "several"},
    "gmn_shuffled": _GMN,
}
# Fitted rows and their settings, chosen on `tune`.
FITTED: dict[str, dict[str, Any]] = {
    "popularity": {},
    "neighbours": {"number": 100},
    "ease": {"regularisation": 200.0},
    "ease_both": {"regularisation": 200.0, "weight": 0.6},
}
LIGHTGCN: dict[str, Any] = {
    "dim": 64,
    "layers": 2,
    "temperature": 0.1,
    "learning_rate": 0.01,
    "batch_size": 1024,
    "epochs": 10,
}
ROWS = (*FITTED, "lightgcn", *TRAINED)


def read(log_dir: Path) -> tuple[TwoKinds, dict[str, sparse.csr_matrix]]:
    """Reads the event log of Youshu.

    Args:
        log_dir: Directory of the event log.

    Returns:
        The training part, and the held-out lists of `tune` and `test`, [users, lists].
    """
    import numpy as np
    from scipy import sparse

    import models  # noqa: F401  (before TensorFlow)
    from benchmarks.gmn import TwoKinds
    from tfx_pipeline.datasets.event_log import EventLog
    from tfx_pipeline.datasets.youshu import BUNDLE
    from tfx_pipeline.datasets.youshu import ITEM
    from tfx_pipeline.datasets.youshu import PARTS
    from transforms.arrow import pa
    from transforms.arrow import pc

    log = EventLog(log_dir)
    events, rows = log.read("events"), log.read("catalogue")
    is_list = pc.equal(rows.column("entity_type"), BUNDLE)
    ids = rows.column("entity_id")
    bundles, books = (ids.filter(kind).combine_chunks() for kind in (is_list, pc.invert(is_list)))

    def matrix(left: Any, right: Any, shape: tuple[int, int]) -> sparse.csr_matrix:
        ones = np.ones(len(left), np.float32)
        return sparse.csr_matrix((ones, (np.asarray(left), np.asarray(right))), shape)

    users = pc.unique(events.column("user_id"))
    user = np.asarray(pc.index_in(events.column("user_id"), users))
    seconds = log.manifest.notes["part_seconds"] * 1_000_000
    part = np.asarray(events.column("timestamp")).astype(np.int64) // seconds
    saved = np.asarray(pc.equal(events.column("entity_type"), BUNDLE))
    names = np.asarray(events.column("entity_id"))
    shape = (len(users), len(bundles))
    lists = {}
    for number, name in enumerate(PARTS):
        chosen = saved & (part == number)
        lists[name] = matrix(user[chosen], pc.index_in(pa.array(names[chosen]), bundles), shape)
    read_books = pc.index_in(pa.array(names[~saved]), books)
    others = matrix(user[~saved], read_books, (len(users), len(books)))
    shown = rows.column("related_ids").filter(is_list).combine_chunks()
    owner = np.repeat(np.arange(len(bundles)), np.asarray(pc.list_value_length(shown)))
    listed = pc.index_in(shown.flatten(), pc.binary_join_element_wise(ITEM, books, ":"))
    shows = matrix(owner, listed, (len(bundles), len(books)))
    return TwoKinds(lists.pop("train"), others, shows), lists


def trainer(row: str, seed: int, overrides: Mapping[str, Any]) -> RetrievalTrainerConfig:
    """Returns the configuration of a trained row."""
    from models.config import RetrievalTrainerConfig
    from models.defaults import changed
    from models.fixed_values import retrieval_trainer

    family = TRAINED[row]["model.family"]
    values = TRAINER | {"candidate_types": ["candidate"], "seed": seed, "exclude_seen": ["*"]}
    config = retrieval_trainer(values | {"model": {"family": family} | TRAINER["model"]})
    rest = {key: value for key, value in TRAINED[row].items() if key != "model.family"}
    whole = changed(config, rest | dict(overrides))
    assert isinstance(whole, RetrievalTrainerConfig)
    return whole


def make_towers(data: TwoKinds, row: str, config: RetrievalTrainerConfig) -> Learned:
    """Makes the model of a row of `TRAINED`, with what it may read of the data."""
    from scipy import sparse

    from benchmarks.gmn import Towers
    from benchmarks.gmn import TwoKinds

    if row == "two_tower":
        data = TwoKinds(data.candidates, sparse.csr_matrix(data.others.shape), data.shows)
    if row == "gmn_shuffled":
        data = data.with_shuffled_others(config.seed)
    return Towers(data, config)


def make_lightgcn(data: TwoKinds, settings: Mapping[str, Any], seed: int) -> Learned:
    """Makes the model of the row `lightgcn`."""
    from benchmarks.lightgcn import LightGCN

    return LightGCN(data, **settings, seed=seed)


def train(
    data: TwoKinds,
    held_out: Mapping[str, sparse.csr_matrix],
    row: str,
    make: Callable[[], Learned],
    epochs: int,
    parts: tuple[str, ...],
) -> dict[str, float]:
    """Trains a row and measures its best epoch on `tune`, and that one on the other parts."""
    from benchmarks.gmn import measure

    model = make()
    best: dict[str, float] = {}
    for epoch in range(1, epochs + 1):
        loss = model.train_epoch()
        scorer = model.scorer()
        tuned = _named("tune", measure(scorer, data.candidates, held_out["tune"]))
        print(f"{row}, epoch {epoch}: loss {loss:.3f}, {tuned}", flush=True)
        if tuned["tune_recall@20"] > best.get("tune_recall@20", 0.0):
            best = tuned | _measured(scorer, data, held_out, parts)
    return best


def fit(
    data: TwoKinds,
    held_out: Mapping[str, sparse.csr_matrix],
    row: str,
    settings: Mapping[str, Any],
    parts: tuple[str, ...],
) -> dict[str, float]:
    """Fits a row without training and measures it."""
    from benchmarks import gmn

    rows: dict[str, Callable[..., Scorer]] = {
        "popularity": gmn.popularity,
        "neighbours": gmn.neighbours,
        "ease": gmn.ease,
        "ease_both": gmn.ease,
    }
    scorer = rows[row](data, **settings)
    return _measured(scorer, data, held_out, ("tune", *parts))


def _measured(
    scorer: Scorer,
    data: TwoKinds,
    held_out: Mapping[str, sparse.csr_matrix],
    parts: tuple[str, ...],
) -> dict[str, float]:
    from benchmarks.gmn import measure

    values: dict[str, float] = {}
    for part in parts:
        values |= _named(part, measure(scorer, data.candidates, held_out[part]))
    return values


def _named(part: str, values: Mapping[str, float]) -> dict[str, float]:
    """Names measured values by their part, but for the test's."""
    prefix = "" if part == "test" else f"{part}_"
    return {prefix + name: round(value, 6) for name, value in values.items()}


def main(arguments: list[str] | None = None) -> None:
    """Runs what is missing of the benchmark and prints the table."""
    options = _parse(arguments)
    if not options.log_dir.exists():
        from tfx_pipeline.datasets.registry import prepare

        prepare("youshu", options.log_dir)
    data, held_out = read(options.log_dir)
    chosen = (options.only,) if options.only else ROWS
    overrides = dict(pair.split("=", 1) for pair in options.overrides)
    numbers = {name: json.loads(value) for name, value in overrides.items() if "." not in name}
    parts = () if options.tune else ("test",)
    command = "python -m benchmarks.gmn_youshu"
    results = Results("gmn_youshu", command, directory=options.results_dir)
    if options.fresh:
        results.runs = [run for run in results.runs if run.key["model"] not in chosen]
    for row in chosen:
        for seed in range(1 if row in FITTED else options.seeds):
            if row in TRAINED:
                config = trainer(row, seed, overrides)
                settings = config.model_dump(mode="json", exclude={"seed"})
                make = partial(make_towers, data, row, config)
                run = partial(train, data, held_out, row, make, config.epochs, parts)
            elif row in FITTED:
                settings = FITTED[row] | numbers
                run = partial(fit, data, held_out, row, settings, parts)
            else:
                settings = LIGHTGCN | numbers
                rest = {name: value for name, value in settings.items() if name != "epochs"}
                make = partial(make_lightgcn, data, rest, seed)
                run = partial(train, data, held_out, row, make, settings["epochs"], parts)
            if options.tune:
                print(row, seed, run(), flush=True)
            else:
                results.measure({"model": row}, seed, run, settings)
    if not options.tune:
        order = {name: place for place, name in enumerate(ROWS)}
        results.runs.sort(key=lambda run: (order.get(str(run.key["model"]), 99), run.seed))
        results.save()
        print(render(results.path, COLUMNS))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    """Reads the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gmn_youshu")
    parser.add_argument("--fresh", action="store_true", help="forget what was measured before")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=ROWS, help="one row")
    parser.add_argument("--tune", action="store_true", help="measure the part `tune` alone")
    parser.add_argument("--log-dir", type=Path, default=ROOT / "data" / "youshu")
    parser.add_argument("--results-dir", type=Path, default=DIRECTORY)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
