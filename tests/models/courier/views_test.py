"""SimCLR: batches of views, the loss by hand, and a training without any page."""

import numpy as np
import pytest
import tensorflow as tf

import models  # noqa: F401  (chooses Keras 2)
from models.courier.images import ImageTable
from models.courier.model import Courier
from models.courier.objectives import simclr_losses
from models.courier.page_views import IMAGE_ROW
from models.courier.views import VIEWS
from models.courier.views import two_views
from models.courier.views import view_batches
from models.input.page_batches import PageSpec
from models.input.windows import WindowSpec
from models.trainer import train
from models.training.data import TrainingData
from models.training.replicas import WHOLE
from models.training.replicas import InputPart
from tests.helpers.gradients import assert_gradients
from tests.helpers.timelines import write_examples
from tests.models.courier.conftest import small

NUMBER = 11
PIXELS = np.random.default_rng(0).integers(40, 200, [NUMBER + 1, 8, 8, 3]).astype(np.uint8)
PIXELS[0] = 0  # the blank one
# Several entities may have no image, and rows are those of the table, not entities.
IMAGES = ImageTable(np.array([0, 3, 0, 1, 2, *range(4, NUMBER + 1)], np.int32), PIXELS)


def rows_of(batches):
    return [batch[IMAGE_ROW].numpy().tolist() for batch in batches]


def test_an_epoch_has_each_distinct_image_once():
    batches = view_batches(IMAGES, 4, seed=1)
    first, second = rows_of(batches), rows_of(batches)
    assert [len(rows) for rows in first] == [4, 4, 3]  # and the blank image never
    assert sorted(sum(first, [])) == sorted(sum(second, [])) == list(range(1, NUMBER + 1))
    assert first != second
    assert rows_of(view_batches(IMAGES, 4, seed=1)) == first
    assert rows_of(view_batches(IMAGES, 4, seed=2)) != first


def test_workers_divide_the_images_of_an_epoch():
    parts = [
        sum(rows_of(view_batches(IMAGES, 4, 1, InputPart(index, 2, 2))), []) for index in (0, 1)
    ]
    assert sorted(sum(parts, [])) == list(range(1, NUMBER + 1))
    assert {len(part) for part in parts} == {5, 6}
    sizes = [len(rows) for rows in rows_of(view_batches(IMAGES, 4, 1, InputPart(0, 2, 2)))]
    assert sizes == [2, 2, 2]  # half of each batch


def test_two_views_are_of_one_image_and_differ():
    flat = np.tile(
        np.arange(NUMBER + 1, dtype=np.uint8)[:, None, None, None] * 9 + 60, [1, 8, 8, 3]
    )
    images = ImageTable(IMAGES.row, flat)
    for batch in view_batches(images, 4, seed=1):
        views = batch[VIEWS].numpy()
        assert views.shape == (2, len(batch[IMAGE_ROW]), 8, 8, 3) and views.dtype == np.float32
        assert np.ptp(views, axis=(2, 3, 4)).max() < 1e-3  # a view of one colour has one colour
        own = flat[batch[IMAGE_ROW].numpy(), 0, 0, 0].astype(float)
        light = views[..., 0, 0, 0] / own
        assert light.min() >= 0.8 - 1e-5 and light.max() <= 1.2 + 1e-5
        assert np.abs(light[0] - light[1]).min() > 1e-4
    batches = view_batches(IMAGES, NUMBER, seed=1)
    one, other = (next(iter(batches)) for _ in range(2))
    place = np.argsort(one[IMAGE_ROW]), np.argsort(other[IMAGE_ROW])
    drawn = one[VIEWS].numpy()[:, place[0]], other[VIEWS].numpy()[:, place[1]]
    assert np.abs(drawn[0] - drawn[1]).mean() > 1.0  # each epoch draws anew


def test_losses_by_hand():
    """Of three images, with an encoder that gives the first two channels of the first pixel."""

    class Corner:
        def raw_vectors(self, images):
            return images[:, 0, 0, :2]

    draw = np.random.default_rng(2)
    views = draw.normal(size=[2, 3, 4, 4, 3]).astype(np.float32)
    inputs = {VIEWS: tf.constant(views), IMAGE_ROW: tf.constant([7, 2, 5])}
    found = simclr_losses(Corner(), inputs, 0.5)
    z = views[:, :, 0, 0, :2].reshape(6, 2)
    z = (z - z.mean(0)) / np.sqrt(z.var(0) + 1e-4)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    e = np.exp(z @ z.T / 0.5)
    expected = [-np.log(e[i, (i + 3) % 6] / (e[i].sum() - e[i, i])) for i in range(6)]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.fixture(scope="module")
def without_pages(images_log, tmp_path_factory):
    """The log's images without any timeline or page."""
    folder = tmp_path_factory.mktemp("empty")
    write_examples(folder, {"train": [], "validation_pages": []})
    files = [
        [str(path) for path in (folder / f"Split-{name}").glob("*")]
        for name in ("train", "validation_pages")
    ]
    data = images_log.data
    return TrainingData(data.transform, files[0], data.catalogue_files, files[1])


def test_it_learns_without_clicks_or_pages(without_pages):
    watched = {"validation": {"monitor": "views_loss"}, "epochs": 6}
    made, report = train(small(objective="simclr", trainer=watched), without_pages)
    first, last = report["epochs"][0], report["epochs"][-1]
    assert last["loss"] < first["loss"] and last["views_loss"] < first["views_loss"]
    assert report["best"]["views_loss"] == min(epoch["views_loss"] for epoch in report["epochs"])
    assert abs(last["mean_cosine"]) < 0.2 and last["effective_rank"] > 1.5 and "auc" not in last
    assert report["steps_per_epoch"] == 2 and report["targets_per_epoch"] == 24.0
    assert made.attention is None


def test_without_pages_the_epoch_is_chosen_by_views(without_pages):
    with pytest.raises(ValueError, match="found none.*validation.monitor: views_loss"):
        train(small(objective="simclr"), without_pages)
    with pytest.raises(ValueError, match="views_loss.*simclr.*received `courier`"):
        small(trainer={"validation": {"monitor": "views_loss"}})


def test_collapsed_views_are_not_exported(without_pages, tmp_path):
    limits = {"validation": {"monitor": "views_loss", "min_effective_rank": 100.0}, "epochs": 1}
    made, _ = train(small(objective="simclr", trainer=limits), without_pages)
    with pytest.raises(ValueError, match="at least 100.0 is asked for"):
        made.export(None, str(tmp_path / "encoder"))
    assert not (tmp_path / "encoder").exists()


def test_every_weight_has_a_gradient():
    config = small(objective="simclr")
    made = Courier(config, IMAGES, PageSpec(WindowSpec(6), config.label))
    batch = next(iter(made.training_batches(None, WHOLE)))
    with tf.GradientTape() as tape:
        loss = made.compute_loss(batch)
    assert_gradients(tape, loss, made.trainable_variables)


def test_views_follow_their_seed():
    images = tf.constant(PIXELS[1:])
    one, again, other = (two_views(images, tf.constant([3, seed], tf.int64)) for seed in (4, 4, 5))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).mean() > 1.0
