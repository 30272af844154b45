"""Latency and throughput of a ranker behind the local server, by history and candidates.

    python -m benchmarks.rank_latency                               # does what is missing
    python -m benchmarks.rank_latency --histories 50 --candidates 100 --requests 50 --users 100

DIN over items of the simulated shop, with random weights, reads as many events as a request
sends. In `local_server` all requests have `history` events and `candidates` candidates. In
`local_server_varied` they have any number up to these, so that requests of different lengths are
merged: `largest_difference` is that of a score from the one that the same request got alone.
Load generator and server share the machine.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.environment import ROOT
from benchmarks.environment import prepare_log
from benchmarks.results import Label
from benchmarks.results import Results
from benchmarks.results_table import render
from benchmarks.serving import local_server
from benchmarks.serving import measure_address
from tfx_pipeline.runners.transformed import Transformed
from tfx_pipeline.runners.transformed import transformed_log

NAME = "rank_latency"
RUN_DIR = ROOT / "runs" / "benchmarks" / NAME
MODEL = "din"
MEASURED = ("p50_ms", "p99_ms", "requests_per_second", "errors", "largest_difference")


@dataclass(frozen=True)
class Load:
    """One row: so many clients that ask for so many candidates each."""

    target: str
    history: int
    candidates: int
    clients: int

    @property
    def key(self) -> dict[str, Label]:
        """The columns that name the row."""
        return dict(vars(self))


def loads_of(history: int, candidates: list[int], clients: list[int]) -> list[Load]:
    """Returns the rows of one length of histories."""
    return [
        Load(target, history, number, at_once)
        for number in candidates
        for target, at_once in (
            *(("local_server", at_once) for at_once in clients),
            ("local_server_varied", max(clients)),
        )
    ]


def transformed_shop(users: int) -> Transformed:
    """Makes a simulated shop and runs the pipeline as far as Transform; kept if there."""
    from tfx_pipeline.config_file import load_config

    home = RUN_DIR / f"{users}-users"
    prepare_log(home / "log", "shop", users=users)
    overrides = (f"log_dir={home / 'log'}", f"run_dir={home}")
    return transformed_log(load_config("shop_demo", overrides))


def write_ranker(path: Path, data: Transformed, window: int) -> None:
    """Exports DIN with random weights.

    Args:
        path: Where the SavedModel is written.
        data: The log's timelines and catalogue.
        window: Events that it reads.
    """
    import tensorflow as tf

    from models.config import RankingTrainerConfig
    from models.families import find_family
    from models.training.data import TrainingData
    from models.training.replicas import WHOLE

    model = {"family": MODEL, "window": window, "use_time": True}
    label = {"source": "events"}  # enough for weights that learn nothing
    config = RankingTrainerConfig.model_validate({"model": model, "label": label})
    tf.keras.utils.set_random_seed(0)
    splits = (data.files(name) for name in ("train", "catalogue", "validation"))
    given = TrainingData(data.output(), *splits)
    ranker = find_family(MODEL).load().of(config, given)
    ranker.compute_loss(next(iter(ranker.training_batches(given, WHOLE))))
    ranker.export(given.transform.transform_features_layer(), str(path))


def measure(
    results: Results, loads: list[Load], data: Transformed, configuration: dict[str, int]
) -> None:
    """Measures what is missing of the rows of one length of histories."""
    from transforms.vocabulary import entity_vocabulary

    ids = [name.decode() for name in entity_vocabulary(data.output())]
    with tempfile.TemporaryDirectory() as base_path:
        write_ranker(Path(base_path) / "1", data, loads[0].history)
        with local_server(Path(base_path), MODEL) as address:
            for load in loads:
                sizes = {"history": load.history, "requests": configuration["requests"]}
                options = argparse.Namespace(allow_remote=False, **sizes)
                more = ["--candidates", str(load.candidates)]
                more += ["--varied"] if load.target.endswith("varied") else []
                ask = partial(measure_address, address, MODEL, ids, load.clients, options, *more)
                done = results.measure(load.key, 0, partial(_values, ask), configuration)
                print(load, done.values, flush=True)


def _values(ask: Callable[[], Mapping[str, float]]) -> dict[str, float]:
    """Names what the load generator measured as the table does."""
    values = dict(ask())
    values["requests_per_second"] = values["queries_per_second"]
    return {name: values[name] for name in MEASURED}


def main() -> None:
    """Parses the command line and runs what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--histories", type=int, nargs="+", default=[50, 1000])
    parser.add_argument("--candidates", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--requests", type=int, default=500, help="of each row")
    parser.add_argument("--users", type=int, default=1000, help="of the shop")
    parser.add_argument("--fresh", action="store_true", help="forget the rows that are there")
    options = parser.parse_args()
    results = Results(NAME, f"python -m benchmarks.{NAME}", options.fresh)
    configuration = {"requests": options.requests, "users": options.users}
    for history in options.histories:
        loads = loads_of(history, options.candidates, options.clients)
        if not all(results.find(load.key, 0, configuration) for load in loads):
            measure(results, loads, transformed_shop(options.users), configuration)
    columns = ("target", "history", "candidates", "clients", *MEASURED)
    print(render(results.path, columns))


if __name__ == "__main__":
    main()
