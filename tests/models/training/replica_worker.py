"""A worker of `replicas_test`: its share of fixed batches, some steps, then weights and losses.

TF_CONFIG=... python replica_worker.py OUT.npz MODEL LOSS OPTIMIZER

The chief alone saves the weights, when the others are gone.
"""

import sys

import numpy as np
import tensorflow as tf

import models  # noqa: F401  (before TensorFlow)
from models.fixed_values import retrieval_trainer
from models.guim.model import GUIM
from models.input import batch as b
from models.input.catalogue import CatalogueTable
from models.input.vocabulary_sizes import VocabularySizes
from models.sequence.model import SequenceModel
from models.training.optimizers import make_optimizer
from models.training.replicas import is_chief
from models.training.replicas import training_strategy
from models.two_tower.model import TwoTower
from tests.helpers.workers import steady_optimizer
from tests.models.courier.replicas import make_courier
from tests.models.courier.replicas import page_view_batch
from tests.models.courier.replicas import view_batch
from tests.models.ranking.replicas import make_ranker
from tests.models.ranking.replicas import pages_of_step

ITEMS, ROWS, LENGTH, STEPS = 30, 6, 5, 4


def make(name: str, loss: str, optimizer: str):
    if name in ("courier", "simclr"):
        return make_courier(loss, optimizer)
    if name == "din":
        return make_ranker(optimizer)
    model = {
        "sequence": {
            "dim": 8,
            "encoder": {"dropout": 0.0},
            "candidate": {"id_dropout": 0.0},
            "input": {"length": LENGTH},
        },
        "guim": {
            "dim": 8,
            "encoder": {"dropout": 0.0},
            "candidate": {"id_dropout": 0.0},
            "input": {"length": LENGTH},
            "interests": 2,
        },
        "two_tower": {
            "dim": 8,
            "candidate": {"id_dropout": 0.0},
            "query": {
                "window": LENGTH,
                "hidden_units": [8],
                "dropout": 0.0,
                "item_dropout": 0.0,
                "use_user_attributes": False,
            },
        },
    }[name]
    loss_section = {"exclude_history": name == "sequence", "name": loss}
    if loss != "full_softmax":
        loss_section["negatives"] = 7
    if name == "guim":
        loss_section["queue"] = 64  # more than the targets of all steps: orders differ
    config = retrieval_trainer(
        {
            "model": {"family": name, "loss": loss_section} | model,
            "optimizer": steady_optimizer(optimizer),
        }
    )
    tf.keras.utils.set_random_seed(1)
    titles = np.arange(ITEMS + 1, dtype=np.int32)[:, None] % 7
    table = CatalogueTable(np.arange(1, ITEMS + 1), np.array([b"item"] * ITEMS), {"title": titles})
    counts = np.arange(ITEMS + 1, dtype=float)
    sizes = VocabularySizes(entity=ITEMS + 1, title_token=7)
    families = {"sequence": SequenceModel, "guim": GUIM, "two_tower": TwoTower}
    model = families[name](config, sizes, table, counts)
    model.compile(optimizer=make_optimizer(config.optimizer, 100))
    return model


def batch(name: str, step: int, part: slice) -> dict[str, tf.Tensor]:
    """Some rows of a batch, which has rows of unequally many targets."""
    if name == "courier":
        return page_view_batch(step, part)
    if name == "simclr":
        return view_batch(step, part)
    if name == "din":
        return pages_of_step(step, part)
    events = np.random.default_rng(step).integers(1, ITEMS + 1, (ROWS, LENGTH + 1))
    lengths = np.array([5, 1, 2, 5, 4, 3])
    there = np.arange(LENGTH) < lengths[:, None]
    entity, target = np.where(there, events[:, :-1], 0), np.where(there, events[:, 1:], 0)
    if name != "two_tower":
        whole = {
            b.SEQUENCE_ENTITY: entity,
            b.SEQUENCE_TYPE: there.astype(int),
            b.SEQUENCE_LENGTH: lengths,
            b.SEQUENCE_QUERY: there,
            b.SEQUENCE_TARGET: target,
        }
    if name == "guim":
        whole[b.SEQUENCE_FORWARDS] = np.arange(ROWS) % 3 == 0
        forwards = whole[b.SEQUENCE_FORWARDS][:, None]
        hidden = there & (np.arange(LENGTH) == 1) & ~forwards
        whole[b.SEQUENCE_MASKED] = hidden
        whole[b.SEQUENCE_QUERY] = hidden | (there & forwards)
        whole[b.SEQUENCE_FUTURE] = events[:, -2:] * [[1, row % 2] for row in range(ROWS)]
    if name == "two_tower":
        whole = {
            b.HISTORY_ENTITY: entity,
            b.HISTORY_TYPE: there.astype(int),
            b.HISTORY_LENGTH: lengths,
            b.TARGET_ENTITY: events[:, -1],
        }
    return {name: tf.constant(values[part]) for name, values in whole.items()}


def main(out: str, name: str, loss: str, optimizer: str) -> None:
    strategy = training_strategy()
    with strategy.scope():
        model = make(name, loss, optimizer)
    number = strategy.num_replicas_in_sync
    index = strategy.cluster_resolver.task_id if strategy.cluster_resolver else 0
    # Unequal shares: two rows for the one, four for the other.
    part = slice(None) if number == 1 else (slice(0, 2), slice(2, None))[index]

    @tf.function(reduce_retracing=True)
    def step(inputs):
        return strategy.run(lambda given: model.train_step(given)["loss"], args=(inputs,))

    losses = []
    for turn in range(STEPS):
        losses.append(float(step(batch(name, turn % 2, part))))
    weights = {f"{place}": weight.numpy() for place, weight in enumerate(model.trainable_variables)}
    np.savez(out, losses=np.array(losses), **weights)
    if is_chief():
        saved = tf.Module()
        saved.weights = model.saved_weights()
        tf.saved_model.save(saved, f"{out}.model")


if __name__ == "__main__":
    main(*sys.argv[1:])
