"""A day later: vocabularies have moved and grown, and what was known is known."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from models.config import RankingTrainerConfig
from models.config import RetrievalTrainerConfig
from models.din.model import DIN
from models.export.towers import save_towers
from models.families import find_family
from models.fixed_values import retrieval_trainer
from models.trainer import train
from models.training.replicas import WHOLE
from models.training.warm_start import warm_start
from tests.helpers.timelines import row
from tests.helpers.timelines import run_transform
from tests.helpers.timelines import small_log
from tests.helpers.timelines import timeline
from tests.helpers.timelines import write_examples
from tests.models.conftest import SMALL
from tests.models.conftest import SmallLog
from transforms import features as f
from transforms.vocabulary import entity_vocabulary
from transforms.vocabulary import read_vocabulary

NEW = "item:new"
IDLE, GONE = "item:5", "item:6"
MODELS = ("two_tower", "sequence")


def make_log(path, raw) -> SmallLog:
    write_examples(path / "examples", raw)
    folders = run_transform(path / "examples", path / "transform")
    transform = tft.TFTransformOutput(str(folders["transform_graph"]))
    return SmallLog(raw, transform, folders["transform_graph"], folders["transformed_examples"])


@pytest.fixture(scope="module")
def next_day(tmp_path_factory) -> SmallLog:
    """The small log, and twelve users who all had the same new item most of the time."""
    raw = small_log()
    for user in range(12):
        events = [("watch", NEW, step) for step in range(5)] + [("watch", "item:1", 6)]
        raw["train"].append(timeline(f"new{user}", events))
    raw["catalogue"].append(row(NEW, title="red", categories=["group 1"], available_from=0))
    return make_log(tmp_path_factory.mktemp("next"), raw)


@pytest.fixture(scope="module")
def other_day(tmp_path_factory) -> SmallLog:
    """The small log where nobody had one item, which is still for sale, and another is gone."""

    def renamed(timeline: bytes) -> bytes:
        made = tf.train.Example.FromString(timeline)
        events = made.features.feature[f.EVENT_ENTITY].bytes_list
        others = {IDLE.encode(): b"item:9", GONE.encode(): b"item:10"}
        events.value[:] = [others.get(value, value) for value in events.value]
        return made.SerializeToString()

    raw = small_log()
    for split in ("train", "validation", "test"):
        raw[split] = [renamed(timeline) for timeline in raw[split]]
    raw["catalogue"] = [row for row in raw["catalogue"] if GONE.encode() not in row]
    return make_log(tmp_path_factory.mktemp("other"), raw)


def config(name: str, **more) -> RetrievalTrainerConfig:
    sequence = {
        "family": "sequence",
        "loss": {"negatives": 16},
        "dim": 16,
        "input": {"length": 8},
        "encoder": {"dropout": 0.1, "use_user_attributes": True},
    }
    values = SMALL.model_dump() | {"epochs": 6}
    values["model"] = sequence if name == "sequence" else values["model"]
    return retrieval_trainer(values | more)


def untrained(log, name):
    """A model of fresh weights, and what ranks the validation split with it."""
    settings = config(name)
    tf.keras.utils.set_random_seed(settings.seed)
    model = find_family(name).load().of(settings, log.data)
    evaluation = model.validation(log.data)
    evaluation.run_one()  # makes the weights
    return model, evaluation


def start(log, name, path):
    """The same, started from an earlier model."""
    model, evaluation = untrained(log, name)
    warm_start(model, log.transform, path)
    return model, evaluation


@pytest.fixture(scope="module", params=MODELS)
def earlier(request, log, tmp_path_factory):
    """A model of the day before, and where its towers are."""
    model, report = train(config(request.param), log.data)
    path = str(tmp_path_factory.mktemp(request.param))
    save_towers(model, log.transform.transform_features_layer(), path)
    return request.param, model, report, path


@pytest.fixture(scope="module")
def started(earlier, next_day):
    """The model of the next day as it starts, and what ranks with it."""
    name, _, _, path = earlier
    return start(next_day, name, path)


def indices(log, names) -> tf.Tensor:
    known = entity_vocabulary(log.transform)
    return tf.constant([known.index(name.encode()) + 1 for name in names], tf.int64)


def vectors(model, log, names) -> np.ndarray:
    return model.embed_items(indices(log, names)).numpy()


def test_old_items_keep_their_vectors_and_old_quality_stays(earlier, started, log, next_day):
    name, model, report, _ = earlier
    new, evaluation = started
    items = [f"item:{i}" for i in range(40)]
    assert entity_vocabulary(next_day.transform)[:5] != entity_vocabulary(log.transform)[:5]
    np.testing.assert_allclose(vectors(new, next_day, items), vectors(model, log, items), atol=1e-4)
    hits = evaluation.evaluate()["hr@10"]
    assert hits == pytest.approx(report["best"]["hr@10"], abs=0.05)
    assert hits > untrained(next_day, name)[1].evaluate()["hr@10"] + 0.2


def test_an_item_that_is_no_target_today_keeps_its_vector(earlier, log, other_day):
    name, model, _, path = earlier
    started, _ = start(other_day, name, path)

    assert GONE.encode() not in entity_vocabulary(other_day.transform)
    items = [f"item:{i}" for i in range(40) if f"item:{i}" != GONE]
    found = started.candidate_tower.ids(indices(other_day, items))  # prices count otherwise today
    expected = model.candidate_tower.ids(indices(log, items))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_new_item_is_what_its_features_say(earlier, started, next_day):
    model = earlier[1]
    table = started[0].candidate_tower.ids.table.numpy()
    new = entity_vocabulary(next_day.transform).index(NEW.encode()) + 1
    np.testing.assert_allclose(table[new], model.candidate_tower.ids.table.numpy()[0], atol=1e-6)


def test_a_day_more_loses_nothing(earlier, next_day):
    name, _, report, path = earlier
    gently = config(name, epochs=1, optimizer={"learning_rate": 1e-3})
    _, found = train(gently, next_day.data, earlier=path)

    assert found["best"]["hr@10"] > report["best"]["hr@10"] - 0.05


def test_what_was_taken_over_is_counted(earlier, next_day):
    name, _, _, path = earlier
    model, _ = untrained(next_day, name)
    taken = warm_start(model, next_day.transform, path)

    assert taken["left"] == 0 and taken["weights"] > 3
    assert taken["rows"] > 2 * 41  # both id tables, with row 0, and the tokens


def make_ranker(log) -> DIN:
    values = {
        "model": {"family": "din", "dim": 8, "window": 5, "use_event_values": True},
        "label": {"source": "events", "negatives": 2},
    }
    model = DIN.of(RankingTrainerConfig.model_validate(values), log.data)
    model.compute_loss(next(iter(model.training_batches(log.data, WHOLE))))
    return model


def test_rows_of_a_ranker_follow_their_tokens(log, next_day, tmp_path):
    model = make_ranker(log)
    for number, weight in enumerate(model.trainable_variables):
        weight.assign(tf.random.stateless_normal(weight.shape, [number, 3]))
    model.export(log.transform.transform_features_layer(), str(tmp_path))
    started = make_ranker(next_day)
    taken = warm_start(started, next_day.transform, str(tmp_path))

    assert taken["left"] == 0 and taken["weights"] > 3
    old, new = ({w.name: w for w in one.weights} for one in (model, started))
    items = [f"item:{i}" for i in range(40)]
    rows, before = indices(next_day, items), indices(log, items)
    assert (rows.numpy() != before.numpy()).any()
    for name in ("features/ids/table:0", "features/ids/known:0"):
        np.testing.assert_array_equal(tf.gather(new[name], rows), tf.gather(old[name], before))
    for kind, vocabulary in (("attributes", "user_attribute"), ("words", "query_token")):
        tokens, earlier = (
            read_vocabulary(one.transform.vocabulary_file_by_name(vocabulary))
            for one in (next_day, log)
        )
        table = f"features/{kind}/table:0"
        for token in set(tokens) & set(earlier):
            found = new[table][tokens.index(token) + 1]
            np.testing.assert_array_equal(found, old[table][earlier.index(token) + 1])


def test_what_is_no_model_is_an_error(earlier, next_day, tmp_path):
    _, model, _, _ = earlier
    with pytest.raises(ValueError, match="warm_start"):
        warm_start(model, next_day.transform, str(tmp_path))
