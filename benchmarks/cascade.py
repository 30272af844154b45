"""Retrieval alone against retrieve-then-rank, judged by the simulated shop's truth.

    python -m benchmarks.cascade                  # does what is missing

Requests are result pages of items in the test period of `benchmarks.ranking_shop`, with the history
and the query that they had. The two-tower retrieves 100 items of all that are out by then, as its
exported towers score them, exactly; DIN's exported ranker orders these anew. Both were
trained on what came before the test period, the two-tower on clicks, carts and purchases, DIN on
pages. How much the retrieval's score counts beside the ranker's (`serving.cascade`,
`retrieval_weight`) is chosen on validation pages: the weight with the best AUC within pages. The
first ten of each order are put before the truth:

- `utility@10`: the mean of the simulator's utility U, whose standard deviation among what the
  shop showed is `utility_spread`;
- `expected_clicks@10`: the clicks on a page of these ten, from the top, sum_j p_j with
  p_j = sigmoid(U_j - 2.8) / (1 + .22 j).
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any
from typing import NamedTuple

import numpy as np

from benchmarks.environment import ROOT
from benchmarks.ranking_run import TEST
from benchmarks.ranking_run import VALIDATION
from benchmarks.ranking_run import run_ranking
from benchmarks.ranking_shop import BENCHMARK
from benchmarks.results import DIRECTORY
from benchmarks.results import Results
from benchmarks.results_table import render
from models.config import RankingTrainerConfig
from models.config import RetrievalTrainerConfig
from models.fixed_values import retrieval_trainer
from serving.cascade.answer import joint_scores
from tfx_pipeline.datasets.shop import utility
from tfx_pipeline.datasets.shop.truth import Truth
from tfx_pipeline.runners.transformed import Transformed
from transforms import features as f

NAME = "cascade"
STAGES = ("retrieval", "retrieve_then_rank")
WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0)
KIND = "item"
CANDIDATES, SHOWN = 100, 10
REQUESTS = 1_000
RETRIEVAL = retrieval_trainer(
    {
        "model": {"query": {"use_time": True, "use_query": True}},
        "target_events": BENCHMARK.shared["target_events"],
        "candidate_types": BENCHMARK.shared["candidate_types"],
        "epochs": 3,
        "tensorboard": False,
        "checkpoints": False,
    }
)
_BATCH = 256


class Items(NamedTuple):
    """Items of the catalogue.

    Attributes:
        ids: [V] str.
        available_from: [V] int64, microsecond of launch.
        rows: V raw serialised rows.
    """

    ids: np.ndarray
    available_from: np.ndarray
    rows: list[bytes]


class Requests(NamedTuple):
    """Pages of items in the test period.

    Attributes:
        pages: N raw page examples, `tf.train.Example`.
        row: [N] int64, their rows in the truth.
        time: [N] int64, microseconds.
    """

    pages: list[Any]
    row: np.ndarray
    time: np.ndarray


def main() -> None:
    """Measures what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--fresh", action="store_true", help="forget earlier runs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--log-dir", type=Path, default=ROOT / "data" / "shop-ranking")
    runs = ROOT / "runs" / "benchmarks" / BENCHMARK.name
    parser.add_argument("--run-dir", type=Path, default=runs, help="of timelines and Transform")
    parser.add_argument("--reuse", action="store_true", help="the last run's page examples")
    parser.add_argument("--results-dir", type=Path, default=DIRECTORY)
    options = parser.parse_args()
    results = Results(NAME, f"python -m benchmarks.{NAME}", options.fresh, options.results_dir)
    data = BENCHMARK.examples(options.log_dir, options.run_dir, options.reuse)
    ranking = BENCHMARK.trainer_config("din")
    truth = Truth(options.log_dir)
    raw = newest_examples(options.run_dir)
    items = read_items(raw)
    requests = read_requests(raw, truth, options.requests)
    validation = draw_pages(raw, VALIDATION, requests.row.size)
    settings = {
        "retrieval": RETRIEVAL.model_dump(mode="json", exclude={"seed"}),
        "ranking": ranking.model_dump(mode="json", exclude={"seed"}),
        "requests": options.requests,
    }
    for seed in range(options.seeds):
        if all(results.find({"stage": stage}, seed, settings) for stage in STAGES):
            continue
        started = time.perf_counter()
        found = measure(ranking, data, items, validation, requests, truth, seed)
        seconds = (time.perf_counter() - started) / len(STAGES)
        for stage in STAGES:
            run = partial(found.__getitem__, stage)
            results.measure({"stage": stage}, seed, run, settings, seconds)
    columns = (
        "stage",
        "utility@10",
        "expected_clicks@10",
        "utility_spread",
        "retrieval_weight",
        "runs",
    )
    print(render(results.path, columns))


def measure(
    ranking: RankingTrainerConfig,
    data: Transformed,
    items: Items,
    validation: list[Any],
    requests: Requests,
    truth: Truth,
    seed: int,
) -> dict[str, dict[str, float]]:
    """Trains both stages with one seed, and returns each stage's metrics by name.

    Args:
        ranking: How the ranking model is trained, but for the seed.
        data: What both stages are trained on.
        items: The catalogue.
        validation: Pages on which the weight of the retrieval's score is chosen.
        requests: Pages on which both stages are judged.
        truth: Judges them.
        seed: Of the trainings.
    """
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        places = Path(folder) / "towers", Path(folder) / "ranker"
        run_ranking(ranking.model_copy(update={"seed": seed + 1}), data, export=places[1])
        train_retrieval(RETRIEVAL.model_copy(update={"seed": seed + 1}), data, places[0])
        towers, ranker = (tf.saved_model.load(str(place)) for place in places)
        vectors = _ask(towers, "embed_candidate", items.rows)["embedding"]
        weight = choose_weight(towers, ranker, items, vectors, validation)
        retrieved, scores = retrieve(towers, items, vectors, requests, CANDIDATES)
        ranked = rank(ranker, requests, retrieved, scores, weight)
    orders = zip(STAGES, (retrieved, ranked), strict=True)
    found = {stage: judge(truth, requests, order[:, :SHOWN]) for stage, order in orders}
    found[STAGES[1]]["retrieval_weight"] = weight
    return found


def choose_weight(
    towers: Any, ranker: Any, items: Items, vectors: np.ndarray, pages: list[Any]
) -> float:
    """Returns the weight of `WEIGHTS` whose order of pages' candidates is best.

    Args:
        towers: The exported two-tower, loaded.
        ranker: The exported ranking model, loaded.
        items: V of them.
        vectors: [V, d] float32, their embeddings.
        pages: Page examples, `tf.train.Example`.
    """
    from models.ranking.page_metrics import grouped_auc

    row_of = {name: row for row, name in enumerate(items.ids)}
    examples = [page.SerializeToString() for page in pages]
    query = _ask(towers, "serving_default", examples)["embedding"]
    columns: dict[str, list[np.ndarray]] = {"page": [], "label": [], "p": [], "score": []}
    for number, page in enumerate(pages):
        feature = page.features.feature
        names = feature[f.CANDIDATE_ENTITY].bytes_list.value
        at = [row_of[name.decode().partition(":")[2]] for name in names]
        columns["page"].append(np.full(len(at), number))
        columns["label"].append(np.array(feature[f.LABEL_EVENTS].int64_list.value) > 0)
        columns["p"].append(_ask(ranker, "serving_default", [examples[number]])["scores"][0])
        columns["score"].append(vectors[at] @ query[number])
    page_of, label, p, score = (np.concatenate(column) for column in columns.values())
    joint = [joint_scores(p, score, weight) for weight in WEIGHTS]
    aucs = [grouped_auc(label, scores, page_of) for scores in joint]
    print(dict(zip(WEIGHTS, np.round(aucs, 4), strict=True)), flush=True)
    return WEIGHTS[int(np.argmax(aucs))]


def train_retrieval(config: RetrievalTrainerConfig, data: Transformed, path: Path) -> None:
    """Trains the two-tower and exports its towers."""
    import models  # noqa: F401  (before TensorFlow)
    from models.trainer import train
    from models.training.data import TrainingData

    transform = data.output()
    splits = (data.files(name) for name in ("train", "catalogue", "validation"))
    model, report = train(config, TrainingData(transform, *splits))
    print(json.dumps(report["best"]), flush=True)
    model.export(transform.transform_features_layer(), str(path))


def retrieve(
    towers: Any, items: Items, vectors: np.ndarray, requests: Requests, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the best items that are out at the time of each request.

    Args:
        towers: The exported two-tower, loaded.
        items: V of them.
        vectors: [V, d] float32, their embeddings.
        requests: N of them.
        k: How many are returned.

    Returns:
        [N, k] str, ids of items without their type, best first, and their scores, float32.
    """
    examples = [page.SerializeToString() for page in requests.pages]
    query = _ask(towers, "serving_default", examples)["embedding"]  # [N, d]
    late = items.available_from > requests.time[:, None]
    scores = np.where(late, -np.inf, query @ vectors.T)  # [N, V]
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return items.ids[order], np.take_along_axis(scores, order, axis=1)


def rank(
    ranker: Any, requests: Requests, items: np.ndarray, scores: np.ndarray, weight: float
) -> np.ndarray:
    """Returns the items of each request in the order of both stages' scores.

    Args:
        ranker: The exported ranking model, loaded.
        requests: N of them.
        items: [N, k] str, ids of items.
        scores: [N, k] float32, the retrieval's.
        weight: How much the retrieval's score counts; see `serving.cascade`.
    """
    asked = [with_candidates(*pair) for pair in zip(requests.pages, items, strict=True)]
    p = _ask(ranker, "serving_default", asked)["scores"]  # [N, k]
    order = np.argsort(-joint_scores(p, scores, weight), axis=1, kind="stable")
    return np.take_along_axis(items, order, axis=1)


def with_candidates(page: Any, items: np.ndarray) -> bytes:
    """Returns a page example, serialised, that asks about other candidates, [k] str."""
    asked = copy.deepcopy(page)
    values = asked.features.feature[f.CANDIDATE_ENTITY].bytes_list.value
    values[:] = [f.entity(KIND, item).encode() for item in items]
    made: bytes = asked.SerializeToString()
    return made


def judge(truth: Truth, requests: Requests, items: np.ndarray) -> dict[str, float]:
    """Returns what the truth says of pages of items, [N, n] str."""
    things = truth.rows_of(KIND, items.astype(np.int64))
    parts = truth.parts(KIND, requests.row, things)
    seen = truth.impressions(KIND)
    shown = utility.total(truth.parts(KIND, seen.page, seen.things))[seen.things >= 0]
    return {
        "utility@10": float(utility.total(parts).mean()),
        "expected_clicks@10": float(utility.choice(KIND, parts).sum(axis=1).mean()),
        "utility_shown": float(shown.mean()),
        "utility_spread": float(shown.std()),
    }


def read_requests(raw: Path, truth: Truth, number: int) -> Requests:
    """Draws pages of items from the raw split `test_pages`, the same ones for every seed."""
    pages = draw_pages(raw, TEST, number)
    features = [page.features.feature for page in pages]
    users = [int(feature[f.USER_ID].bytes_list.value[0]) - 1 for feature in features]
    time = np.array([feature[f.REQUEST_TIME].int64_list.value[0] for feature in features])
    span = truth.config.span
    known = truth.pages["user"] * span + truth.pages["time"]
    order = np.argsort(known)
    wanted = np.array(users) * span + time - truth.config.start_time
    row = order[np.minimum(np.searchsorted(known[order], wanted), len(known) - 1)]
    if (known[row] != wanted).any():
        raise ValueError("Some pages are not in the shop's truth; make it with `truth_users`.")
    return Requests(pages, row, time)


def draw_pages(raw: Path, split: str, number: int) -> list[Any]:
    """Draws page examples of items, `tf.train.Example`, from a raw split, each time the same."""
    import tensorflow as tf

    found = []
    for example in _records(raw, split):
        page = tf.train.Example.FromString(example).features.feature
        if page[f.CANDIDATE_ENTITY].bytes_list.value[0].startswith(f"{KIND}:".encode()):
            found.append(example)
    drawn = np.random.default_rng(0).permutation(len(found))[:number]
    # Parsed again: the messages of a whole split take much more memory than its bytes.
    return [tf.train.Example.FromString(found[index]) for index in drawn]


def read_items(raw: Path) -> Items:
    """Reads the items of the raw split `catalogue`."""
    import tensorflow as tf

    ids, available, rows = [], [], []
    for row in _records(raw, "catalogue"):
        feature = tf.train.Example.FromString(row).features.feature
        kind, _, name = feature[f.CATALOGUE_ENTITY].bytes_list.value[0].decode().partition(":")
        if kind == KIND:
            ids.append(name)
            available.append([*feature[f.CATALOGUE_AVAILABLE_FROM].int64_list.value, 0][0])
            rows.append(row)
    return Items(np.array(ids), np.array(available), rows)


def newest_examples(run_dir: Path) -> Path:
    """Returns the directory of the raw splits that a run wrote last."""
    found = (run_dir / "artifacts" / "timeline-example-gen").glob(f"*/*/Split-{TEST}")
    return max((path.parent for path in found), key=lambda path: int(path.name))


def _records(raw: Path, split: str) -> Any:
    """Returns the serialised examples of a split."""
    import tensorflow as tf

    files = sorted(str(path) for path in (raw / f"Split-{split}").iterdir() if path.is_file())
    return tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator()


def _ask(loaded: Any, signature: str, examples: list[bytes]) -> dict[str, np.ndarray]:
    """Asks a SavedModel about serialised examples, some at a time."""
    import tensorflow as tf

    answers = [
        loaded.signatures[signature](examples=tf.constant(examples[first : first + _BATCH]))
        for first in range(0, len(examples), _BATCH)
    ]
    return {name: np.concatenate([one[name].numpy() for one in answers]) for name in answers[0]}


if __name__ == "__main__":
    main()
