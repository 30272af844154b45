"""A run that makes features of images, and makes them of new items by the same encoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.end_to_end.conftest import newest
from tests.helpers.clicked_images import ITEMS
from tests.helpers.clicked_images import clicked_images_config
from tests.helpers.clicked_images import image
from tests.helpers.clicked_images import write_clicked_images
from tests.tfx_pipeline.components.timeline_example_gen.logs import read_splits
from tfx_pipeline.commands.run import execute
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.datasets.event_log import EventLog
from tfx_pipeline.image_features.encoder import ENCODER
from tfx_pipeline.runners.recorded import read_runs
from transforms.arrow import parquet_file

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(3_600)]


def config(log: Path, run_dir: Path, **representation: Any) -> PipelineConfig:
    return PipelineConfig.model_validate(clicked_images_config(log, run_dir, **representation))


def looks(run_dir: Path) -> dict[str, dict[str, list[Any]]]:
    """Returns the catalogue as every model of the newest run reads it."""
    rows = read_splits(newest(run_dir, "timeline-example-gen/examples"))["catalogue"]
    return {row["catalogue/entity"][0]: row for row in rows}


def test_features_come_from_the_run_and_new_items_get_theirs_untrained(tmp_path: Path) -> None:
    import tensorflow as tf

    log, run_dir = write_clicked_images(tmp_path / "log"), tmp_path / "run"
    before = EventLog(log).fingerprint()
    metrics, _, cached = execute(config(log, run_dir))
    assert metrics["representation"]["validation"]["auc"] > 0.0
    assert not cached and 0.0 <= metrics["ranking"]["test"]["auc"] <= 1.0
    assert EventLog(log).fingerprint() == before
    steps = read_runs(run_dir)[-1].steps
    features = steps["image-feature-builder"].outputs["features"]
    made = steps["representation-trainer"].outputs["model"].path / "Format-Serving"
    fingerprint = json.loads((made / "fingerprint.json").read_text())["fingerprint"]
    assert features.properties["encoder"] == fingerprint and features.properties["images"] == ITEMS
    assert metrics["representation"]["features"]["folder"] == str(features.path)
    (first, *_) = (features.path / "features" / "look").glob("*.parquet")
    with parquet_file(first) as file:
        assert file.schema_arrow.metadata[b"encoder"] == fingerprint.encode()

    # Every model reads the fields: the examples have them, the ranker's SavedModel asks for them.
    embed = tf.saved_model.load(str(made)).signatures["serving_default"]
    found = looks(run_dir)
    vectors = [found[f"item:{item}"]["catalogue/vector/look"] for item in range(ITEMS)]
    expected = embed(image=tf.constant([image(item) for item in range(ITEMS)]))["vector"]
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    assert all(row["catalogue/token/look_cluster"][0][0] == "c" for row in found.values())

    # Nothing changed: all of it is there already.
    _, _, cached = execute(config(log, run_dir))
    assert set(cached) == set(steps)

    # A new item: the encoder and the clusters are those of before.
    grown = write_clicked_images(tmp_path / "grown", ITEMS + 1)
    _, _, cached = execute(config(grown, run_dir, encoder=str(features.path)))
    steps = read_runs(run_dir)[-1].steps
    assert "representation-trainer" not in steps and "image-feature-builder" not in cached
    assert steps["image-feature-builder"].outputs["features"].properties["encoder"] == fingerprint
    now = looks(run_dir)
    new = embed(image=tf.constant([image(ITEMS)]))["vector"][0]
    np.testing.assert_allclose(now[f"item:{ITEMS}"]["catalogue/vector/look"], new, atol=1e-5)
    vectors = [now[f"item:{item}"]["catalogue/vector/look"] for item in range(ITEMS)]
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    clusters = "catalogue/token/look_cluster"
    assert all(now[name][clusters] == found[name][clusters] for name in found)
    folder = steps["image-feature-builder"].outputs["features"].path
    assert (folder / ENCODER / "saved_model.pb").is_file()
