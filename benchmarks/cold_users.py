"""Quality for users with no history, one event, or unknown items alone.

    python -m benchmarks.cold_users                # does what is missing
    python -m benchmarks.cold_users --only movielens_1m --seeds 1

A tenth of the users of each log is left out of the log before anything is counted or trained,
and then comes as new. Rows are asked for

- `none`: a held-out user's first item, with an empty history,
- `unknown`: the same, with a history of three items that training never saw,
- `one`: the second item, with the first one as the history,
- `warm`: the test item of the other users (leave-last-out), with all that they did.

All items are ranked, what the history holds is excluded. `popularity` counts training events,
`first_popularity` first events alone. Models are those of the headlines, smaller and trained
for minutes (`LOGS`), so figures compare within this table only.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Mapping
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.environment import ROOT
from benchmarks.interactions import Interactions
from benchmarks.interactions import read_interactions
from benchmarks.results import Results
from benchmarks.results_table import render
from benchmarks.training_run import is_same_training
from benchmarks.training_run import run_training
from models.config import RetrievalTrainerConfig
from tfx_pipeline.config_file import load_config
from tfx_pipeline.config_file import set_key
from tfx_pipeline.datasets.event_log import CATALOGUE_TABLE
from tfx_pipeline.datasets.event_log import EVENTS_TABLE
from tfx_pipeline.datasets.event_log import USERS_TABLE
from tfx_pipeline.datasets.event_log import EventLog
from tfx_pipeline.datasets.event_log import write_event_log
from tfx_pipeline.runners.transformed import Transformed
from tfx_pipeline.runners.transformed import transformed_log
from transforms.arrow import pa

NAME = "cold_users"
HELD_OUT = 10  # one user in so many
CASES = ("none", "unknown", "one")
MEASURED = ("hr@10", "ndcg@10", "mrr@10")
COLUMNS = ("log", "model", "history", *MEASURED, "runs")
_SEQUENCE = ("model.dim=64", "model.encoder.heads=2", "validation.users=2000")
# Log -> model -> a configuration that ships, and what is smaller here.
LOGS: dict[str, dict[str, tuple[str, tuple[str, ...]]]] = {
    "movielens_1m": {
        "two_tower": (
            "movielens_1m",
            ("epochs=2", "steps_per_epoch=700", "validation.users=2000"),
        ),
        "sequence": (
            "movielens_1m_sequence",
            (*_SEQUENCE, "epochs=3", "steps_per_epoch=240", "optimizer.learning_rate=0.006"),
        ),
    },
    "amazon_beauty": {
        "two_tower": ("amazon_beauty_two_tower", ("model.dim=64", "epochs=4")),
        "sequence": ("amazon_beauty", (*_SEQUENCE, "epochs=10")),
    },
}


def is_held_out(user: str) -> bool:
    """Says whether a user is left out of training."""
    return zlib.crc32(user.encode()) % HELD_OUT == 0


def divide(log_dir: Path, train: Path, cold: Path) -> None:
    """Writes two logs, of the users that training sees and of the others; kept if there."""
    log = EventLog(log_dir)
    events = log.read(EVENTS_TABLE)
    users = events["user_id"].combine_chunks().dictionary_encode()
    held = np.array([is_held_out(user) for user in users.dictionary.to_pylist()])
    held = held[np.asarray(users.indices)]
    others = log.read(CATALOGUE_TABLE), log.read(USERS_TABLE)
    for out, kept in ((train, ~held), (cold, held)):
        if not out.exists():
            write_event_log(out, log.manifest, events.filter(pa.array(kept)), *others)


def popularity_rows(train: Interactions, cold: Interactions) -> dict[str, dict[str, dict]]:
    """Ranks first and second items of new users by two kinds of popularity.

    Returns:
        Metrics by model and history.
    """
    fitted = train.without_last(2)
    size = len(fitted.names)
    counts = {
        "popularity": np.bincount(fitted.items, minlength=size),
        "first_popularity": np.bincount(fitted.items[fitted.starts[:-1]], minlength=size),
    }
    first, second = cold.items[cold.starts[:-1]], cold.items[cold.starts[:-1] + 1]
    rows = {}
    for name, count in counts.items():
        place = np.empty(size, np.int64)
        place[np.argsort(-count, kind="stable")] = np.arange(size)
        after = place[second] - (place[first] < place[second])  # the first one is excluded
        by_case = {"none": place[first], "unknown": place[first], "one": after}
        rows[name] = {case: _metrics(ranks) for case, ranks in by_case.items()}
    return rows


def _metrics(ranks: np.ndarray) -> dict[str, float]:
    from models.retrieval.catalogue_ranking import ranking_metrics

    return ranking_metrics(ranks[:, None], np.ones([len(ranks), 1], bool), (10,))


def write_requests(cold: Interactions, data: Transformed, out: Path) -> None:
    """Writes the requests of new users as transformed timelines, a split for each case."""
    import tensorflow as tf

    from transforms import features as f
    from transforms.vocabulary import entity_vocabulary

    spec = data.output().transformed_feature_spec()
    index = {name.decode(): row for row, name in enumerate(entity_vocabulary(data.output()), 1)}
    known = np.array([index.get(name, 0) for name in cold.names.tolist()])
    first = known[cold.items[cold.starts[:-1]]]
    second = known[cold.items[cold.starts[:-1] + 1]]
    histories: Mapping[str, Sequence[tuple[list[int], int]]] = {
        "none": [([], aim) for aim in first],
        "unknown": [([0, 0, 0], aim) for aim in first],
        "one": [([one], aim) for one, aim in zip(first, second, strict=True)],
    }
    for case, rows in histories.items():
        folder = out / f"Split-{case}"
        folder.mkdir(parents=True, exist_ok=True)
        with tf.io.TFRecordWriter(str(folder / "requests.gz"), "GZIP") as writer:
            for history, aim in rows:
                example = tf.train.Example()
                for name, values in (
                    (f.EVENT_ENTITY, history),
                    (f.EVENT_TYPE, [1] * len(history)),
                    (f.TARGET_ENTITY, [aim]),
                ):
                    example.features.feature[spec[name].value_key].int64_list.value.extend(values)
                writer.write(example.SerializeToString())


def measure_log(results: Results, name: str, log_dir: Path, seeds: int, model: str) -> None:
    """Measures the popularities and the models on one log."""
    home = ROOT / "runs" / "benchmarks" / NAME / name
    divide(log_dir, home / "train", home / "cold")
    train, cold = read_interactions(home / "train"), read_interactions(home / "cold")
    for kind, cases in popularity_rows(train, cold).items():
        for case, values in cases.items():
            _keep(results, name, kind, case, 0, values, {}, None)
    for kind, (config_name, changes) in LOGS[name].items():
        if model not in kind:
            continue
        settings = (f"log_dir={home / 'train'}", f"run_dir={home / 'run'}", f"name=cold-{name}")
        config = load_config(config_name, settings)
        assert config.retrieval
        data = transformed_log(config)
        write_requests(cold, data, home / "requests")
        for seed in range(seeds):
            values = config.retrieval.trainer.model_dump(mode="json")
            for change in changes:
                set_key(values, change)
            trainer = RetrievalTrainerConfig.model_validate(values | {"seed": seed})
            compared = {key: value for key, value in values.items() if key != "seed"}
            keys = [{"log": name, "model": kind, "history": case} for case in (*CASES, "warm")]
            if all(results.find(key, seed, compared) for key in keys):
                continue
            print(f"{name}, {kind}, seed {seed} ...", flush=True)
            report = run_training(trainer, data, home / "requests")
            found = report["others"] | {"warm": report["test"]}
            seconds = report["wall_seconds"] / len(keys)
            for key in keys:
                case = key["history"]
                _keep(results, name, kind, case, seed, found[case], compared, seconds)


def _keep(
    results: Results,
    log: str,
    model: str,
    history: str,
    seed: int,
    values: Mapping[str, float],
    configuration: Mapping[str, object],
    seconds: float | None,
) -> None:
    key = {"log": log, "model": model, "history": history}
    kept: partial[dict[str, float]] = partial(dict, {name: values[name] for name in MEASURED})
    results.measure(key, seed, kept, configuration, seconds)


def main() -> None:
    """Measures what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--fresh", action="store_true", help="forget earlier runs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", choices=("", *LOGS), help="one log")
    parser.add_argument("--model", default="", help="models whose name holds this")
    options = parser.parse_args()
    results = Results(NAME, f"python -m benchmarks.{NAME}", options.fresh, is_same=is_same_training)
    for name in LOGS:
        if options.only in name:
            log_dir = ROOT / "data" / name.replace("_", "-")
            measure_log(results, name, log_dir, options.seeds, options.model)
    print(render(results.path, COLUMNS))


if __name__ == "__main__":
    main()
