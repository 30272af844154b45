"""GMN trained from timelines of two kinds of entities, and exported."""

import json

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from models.fixed_values import retrieval_trainer
from tests.helpers.timelines import run_transform
from tests.helpers.timelines import small_log
from tests.helpers.timelines import timeline
from tests.helpers.timelines import write_examples
from tests.models.conftest import SMALL
from tests.models.conftest import SmallLog
from tests.models.conftest import train
from transforms.config import TransformConfig

CONFIG = retrieval_trainer(
    SMALL.model_dump(mode="json")
    | {
        "candidate_types": ["video"],
        "model": {
            "family": "gmn",
            "dim": 16,
            "start": "graph",
            "query": {"window": 8, "neighbours": 4, "hidden_units": [32], "vectors": "several"},
            "loss": {"negatives": 16},
        },
    }
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Items 0 to 19 of the small log are videos here; a user's group likes some of both kinds."""
    path = tmp_path_factory.mktemp("two_kinds")
    raw = small_log()
    for number in range(20):
        old, new = b"item:%d" % number, b"video:%d" % number
        raw = {split: [_renamed(row, old, new) for row in rows] for split, rows in raw.items()}
    write_examples(path / "examples", raw)
    config = TransformConfig(candidate_types=("video",))
    folders = run_transform(path / "examples", path / "transform", config)
    output = tft.TFTransformOutput(str(folders["transform_graph"]))
    graph, examples = folders["transform_graph"], folders["transformed_examples"]
    return train(CONFIG, SmallLog(raw, output, graph, examples), path)


def _renamed(row: bytes, old: bytes, new: bytes) -> bytes:
    example = tf.train.Example.FromString(row)
    for name, feature in example.features.feature.items():
        if name.endswith("/entity"):
            found = feature.bytes_list.value[:]
            feature.bytes_list.value[:] = [new if value == old else value for value in found]
            if name == "catalogue/entity" and old in found:
                example.features.feature["catalogue/type"].bytes_list.value[:] = [b"video"]
    return example.SerializeToString(deterministic=True)


def answer(trained, *histories):
    examples = [timeline("u", history) for history in histories]
    found = trained.towers.signatures["serving_default"](tf.constant(examples))
    return found["embedding"].numpy(), found["weight"].numpy()


def test_several_vectors_are_served_with_their_weights(trained):
    both = [("watch", "video:3", 1), ("buy", "item:27", 2), ("watch", "video:7", 3)]
    vectors, weight = answer(trained, both, both[:1], [])

    assert vectors.shape == (3, 4, 16) and np.isfinite(vectors).all()
    np.testing.assert_allclose(weight.sum(axis=1), 1.0, atol=1e-5)


def test_a_served_answer_reads_events_of_both_kinds(trained):
    def of(video, item):
        history = [("watch", f"video:{video}", 1), ("buy", f"item:{item}", 2)]
        return answer(trained, history)[0]

    base = of(3, 27)
    assert np.abs(of(4, 27) - base).max() > 1e-3
    assert np.abs(of(3, 26) - base).max() > 1e-3


def test_videos_alone_are_ranked_and_learned(trained):
    report = json.loads((trained.run_dir / "training.json").read_text())

    assert len(trained.model._candidate_ids) == 20
    assert report["epochs"][-1]["loss"] < report["epochs"][0]["loss"]
