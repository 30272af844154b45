"""COURIER on a log whose clicks only images explain."""

import json

import numpy as np
import pytest
import tensorflow as tf

import models  # noqa: F401  (chooses Keras 2)
from models.config import RepresentationValidationConfig
from models.courier import page_views as v
from models.courier.encoder import standardise
from models.courier.evaluation import require_spread
from models.courier.model import Courier
from models.trainer import train
from models.training.learner import seed_everything
from models.training.replicas import WHOLE
from tests.helpers.gradients import assert_gradients
from tests.models.courier.conftest import small


def one_batch(model, data):
    return next(iter(model.training_batches(data, WHOLE)))


@pytest.fixture(scope="module")
def model(images_log):
    tf.keras.utils.set_random_seed(1)
    return Courier.of(small(losses={"click": 1.0}), images_log.data)


def test_images_are_those_of_the_candidates_types(model, images_log):
    assert len(model.images) == 24  # a video's image is not read
    entities = images_log.data.transform.vocabulary_by_name("entity")
    for index, name in enumerate(entities, 1):
        expected = images_log.images.get(name.decode())
        row = model.images.row[index]
        assert (row > 0) == (expected is not None)
        if expected:
            pixels = tf.image.resize(tf.io.decode_png(expected), [8, 8], "area").numpy()
            assert np.abs(model.images.pixels[row] - pixels).max() <= 0.5


def test_reconstruction_starts_as_a_weighted_mean_of_the_history(model, images_log):
    batch = one_batch(model, images_log.data)
    vectors = model.encoder(batch[v.IMAGES])
    asked = model.attention.query.kernel.numpy()
    model.attention.query.kernel.assign(tf.zeros_like(model.attention.query.kernel))
    every = tf.range(tf.size(batch[v.SHOWN]))
    rebuilt = model.rebuild(batch, vectors, every).numpy()
    there = batch[v.HISTORY_ROW].numpy() > 0
    history = vectors.numpy()[batch[v.HISTORY].numpy()]
    for index, page in enumerate(batch[v.SHOWN_PAGE].numpy()):
        np.testing.assert_allclose(rebuilt[index], history[page][there[page]].mean(0), atol=1e-5)
    model.attention.query.kernel.assign(asked)


def test_a_log_without_impressions_has_random_images_beside_a_click(images_log):
    label = {"source": "events", "negatives": 2}
    made = Courier.of(small(trainer={"label": label}), images_log.data)
    batch = one_batch(made, images_log.data)
    pages = np.bincount(batch[v.SHOWN_PAGE].numpy())
    assert set(pages) == {3} and len(pages) == 16  # no video is drawn, for none is read
    assert batch[v.CLICKED].numpy().reshape(-1, 3)[:, 0].all()
    assert (batch[v.HISTORY_ROW].numpy()[:, 0] > 0).all()


def test_padding_of_the_history_is_not_read(model, images_log):
    batch = one_batch(model, images_log.data)
    rows = batch[v.HISTORY_ROW].numpy()
    rows[:, 1:] = 0
    padded = batch | {v.HISTORY_ROW: tf.constant(rows)}
    other = np.where(rows > 0, batch[v.HISTORY].numpy(), 5)
    changed = padded | {v.HISTORY: tf.constant(other, tf.int32)}
    for name, losses in model.losses(padded).items():
        np.testing.assert_allclose(model.losses(changed)[name], losses, atol=1e-5, err_msg=name)


def test_a_shown_image_is_rebuilt_as_the_mean_of_those_before_it(images_log):
    made = Courier.of(small(rebuild="mean"), images_log.data)
    assert made.attention is None
    batch = one_batch(made, images_log.data)
    vectors = made.encoder(batch[v.IMAGES]).numpy()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    rows, history = batch[v.HISTORY_ROW].numpy(), batch[v.HISTORY].numpy()
    page = batch[v.SHOWN_PAGE].numpy()[4]
    expected = unit[history[page][rows[page] > 0]].mean(axis=0)
    rebuilt = made.rebuild(batch, tf.constant(vectors), tf.constant([4]))
    np.testing.assert_allclose(rebuilt[0], expected, atol=1e-5)


def test_click_sequence_by_hand(model, images_log):
    batch = one_batch(model, images_log.data)
    vectors = model.encoder(batch[v.IMAGES]).numpy()
    rows, history = batch[v.HISTORY_ROW].numpy(), vectors[batch[v.HISTORY].numpy()]
    unit = history[:, 0] / np.linalg.norm(history[:, 0], axis=1, keepdims=True)
    expected = []
    for page in range(len(rows)):
        there = tf.constant((rows[page, 1:] > 0)[None].astype(np.float32))
        given = history[page, :1], history[page : page + 1, 1:], there, tf.zeros([1], tf.int64)
        rebuilt = model.attention(*given, whole=True).numpy()[0]
        cosine = unit @ rebuilt / np.linalg.norm(rebuilt) / model.model.temperature
        kept = (rows[:, 0] != rows[page, 0]) | (np.arange(len(rows)) == page)
        expected.append(np.log(np.exp(cosine[kept]).sum()) - cosine[page])
    found = model.click_sequence(batch, tf.constant(vectors))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_the_head_of_clicks_by_hand(model, images_log):
    batch = one_batch(model, images_log.data)
    vectors = model.encoder(batch[v.IMAGES])
    every = tf.range(tf.size(batch[v.SHOWN]))
    rebuilt = model.rebuild(batch, vectors, every).numpy()
    pairs = np.concatenate([rebuilt, vectors.numpy()[batch[v.SHOWN].numpy()]], axis=1)
    logits = model.head(tf.constant(pairs)).numpy()[:, 0]
    clicked = batch[v.CLICKED].numpy()
    expected = np.log1p(np.exp(np.where(clicked, -logits, logits)))
    np.testing.assert_allclose(model.click(batch, vectors), expected, rtol=1e-4)


def test_every_weight_has_a_gradient(images_log):
    made = Courier.of(small(losses={"click": 1.0}), images_log.data)
    batch = one_batch(made, images_log.data)
    made.losses(batch)  # makes the head
    with tf.GradientTape() as tape:
        loss = made.compute_loss(batch)
    assert_gradients(tape, loss, made.trainable_variables)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"backbone": {"channels": [8, 8], "frozen": True}, "negatives": "page", "rebuild": "mean"},
        pytest.param({"objective": "co_click"}, marks=pytest.mark.nightly),
    ],
    ids=["courier", "frozen", "co_click"],
)
def test_it_learns_what_users_look_for(images_log, given):
    made, report = train(small(**given, trainer={"epochs": 6}), images_log.data)
    first, last = report["epochs"][0], report["epochs"][-1]
    assert last["loss"] < first["loss"]
    assert report["best"]["auc"] > 0.95  # users keep to a colour
    assert abs(last["mean_cosine"]) < 0.2 and last["effective_rank"] > 1.5
    assert made.inputs_of_encoder.ndim == (2 if "backbone" in given else 4)


def test_simclr_learns_without_clicks(images_log):
    _, report = train(small(objective="simclr"), images_log.data)
    assert report["epochs"][1]["loss"] < report["epochs"][0]["loss"]


def test_the_exported_encoder_gives_the_model_s_vectors(model, images_log, tmp_path):
    model.export(None, str(tmp_path / "encoder"))
    embed = tf.saved_model.load(str(tmp_path / "encoder")).signatures["serving_default"]
    entities = images_log.data.transform.vocabulary_by_name("entity")
    names = [name for name in entities if name.decode() in images_log.images][:5]
    encoded = tf.constant([images_log.images[name.decode()] for name in names])
    rows = [model.images.row[1 + entities.index(name)] for name in names]
    expected = model.encoder.vectors_of(model.images.pixels[rows])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(embed(image=encoded)["vector"], expected, atol=1e-5)
    assert embed(image=tf.zeros([0], tf.string))["vector"].shape == (0, 8)


def test_vectors_are_standardised_as_the_batch_is(images_log):
    made = Courier.of(small(), images_log.data)
    batch = one_batch(made, images_log.data)
    raw = made.encoder.raw_vectors(batch[v.IMAGES]).numpy()
    shown = raw[batch[v.SHOWN].numpy()]
    found = standardise(tf.constant(raw), batch[v.SHOWN]).numpy()
    np.testing.assert_allclose(
        found, (raw - shown.mean(0)) / np.sqrt(shown.var(0) + 1e-4), atol=1e-4
    )
    made.validation(images_log.data).evaluate()
    vectors = made.encoder.vectors_of(made.images.pixels[1:])
    np.testing.assert_allclose(vectors.mean(0), 0.0, atol=1e-4)
    np.testing.assert_allclose(vectors.std(0), 1.0, atol=0.01)


def test_a_fingerprint_tells_weights_apart(model, tmp_path):
    def found(name):
        model.export(None, str(tmp_path / name))
        return json.loads((tmp_path / name / "fingerprint.json").read_text())["fingerprint"]

    one, again = found("one"), found("again")
    model.encoder.centre.assign_add(tf.ones([8]))
    assert one == again != found("other")


def test_an_encoder_that_learns_nothing_is_measured_and_exported_as_it_starts(images_log, tmp_path):
    made, report = train(small(objective="none"), images_log.data)
    assert report["epochs"] == [] and 0.0 < report["best"]["auc"] <= 1.0
    seed_everything(made.config)
    again = Courier.of(made.config, images_log.data)
    for found, expected in zip(
        made.encoder.trainable_variables, again.encoder.trainable_variables, strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    made.export(None, str(tmp_path / "encoder"))


def test_collapsed_vectors_are_not_exported(images_log, tmp_path):
    limits = RepresentationValidationConfig()
    good = {"mean_cosine": 0.5, "effective_rank": 9.0}
    require_spread(good, limits)
    with pytest.raises(ValueError, match="collapsed.*0.950.*max_mean_cosine"):
        require_spread(good | {"mean_cosine": 0.95}, limits)
    with pytest.raises(ValueError, match="collapsed.*1.20.*min_effective_rank"):
        require_spread(good | {"effective_rank": 1.2}, limits)
    never = {"validation": {"min_effective_rank": 100.0}}
    made, _ = train(small(objective="none", trainer=never), images_log.data)
    with pytest.raises(ValueError, match="at least 100.0 is asked for"):
        made.export(None, str(tmp_path / "encoder"))
    assert not (tmp_path / "encoder").exists()


def test_a_configuration_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="heads.*divide"):
        small(heads=3)
    with pytest.raises(ValueError, match="All losses have weight 0"):
        small(losses={"contrastive": 0, "click_sequence": 0})
    with pytest.raises(ValueError, match="simclr.*frozen"):
        small(objective="simclr", backbone={"frozen": True})
