"""A run that makes features of images, and makes them of new items by the same encoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from serving.index.files import open_index
from tests.end_to_end.conftest import newest
from tests.helpers.clicked_images import ITEMS
from tests.helpers.clicked_images import RANKER
from tests.helpers.clicked_images import clicked_images_config
from tests.helpers.clicked_images import image
from tests.helpers.clicked_images import write_clicked_images
from tests.tfx_pipeline.components.timeline_example_gen.logs import read_splits
from tfx_pipeline.cli import cli
from tfx_pipeline.commands.index_place import newest_version
from tfx_pipeline.commands.run import execute
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.datasets.event_log import EventLog
from tfx_pipeline.image_features.encoder import ENCODER
from tfx_pipeline.runners.recorded import read_runs
from transforms.arrow import parquet_file

RETRIEVAL: dict[str, Any] = {
    "trainer": RANKER | {"model": {"dim": 8, "candidate": RANKER["model"]["candidate"]}},
    "index": {"k": 5, "max_latency_ms": 1e9},
    "evaluation": {
        "ks": [5],
        "min_users": 1,
        "thresholds": {},
        "beats_neighbours": None,
        "slice_thresholds": {},
        "change_thresholds": {},
    },
    "serving_validation": {"enabled": False},
}

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


def test_an_update_embeds_new_images_by_the_encoder_of_the_run(tmp_path: Path) -> None:
    log, run_dir = write_clicked_images(tmp_path / "log"), tmp_path / "run"
    values = clicked_images_config(log, run_dir) | {"retrieval": RETRIEVAL, "ranking": None}
    values["timeline"]["label"] = {"source": "impressions"}
    (tmp_path / "config.yaml").write_text(json.dumps(values))
    execute(PipelineConfig.model_validate(values))
    features = read_runs(run_dir)[-1].steps["image-feature-builder"].outputs["features"]

    rows = {"entity_type": ["item"] * 3, "entity_id": ["new", "alike", "broken"]}
    rows["image"] = [image(2), image(2), b"no image"]
    pq.write_table(pa.table(rows), tmp_path / "new.parquet")
    arguments = ["--run", str(run_dir), "--upsert", str(tmp_path / "new.parquet")]
    done = CliRunner().invoke(cli, ["index", "update", *arguments])
    assert done.exit_code == 0, done.output
    told = f"images  2 embedded by the encoder {features.properties['encoder']} (the one that the "
    assert f"{told}run used), 1 broken or too large, not embedded: item:broken" in done.output

    index = open_index(newest_version(run_dir / "pushed/retrieval").version / "index")
    ids = index.candidates["id"].to_pylist()
    assert sorted(ids) == sorted([f"item:{i}" for i in [*range(ITEMS), "new", "alike", "broken"]])
    vectors = dict(zip(ids, index.vectors, strict=True))
    np.testing.assert_allclose(vectors["item:new"], vectors["item:alike"], atol=1e-6)
    assert np.abs(vectors["item:new"] - vectors["item:broken"]).max() > 1e-3
