"""A small DIN and fixed batches of pages, for the workers of `replicas_test`."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

import models  # noqa: F401  (before TensorFlow)
from models.config import RankingTrainerConfig
from models.din.model import DIN
from models.input import batch as b
from models.input.catalogue import CatalogueTable
from models.input.page_batches import PageSpec
from models.input.vocabulary_sizes import VocabularySizes
from models.ranking.model import PageEvaluation
from models.ranking.model import windows_of
from models.training.optimizers import make_optimizer
from tests.helpers.workers import steady_optimizer

ITEMS, ROWS, EVENTS, SHOWN = 12, 6, 5, 4


def make_ranker(optimizer: str) -> DIN:
    config = RankingTrainerConfig.model_validate(
        {
            "model": {
                "family": "din",
                "dim": 8,
                "window": EVENTS,
                "dropout": 0.0,
                "candidate": {"id_dropout": 0.0},
                "use_event_types": False,
                "use_query": False,
                "use_user_attributes": False,
            },
            "optimizer": steady_optimizer(optimizer),
        }
    )
    tf.keras.utils.set_random_seed(1)
    table = CatalogueTable(np.arange(1, ITEMS + 1), np.array([b"item"] * ITEMS), {})
    pages = PageSpec(windows_of(config.model), config.label)
    sizes = VocabularySizes(entity=ITEMS + 1)
    made = DIN(config, sizes, table, np.arange(ITEMS + 1) > 0, pages)
    PageEvaluation(made, [pages_of_step(0, slice(None))]).run_one()
    made.compile(optimizer=make_optimizer(config.optimizer, 100))
    return made


def pages_of_step(step: int, part: slice) -> dict[str, tf.Tensor]:
    """Some pages of a batch, with unequally many candidates each."""
    draw = np.random.default_rng(step)
    shown = np.array([4, 2, 1, 3, 4, 2])
    there = np.arange(SHOWN) < shown[:, None]
    pages = {
        b.HISTORY_ENTITY: draw.integers(1, ITEMS + 1, (ROWS, EVENTS)),
        b.HISTORY_LENGTH: np.array([5, 1, 2, 0, 4, 3]),
        b.CANDIDATE_ENTITY: np.where(there, draw.integers(1, ITEMS + 1, (ROWS, SHOWN)), 0),
        b.CANDIDATE_LENGTH: shown,
        b.CANDIDATE_POSITION: np.where(there, np.arange(SHOWN), -1),
        b.LABEL: (draw.integers(0, 2, (ROWS, SHOWN)) * there)[..., None].astype(np.float32),
    }
    return {name: tf.constant(values[part]) for name, values in pages.items()}
