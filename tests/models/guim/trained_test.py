"""GUIM trained from timelines, and exported."""

import json

import numpy as np
import pytest
import tensorflow as tf

from models.fixed_values import retrieval_trainer
from models.layers.mixture import Mixture
from models.layers.mixture import score_items
from tests.helpers.timelines import timeline
from tests.models.conftest import SMALL
from tests.models.conftest import train

CONFIG = retrieval_trainer(
    SMALL.model_dump(mode="json")
    | {
        "model": {
            "family": "guim",
            "dim": 16,
            "normalize": True,
            "temperature": 0.1,
            "interests": 2,
            "input": {"length": 8},
            "encoder": {"blocks": 1, "use_user_attributes": True},
            "loss": {"negatives": 0, "queue": 64},
        },
    }
)


@pytest.fixture(scope="module")
def trained(log, tmp_path_factory):
    return train(CONFIG, log, tmp_path_factory.mktemp("guim"))


def answer(trained, *histories):
    examples = [timeline("u", history) for history in histories]
    found = trained.towers.signatures["serving_default"](tf.constant(examples))
    return found["embedding"], found["weight"]


def of_group(group):
    """The small log's users take items of one of four groups."""
    return [("buy", f"item:{group + 4 * place}", place + 1) for place in range(4)]


def test_users_are_served_as_mixtures_with_or_without_a_history(trained):
    vectors, weight = answer(trained, of_group(0), of_group(0)[:1], [])

    assert vectors.shape == (3, 2, 16) and np.isfinite(vectors).all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=2), 10.0, rtol=1e-4)  # 1 / temperature
    np.testing.assert_allclose(tf.reduce_sum(weight, axis=1), 1.0, atol=1e-5)


def test_users_and_items_are_in_one_space(trained, log):
    """A user who takes items of a group is nearer to these than to others."""
    embed = trained.towers.signatures["embed_candidate"]
    items = np.concatenate([embed(tf.constant([row]))["embedding"] for row in log.raw["catalogue"]])
    names = [_name(row) for row in log.raw["catalogue"]]
    assert np.linalg.norm(items, axis=1) == pytest.approx(1.0, abs=1e-4)

    vectors, weight = answer(trained, of_group(0), of_group(3))
    scores = score_items(Mixture(vectors, tf.math.log(weight)), tf.constant(items)).numpy()
    mine = [[name % 4 == group for name in names] for group in (0, 3)]
    for row, group in zip(scores, np.array(mine), strict=True):
        assert row[group].mean() > row[~group].mean() + 1.0


def _name(row):
    (entity,) = (
        tf.train.Example.FromString(row).features.feature["catalogue/entity"].bytes_list.value
    )
    return int(entity.decode().rpartition(":")[2])


def test_training_finds_what_follows(trained):
    report = json.loads((trained.run_dir / "training.json").read_text())

    assert report["epochs"][-1]["loss"] < report["epochs"][0]["loss"]
    assert report["best"]["hr@5"] > 2 * 5 / 40  # chance is an eighth
