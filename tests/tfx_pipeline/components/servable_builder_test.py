from __future__ import annotations

import json
from pathlib import Path

import pytest
import tensorflow as tf
from tfx.utils import path_utils

from serving.index import files
from tests.helpers.examples import timeline
from tests.tfx_pipeline.components.conftest import IDS

pytestmark = pytest.mark.slow


def test_the_servable_is_where_tfx_looks_for_it_with_its_index_beside(index_run):
    path = Path(path_utils.serving_model_path(index_run.servable.uri))
    assert {"saved_model.pb", "variables", "servable.json", "index"} <= {
        entry.name for entry in path.iterdir()
    }
    index = files.open_index(path / "index")
    assert index.fingerprint == files.open_index(index_run.index.uri).fingerprint
    description = json.loads((path / "servable.json").read_text())
    assert description["backend"] == "portable" and description["k"] == 20
    assert index_run.servable.get_string_custom_property("backend") == "portable"


def test_it_answers_with_the_portable_index_and_excludes_what_was_watched(index_run):
    path = path_utils.serving_model_path(index_run.servable.uri)
    served = tf.saved_model.load(path).signatures["serving_default"]
    rows = [timeline(f"u{i}", IDS[i : i + 30]) for i in range(40)]
    answer = served(examples=tf.constant(rows))
    classes = answer["classes"].numpy().astype(str)
    assert classes.shape == (40, 20)
    assert tf.reduce_all(tf.math.is_finite(answer["scores"]))
    for i in range(40):
        assert set(classes[i]) <= set(IDS) - set(IDS[i : i + 30])
        assert len(set(classes[i])) == 20
