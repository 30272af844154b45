"""Movies that training never saw, found by what they are made of: MovieLens-1M.

    python -m benchmarks.guim_cold_items             # does what is missing
    python -m benchmarks.guim_cold_items --only guim --seeds 1

A tenth of the movies, chosen by a hash of the id, lose all their known ratings and stay in the
catalogue, with title, year and genres. Users are embedded by what they did with the others, and
each is asked for the first later movie among the cold ones: `among_cold` ranks it with the cold
movies alone, `among_all` with all that are new to the user; equal scores share the mean of their
ranks. Models are trained about as short as in `benchmarks.guim_ablation`; `category_counts` are
genres alone, without training.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.cold_items import is_cold
from benchmarks.cold_items import of_cold_items
from benchmarks.embedding_baselines import BASELINES
from benchmarks.embeddings_movielens_1m import MOVIELENS
from benchmarks.embeddings_movielens_1m import prepare_divided
from benchmarks.environment import ROOT
from benchmarks.guim_ablation import GUIM
from benchmarks.guim_ablation import OF_SEQUENCE
from benchmarks.guim_ablation import SEQUENCE
from benchmarks.guim_ablation import SHORTER
from benchmarks.guim_ablation import guim
from benchmarks.guim_ablation import trained_embeddings
from benchmarks.results import DIRECTORY
from benchmarks.results import Results
from benchmarks.results_table import render
from benchmarks.training_run import Rows
from benchmarks.training_run import is_same_training
from benchmarks.training_run import measure_trainings
from models.config import RetrievalTrainerConfig
from tfx_pipeline.config_file import load_config
from tfx_pipeline.datasets.division import KNOWN
from tfx_pipeline.datasets.division import LATER
from tfx_pipeline.datasets.division import USER_ATTRIBUTES
from tfx_pipeline.datasets.event_log import CATALOGUE_TABLE
from tfx_pipeline.datasets.event_log import EVENTS_TABLE
from tfx_pipeline.datasets.event_log import USERS_TABLE
from tfx_pipeline.datasets.event_log import EventLog
from tfx_pipeline.datasets.event_log import write_event_log
from tfx_pipeline.evaluation.embeddings import metrics
from tfx_pipeline.evaluation.embeddings.log import DividedLog
from tfx_pipeline.evaluation.embeddings.log import Events
from tfx_pipeline.evaluation.embeddings.log import read_divided
from tfx_pipeline.evaluation.embeddings.pair_tasks import next_ranks
from tfx_pipeline.evaluation.embeddings.task import align
from tfx_pipeline.evaluation.embeddings.vectors import Embeddings
from tfx_pipeline.runners.transformed import transformed_log
from transforms.arrow import pa

NAME = "guim_cold_items"
COLUMNS = ("row", "among_cold_hr@10", "among_cold_ndcg@10", "among_all_hr@10", "users", "runs")
_TWO_TOWER = ("epochs=2", "steps_per_epoch=700", "validation.users=2000")
ROWS: Rows = {
    "two_tower": ("movielens_1m", _TWO_TOWER),
    "sequence": (SEQUENCE, (*SHORTER, *OF_SEQUENCE)),
    "sequence, ids alone": (SEQUENCE, (*SHORTER, *OF_SEQUENCE, "model.candidate.features=[]")),
    "guim": guim(*SHORTER),
    "guim, genres alone": guim(*SHORTER, "model.candidate.features=[categories]"),
    "guim, titles and years": guim(*SHORTER, "model.candidate.features=[title,attributes]"),
    "guim, 1 vector": guim(*SHORTER, "model.interests=1"),
    "guim, no id dropout": guim(*SHORTER, "model.candidate.id_dropout=0"),
    "guim, id dropout 0.5": guim(*SHORTER, "model.candidate.id_dropout=0.5"),
}
_SEEDLESS = ("category_counts", "random")


def divide(log_dir: Path, out: Path) -> None:
    """Writes `out/divided`, and `out/cold`, the same without cold items' known events."""
    prepare_divided(MOVIELENS, log_dir, out / "divided", hide=(USER_ATTRIBUTES,))
    if (out / "cold").exists():
        return
    log = EventLog(out / "divided" / KNOWN)
    events = log.read(EVENTS_TABLE)
    kept = events.filter(pa.array(~of_cold_items(events)))
    others = log.read(CATALOGUE_TABLE), log.read(USERS_TABLE)
    write_event_log(out / "cold" / KNOWN, log.manifest, kept, *others)
    shutil.copytree(out / "divided" / LATER, out / "cold" / LATER)


def cold_metrics(log: DividedLog, embeddings: Embeddings) -> dict[str, float]:
    """Ranks the first later cold item that is new to each user.

    Args:
        log: The divided log with all known events.
        embeddings: Made without those of cold items.

    Returns:
        HR@10 and NDCG@10 among the new cold items and among all new ones.
    """
    cold = np.array([is_cold(name.split(":", 1)[1]) for name in log.items])
    kept = cold[log.later.item]
    later = Events(log.later.user[kept], log.later.item[kept], log.later.value[kept])
    aligned, asked = align(embeddings, log), replace(log, later=later)
    values = {}
    for name, among in (("among_cold", cold), ("among_all", None)):
        users, ranks = next_ranks(asked, aligned, among)
        values[f"{name}_hr@10"] = float((ranks < 10).mean())
        values[f"{name}_ndcg@10"] = float(metrics.discounted_gain(ranks).mean())
    return {"users": float(len(users)), **values}


def main(arguments: list[str] | None = None) -> None:
    """Measures what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--fresh", action="store_true", help="forget earlier runs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="rows whose name holds this")
    parser.add_argument("--log-dir", type=Path, default=ROOT / "data" / "movielens-1m")
    parser.add_argument("--work-dir", type=Path, default=ROOT / "runs" / "benchmarks" / NAME)
    parser.add_argument("--results-dir", type=Path, default=DIRECTORY)
    options = parser.parse_args(arguments)
    command = f"python -m benchmarks.{NAME}"
    results = Results(NAME, command, options.fresh, options.results_dir, is_same_training)
    divide(options.log_dir, options.work_dir)
    whole = read_divided(options.work_dir / "divided")
    without = read_divided(options.work_dir / "cold")
    for name in (name for name in _SEEDLESS if options.only in name):
        made = BASELINES[name](without, 0)
        results.measure({"row": name}, 0, partial(cold_metrics, whole, made))
    places = (f"log_dir={options.work_dir / 'cold' / KNOWN}", f"run_dir={options.work_dir / 'run'}")
    data = transformed_log(load_config(GUIM, places))

    def measured(config: RetrievalTrainerConfig) -> dict[str, float]:
        return cold_metrics(whole, trained_embeddings(config, data)[1])

    measure_trainings(results, ROWS, options.seeds, options.only, measured)
    print(render(results.path, COLUMNS, 4))


if __name__ == "__main__":
    main()
