"""The benchmark of what encoders learn: its measure of styles, and its settings."""

from pathlib import Path

import numpy as np
from sklearn.linear_model import Ridge

from benchmarks.courier_encoders import DRAWING
from benchmarks.courier_encoders import LONGER
from benchmarks.courier_encoders import MODELS
from benchmarks.courier_encoders import SETTINGS
from benchmarks.courier_encoders import SIMCLR_START
from benchmarks.courier_encoders import alike_in_style
from benchmarks.courier_encoders import read_style
from benchmarks.courier_encoders import style_vectors
from benchmarks.courier_encoders import trainer
from benchmarks.courier_table import COURIER_SIMCLR
from benchmarks.courier_table import SIMCLR
from tfx_pipeline.datasets.shop.catalogue import draw_world
from tfx_pipeline.datasets.shop.config import ShopConfig

VIEWS = (SIMCLR, SIMCLR_START, COURIER_SIMCLR)


def test_styles_of_the_nearest_of_a_category_are_compared_without_its_mean():
    """Twelve things of a category have one of two opposite styles, and the vectors tell them."""
    leaves = np.repeat([0, 1], 12)
    side = np.tile([1.0, -1.0], 12)
    styles = np.stack([side + 10 * leaves, np.zeros(24)], axis=1)
    told = np.stack([side, np.ones(24)], axis=1)
    assert alike_in_style(told, styles, leaves) == 1.0
    turned = np.stack([leaves, leaves - 0.5], axis=1)  # of categories alone
    assert abs(alike_in_style(turned, styles, leaves)) < 0.3


def test_styles_are_read_from_the_other_half():
    random = np.random.default_rng(0)
    features = random.normal(size=[4_000, 5])
    styles = (features @ random.normal(size=[5, 2])).astype(np.float32)
    read = read_style(features, styles, Ridge())
    assert np.corrcoef(read[:, 0], styles[:, 0])[0, 1] > 0.99
    noise = random.normal(size=[4_000, 2]).astype(np.float32)
    assert abs(np.corrcoef(read_style(features, noise, Ridge())[:, 0], noise[:, 0])[0, 1]) < 0.1


def test_what_pictures_are_drawn_by_tells_styles(tmp_path: Path) -> None:
    config = ShopConfig(users=100, items=2_000)
    world = draw_world(config)
    world.save(tmp_path / "truth" / "world", config)
    styles = np.asarray(world.item_style, np.float32)
    read = style_vectors(DRAWING, np.zeros([2_000, 1]), styles, tmp_path)
    told = [np.corrcoef(read[:, one], styles[:, one])[0, 1] for one in range(styles.shape[1])]
    assert 0.7 < np.mean(told) < 0.99  # by halves, with the noise that pictures have


def test_settings_differ_in_what_is_told_alone():
    assert set(SETTINGS) > set(MODELS)
    changed = {"objective", "negatives", "rebuild", "temperature", "losses"}
    first = trainer("start", 0).model_dump()
    for name in set(MODELS) - {LONGER, *VIEWS}:  # views have another backbone
        other = trainer(name, 0).model_dump()
        differing = {key for key, value in other["model"].items() if value != first["model"][key]}
        assert differing <= changed
        assert other | {"model": None} == first | {"model": None}


def test_what_follows_views_reads_the_backbone_that_they_train():
    of_views, start, clicks = (trainer(one, 0).model for one in VIEWS)
    assert of_views.objective == "simclr" and not of_views.backbone.frozen
    frozen = of_views.backbone.model_copy(update={"frozen": True})
    assert start.backbone == clicks.backbone == frozen
    same = {"backbone": trainer("page_mean", 0).model.backbone}
    assert clicks.model_copy(update=same) == trainer("page_mean", 0).model
    assert trainer(SIMCLR, 0).validation.monitor == "views_loss"  # no click chooses the epoch
