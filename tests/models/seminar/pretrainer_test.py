"""SEMINAR's two Trainers: what is pretrained is where ranking starts, and frozen parts stay."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

import models  # noqa: F401  (chooses Keras 2)
from models import trainer
from models.config import PretrainingTrainerConfig
from models.config import RankingTrainerConfig
from models.input import batch as b
from models.seminar.pretrainer import SeminarPretrainer
from models.training.data import TrainingData
from models.training.replicas import WHOLE
from models.training.warm_start import read_weights
from tests.helpers.examples import example
from tests.helpers.gradients import assert_gradients
from tests.helpers.timelines import DAY
from tests.helpers.timelines import run_transform
from tests.helpers.timelines import small_log
from tests.helpers.timelines import timeline
from tests.helpers.timelines import write_examples
from transforms import features as f

COMMON = {
    "dim": 8,
    "heads": 2,
    "top_k": 4,
    "window": 6,
    "use_time": True,
    "candidate": {"features": ["categories", "attributes", "title", "image_vector"]},
}
PRETRAINING = PretrainingTrainerConfig.model_validate(
    {
        "model": COMMON | {"hidden_units": [8], "losses": {"relevance": {"negatives": 2}}},
        "epochs": 4,
        "input": {"batch_size": 16},
        "optimizer": {"learning_rate": 0.01},  # at .02 the next pair's loss does not settle
        "tensorboard": False,
        "candidate_types": ["item"],
    }
)
FROZEN = ("embeddings", "projections")
RANKING = RankingTrainerConfig.model_validate(
    {
        "model": {"family": "seminar", "hidden_units": [8]} | COMMON,
        "label": {"source": "impressions"},
        "epochs": 1,
        "input": {"batch_size": 16},
        "optimizer": {"learning_rate": 0.02},
        "tensorboard": False,
        "freeze": FROZEN,
    }
)
COLOURS = ("red", "green", "blue", "grey")
USERS = 96


def page(user, group):
    items = [f"item:{group + 4 * step}" for step in range(5)]
    candidates = [f"item:{(group + 1) % 4}", items[-1]]
    columns = {
        f.USER_ID: f"u{user}",
        f.EVENT_ENTITY: items[:4],
        f.EVENT_TYPE: ["watch"] * 4,
        f.EVENT_TIMESTAMP: [DAY * step for step in range(1, 5)],
        f.EVENT_VALUE: [0.0] * 4,
        f.EVENT_QUERY: [COLOURS[group], "", COLOURS[group], ""],
        f.REQUEST_TIME: 30 * DAY,
        f.REQUEST_QUERY: COLOURS[group],
        f.CANDIDATE_ENTITY: candidates,
        f.LABEL_EVENTS: [0, 1],
    }
    return example(**columns)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A log whose users search for the colour of the group of items that they like."""
    path = tmp_path_factory.mktemp("queries")
    log = small_log(users=USERS, items=20, events=8)
    train = []
    for user in range(USERS):
        group = user % 4
        items = [f"item:{group + 4 * (step % 5)}" for step in range(user, user + 8)]
        events = [("watch", item, (1 + step) * DAY) for step, item in enumerate(items)]
        shown = {
            f.EVENT_QUERY: [COLOURS[group], ""] * 4,
            f.PAGE_TIMESTAMP: [8 * DAY],
            f.PAGE_QUERY: [COLOURS[group]],
            f.PAGE_HISTORY_LENGTH: [7],
            f.IMPRESSION_PAGE: [0, 0],
            f.IMPRESSION_POSITION: [0, 1],
            f.IMPRESSION_ENTITY: [items[-1], f"item:{(group + 1) % 4}"],
            f.IMPRESSION_EVENTS: [1, 0],
        }
        train.append(timeline(f"u{user}", events, **shown))
    held_out = [page(user, user % 4) for user in range(USERS)]
    splits = {"train": train, "catalogue": log["catalogue"], "validation_pages": held_out}
    write_examples(path / "examples", splits)
    return run_transform(path / "examples", path / "transform")


def files(folders, split):
    return sorted(str(p) for p in (folders["transformed_examples"] / f"Split-{split}").glob("*"))


@pytest.fixture(scope="module")
def data(folders):
    transform = tft.TFTransformOutput(str(folders["transform_graph"]))
    splits = (files(folders, name) for name in ("train", "catalogue", "validation_pages"))
    return TrainingData(transform, *splits)


def run_fn(folders, path, stage, config, base_model=None):
    trainer.run_fn(
        SimpleNamespace(
            train_files=[*files(folders, "train"), *files(folders, "catalogue")],
            eval_files=files(folders, "validation_pages"),
            transform_graph_path=str(folders["transform_graph"]),
            serving_model_dir=str(path / "model"),
            model_run_dir=str(path / "run"),
            custom_config={"stage": stage, "config": config.to_json()},
            base_model=base_model and str(base_model),
            hyperparameters=None,
        )
    )
    return path / "model"


@pytest.fixture(scope="module")
def pretrained(folders, tmp_path_factory):
    return run_fn(folders, tmp_path_factory.mktemp("pretrained"), "pretraining", PRETRAINING)


@pytest.fixture(scope="module")
def model(data):
    made = SeminarPretrainer.of(PRETRAINING, data)
    made.validation(data).run_one()
    return made


def pages(model, data):
    return next(iter(model.training_batches(data, WHOLE)))


def test_every_loss_falls(pretrained):
    report = json.loads((pretrained.parent / "run" / "training.json").read_text())
    first, last = report["epochs"][0], report["epochs"][-1]
    for name in ("loss", "pretraining_loss", "next_pair", "alignment", "relevance"):
        assert last[name] < first[name], name
    best = min(report["epochs"], key=lambda epoch: epoch["pretraining_loss"])
    assert report["best"] == best
    weighted = sum(best[name] for name in ("next_pair", "alignment", "relevance"))
    assert best["pretraining_loss"] == pytest.approx(weighted, abs=1e-5)


def test_every_projection_and_every_part_has_a_gradient(model, data):
    with tf.GradientTape() as tape:
        loss = model.compute_loss(pages(model, data), training=True)
    parts = model.parts()
    assert len(parts["projections"]) == 3 + 1 + 1  # of channels, of the query, the gate
    assert len(parts["attention"]) == 4 + 1
    assert len(parts["vectors"]) == 1
    weights = [weight for part in parts.values() for weight in part] + [model.end]
    assert_gradients(tape, loss, weights)


@pytest.mark.parametrize("name", ["next_pair", "alignment", "relevance"])
def test_a_loss_that_is_not_used_is_not_made(data, name):
    others = {"next_pair", "alignment", "relevance"} - {name}
    losses = {other: {"use": False} for other in others} | {name: {"weight": 3.0}}
    values = PRETRAINING.model_dump(mode="json")
    values["model"]["losses"] = losses
    made = SeminarPretrainer.of(PretrainingTrainerConfig.model_validate(values), data)
    metrics = made.validation(data).evaluate()
    assert set(metrics) == {name, "pretraining_loss"}
    assert metrics["pretraining_loss"] == pytest.approx(3.0 * metrics[name], rel=1e-5)


def test_a_pair_that_did_not_follow_has_the_query_of_another_event(model, data):
    batch = pages(model, data)
    view = model.features(batch)
    seed = tf.constant([1, 2], tf.int64)
    following = model.pair(*model.following(view, seed))
    length = tf.cast(tf.reduce_sum(view.mask, axis=1), tf.int32).numpy()

    own = model.pair(*model.target_parts(view))  # of the page's query
    np.testing.assert_allclose(following[::2], own[::2], atol=1e-6)
    for row in range(len(length)):
        queries = view.event_query[row, : max(length[row], 1)].numpy()
        made = [
            0.5 * model.query_projection(query[None])[0] + 0.5 * view.candidate[2 * row + 1]
            for query in queries
        ]
        distance = np.abs(np.stack(made) - following[2 * row + 1].numpy()).max(axis=1)
        assert distance.min() < 1e-5


def test_an_empty_history_attends_to_the_end_token(model, data):
    batch = dict(pages(model, data))
    batch[b.HISTORY_LENGTH] = tf.zeros_like(batch[b.HISTORY_LENGTH])
    view = model.features(batch)
    found = model.follow_end(view, model.pair(*model.target_parts(view)))
    expected = model.attention.output_projection(model.attention.value(model.end[None]))
    np.testing.assert_allclose(found, np.tile(expected, [len(found), 1]), atol=1e-5)


def test_held_out_pages_become_what_was_clicked_beside_random_items(data, model):
    (batch,) = model.validation(data).batches
    assert batch[b.CANDIDATE_ENTITY].shape == (USERS, 2)
    entities = dict(enumerate(data.transform.vocabulary_by_name("entity"), 1))
    clicked = [entities[index] for index in batch[b.CANDIDATE_ENTITY][:, 0].numpy()]
    assert set(clicked) == {f"item:{16 + group}".encode() for group in range(4)}
    assert b.LABEL not in batch


def test_ranking_starts_from_what_was_pretrained_and_frozen_parts_stay(
    data, pretrained, monkeypatch
):
    started = {}

    def fit(model, *rest):
        started.update({name_of(weight): weight.numpy() for weight in model.variables})
        fitted(model, *rest)

    fitted = trainer._fit
    monkeypatch.setattr(trainer, "_fit", fit)
    model, _ = trainer.train(RANKING, data, earlier=str(pretrained))
    ranked = {name_of(weight): weight.numpy() for weight in model.saved_weights()}
    weights = read_weights(str(pretrained))

    parts = {part: [name_of(one) for one in some] for part, some in model.parts().items()}
    assert not [part for part, names in parts.items() if not names]
    for part, names in parts.items():
        for name in names:
            np.testing.assert_array_equal(started[name], weights[name], name)
            moved = np.abs(ranked[name] - weights[name]).max() > 0
            assert moved == (part not in FROZEN), name
    head = [name for name in ranked if name.startswith("mlp/")]
    assert head and not [name for name in weights if name.startswith("mlp/")]
    assert all(np.abs(ranked[name] - started[name]).max() > 0 for name in head)
    names = [name_of(weight) for weight in model.saved_weights()]
    assert len(set(names)) == len(names)  # of items and of users there are attributes
    assert {"features/item_features/attributes/table", "features/attributes/table"} <= set(names)
    assert "features/attributes/table" not in weights
    # Whatever both models have and training changes is of a part.
    learned = {name_of(weight) for weight in model.trainable_weights} & weights.keys()
    assert learned <= {name for names in parts.values() for name in names}


def name_of(weight):
    return weight.name.partition(":")[0]


def test_the_pretrained_model_embeds_rows_of_the_catalogue(pretrained):
    loaded = tf.saved_model.load(str(pretrained))
    rows = tf.constant(small_log(users=1, items=20)["catalogue"])
    found = loaded.signatures["serving_default"](examples=rows)
    assert found["embedding"].shape == (20, 8) and found["channels"].shape == (20, 3, 8)
    assert np.abs(np.diff(found["channels"], axis=0)).max() > 1e-3


def test_what_cannot_be_frozen_is_refused():
    with pytest.raises(ValueError, match="`seminar` are embeddings, vectors"):
        RankingTrainerConfig.model_validate({"model": "seminar", "freeze": ["gates"]})
    with pytest.raises(ValueError, match="`din` are none"):
        RankingTrainerConfig.model_validate({"model": "din", "freeze": ["embeddings"]})
    nothing = {name: {"use": False} for name in ("next_pair", "alignment", "relevance")}
    with pytest.raises(ValueError, match="No loss is used"):
        PretrainingTrainerConfig.model_validate({"model": {"losses": nothing}})
