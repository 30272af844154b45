"""Items, candidates and histories of MovieLens-1M as a briefly trained SEMINAR sees them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from benchmarks.environment import ROOT
from benchmarks.ranking_movielens_1m import BENCHMARK
from models.config import RankingTrainerConfig
from transforms.label_config import LabelConfig

if TYPE_CHECKING:
    from models.seminar.model import Seminar

RUN_DIR = ROOT / "runs" / "benchmarks" / "learned_items"
LOG_DIR = ROOT / "data" / BENCHMARK.source
STEPS, BATCH = 1_500, 256
LONGEST = 1_000  # events of a history that are kept
_MODEL = {
    "family": "seminar",
    "dim": 64,
    "window": 50,
    "top_k": 20,
    "use_query": False,
    "normalise": True,
}


@dataclass(frozen=True)
class LearnedItems:
    """What a search reads, with all projections and the gate folded in.

    Attributes:
        channels: [V + 1, M, d] float32, of items, scaled as they are compared; 0 is unknown.
        vectors: [V + 1, H, M, d] float32, what a candidate multiplies channels with: the sum of the
            products over the channels is the score of a head.
        values: [V + 1, H, c] float32, what heads average.
        candidates: [N] int64, a test candidate of each of N users.
        histories: [N, L] int64, their events before it, newest first; 0 is padding.
    """

    channels: np.ndarray
    vectors: np.ndarray
    values: np.ndarray
    candidates: np.ndarray
    histories: np.ndarray


def learned_items(fresh: bool = False) -> LearnedItems:
    """Returns what was learned; trains where that was not done yet (a few minutes).

    An event is told from random items by the 50 events before it.

    Args:
        fresh: Trains anew, as after a change of the model's code.
    """
    path = RUN_DIR / f"{'-'.join(map(str, [*_MODEL.values(), STEPS]))}.npz"
    if fresh or not path.exists():
        np.savez(path, **_learn())
    with np.load(path, allow_pickle=False) as kept:
        return LearnedItems(**kept)


def _learn() -> dict[str, Any]:
    """Trains the model, and reads items off it; candidates and histories are of test pages."""
    import tensorflow as tf

    from benchmarks.ranking_speed import make_model
    from benchmarks.ranking_speed import training_data
    from models.training.learner import seed_everything
    from models.training.optimizers import make_optimizer
    from models.training.replicas import WHOLE

    values = {"model": _MODEL, "input": {"batch_size": BATCH}, "label": {"source": "events"}}
    values["optimizer"] = {"learning_rate": 3e-3}
    config = RankingTrainerConfig.model_validate(values)
    data = BENCHMARK.examples(
        LOG_DIR, RUN_DIR, reuse=(RUN_DIR / "artifacts" / "transform").exists()
    )
    seed_everything(config)
    model: Seminar = make_model(config, data)
    model.compile(optimizer=make_optimizer(config.optimizer, STEPS))
    step = tf.function(model.train_step, reduce_retracing=True)
    batches = model.training_batches(training_data(data), WHOLE).repeat()
    for number, batch in enumerate(islice(batches, STEPS), 1):
        logs = step(batch)
        if number % 100 == 0:
            print(number, {name: round(float(v), 4) for name, v in logs.items()}, flush=True)
    candidates, histories = zip(*_test_pages(data.files("test_pages"), model), strict=True)
    pages = {"candidates": np.array(candidates), "histories": np.stack(histories)}
    return read_off(model) | pages


def read_off(model: Seminar) -> dict[str, np.ndarray]:
    """Returns channels, vectors and values of all items; see `LearnedItems`."""
    import tensorflow as tf

    ids = tf.range(model.channels.ids.size, dtype=tf.int64)
    items = model.channels(model.channels.look_up(ids))
    found = model.attention.search_vectors(model.compared(items))
    scale = model.scale_of(items).numpy()[:, None]  # [V + 1, 1, 1]
    heads = tf.reshape(model.attention.value(items), [len(ids), model.model.heads, -1])
    return {
        "channels": model.embed_catalogue() * scale,
        "vectors": model.channels.search_channels(found).numpy(),
        "values": heads.numpy(),
    }


def _test_pages(files: list[str], model: Seminar) -> Iterator[tuple[int, np.ndarray]]:
    """Yields the candidate and the whole history of each user's first test page."""
    from benchmarks.ranking_speed import training_data
    from models.input import batch as b
    from models.input.page_batches import PageSpec
    from models.input.page_batches import evaluation_pages
    from models.ranking.model import windows_of
    from tfx_pipeline.runners.transformed import last_transformed

    label = LabelConfig.model_validate(BENCHMARK.timeline["label"])
    long = model.model.model_copy(update={"window": LONGEST})
    spec, seen = training_data(last_transformed(RUN_DIR)).spec, set[int]()
    for batch in evaluation_pages(files, spec, PageSpec(windows_of(long), label)):
        for user, candidate, history in zip(
            batch[b.USER].numpy(),
            batch[b.CANDIDATE_ENTITY].numpy()[:, 0],
            batch[b.HISTORY_ENTITY].numpy(),
            strict=True,
        ):
            if user not in seen:
                seen.add(user)
                yield candidate, np.pad(history, (0, LONGEST - len(history)))
