"""Features of images in pods: an encoder that is trained, and one that an object store has."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.clicked_images import ITEMS
from tests.helpers.clicked_images import clicked_images_config
from tests.helpers.clicked_images import image
from tests.helpers.clicked_images import write_clicked_images
from tests.tfx_pipeline.components.timeline_example_gen.logs import read_splits
from tests.tfx_pipeline.runners.kubeflow.task_by_task_test import without
from tfx_pipeline.runners.kubeflow.compile import compile_pipeline
from tfx_pipeline.runners.kubeflow.emulator.run import run_compiled
from tfx_pipeline.runners.kubeflow.emulator.spec import CompiledPipeline
from tfx_pipeline.runners.kubeflow.emulator.spec import parse_compiled

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(3_600)]
DATA = ("timeline-example-gen", "curated-schema-gen", "transform", "trainer")
VECTOR, CLUSTER = "catalogue/vector/look", "catalogue/token/look_cluster"


def compiled(tasks: set[str], encoder: str = "") -> CompiledPipeline:
    """Returns some tasks of the compiled run."""
    values = clicked_images_config(Path("log"), Path("run"), encoder=encoder)
    spec, _ = compile_pipeline(values, "look")
    whole = parse_compiled(spec)
    assert tasks < {task.name for task in whole.tasks}
    return without(whole, {task.name for task in whole.tasks} - tasks)


def test_features_are_made_in_pods_and_by_an_encoder_in_a_store(
    bucket: str, tmp_path: Path
) -> None:
    import tensorflow as tf

    log, work = write_clicked_images(tmp_path / "log"), tmp_path / "work"
    places = {"log_dir": str(log), "push_dir": f"{bucket}/pushed"}
    last = {"run-state", "image-feature-builder", "timeline-example-gen"}
    first = last | {f"representation-{name}" for name in DATA}
    done = run_compiled(compiled(first), places, work, bucket)
    assert set(done.outputs) == first and not done.cached
    made = done.outputs["image-feature-builder"].artifacts["features"]
    found = done.fetch(tmp_path / "first", {"model", "examples"})
    model = Path(found["representation-trainer"]["model"], "Format-Serving")
    fingerprint = json.loads((model / "fingerprint.json").read_text())["fingerprint"]
    assert made["metadata"]["encoder"] == fingerprint and made["metadata"]["images"] == ITEMS
    rows = read_splits(Path(found["timeline-example-gen"]["examples"]))["catalogue"]
    names = [row["catalogue/entity"][0].removeprefix("item:") for row in rows]
    embed = tf.saved_model.load(str(model)).signatures["serving_default"]
    images = tf.constant([image(int(name)) for name in names])
    vectors = [row[VECTOR] for row in rows]
    np.testing.assert_allclose(vectors, embed(image=images)["vector"], atol=1e-5)

    # The artifact in the store is an encoder for other runs, of a log that has a new item.
    grown = write_clicked_images(tmp_path / "grown", ITEMS + 1)
    assert made["uri"].startswith(bucket)
    given = {**places, "log_dir": str(grown), "representation_encoder": made["uri"]}
    again = run_compiled(compiled(last, encoder="runs/encoder"), given, work, bucket)
    made = again.outputs["image-feature-builder"].artifacts["features"]
    assert made["metadata"]["encoder"] == fingerprint
    found = again.fetch(tmp_path / "again", {"examples"})
    now = read_splits(Path(found["timeline-example-gen"]["examples"]))["catalogue"]
    by_name = {row["catalogue/entity"][0]: row for row in now}
    assert len(by_name) == ITEMS + 1 and {VECTOR, CLUSTER} <= by_name[f"item:{ITEMS}"].keys()
    before = [by_name[f"item:{name}"] for name in names]
    np.testing.assert_allclose([row[VECTOR] for row in before], vectors, atol=1e-5)
    assert [row[CLUSTER] for row in before] == [row[CLUSTER] for row in rows]
