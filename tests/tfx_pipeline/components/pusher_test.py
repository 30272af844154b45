"""The pusher: what it refuses, and warm-up requests that the pushed model answers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tfx import v1 as tfx

from serving.client import Event
from serving.client import RecommenderClient
from serving.client import Request
from serving.client import protos
from serving.client import tensors
from serving.index.config import ServeConfig
from serving.local_server.config import ServerConfig
from serving.local_server.server import LocalServer
from serving.publishing.announce import announce_version
from serving.publishing.config import BatchingConfig
from serving.publishing.config import PusherConfig
from serving.publishing.label_moves import promote
from serving.publishing.label_moves import rollback
from serving.publishing.label_moves import set_withdrawn_aside
from serving.publishing.labels import Labels
from serving.publishing.labels import read_labels
from serving.publishing.models_config import MODELS_CONFIG
from serving.publishing.origin import NOT_PUSHED
from serving.publishing.serving_files import BATCHING
from serving.publishing.versions import pushed_versions
from serving.publishing.warmup import WARMUP_FILE
from serving.publishing.warmup import write_warmup
from tests.helpers.artifacts import artifact
from tests.helpers.artifacts import raw_examples
from tests.helpers.examples import timeline
from tests.helpers.servables import describe_servable
from tests.helpers.servables import write_tiny_servable
from tfx_pipeline.components.pusher import Executor
from tfx_pipeline.components.pusher import objections

STANDARD = tfx.types.standard_artifacts


def given(kind, uri, **properties):
    made = artifact(kind, uri)
    for name, value in properties.items():
        made.set_int_custom_property(name, value)
    return [made]


def test_an_index_that_is_not_blessed_is_not_pushed(tmp_path):
    inputs = {
        "servable": given(STANDARD.Model, tmp_path / "servable"),
        "index_blessing": given(STANDARD.ModelBlessing, tmp_path / "index", blessed=0),
        "model_blessing": given(STANDARD.ModelBlessing, tmp_path / "model", blessed=1),
        "evaluation": given(STANDARD.ModelEvaluation, tmp_path / "evaluation"),
        "examples": given(STANDARD.Examples, tmp_path / "examples"),
    }
    report = {"blessed": False, "reasons": ["recall@100 of ScaNN is 0.9"]}
    (tmp_path / "index" / "report.json").write_text(json.dumps(report))
    outputs = {"pushed_model": given(STANDARD.PushedModel, tmp_path / "pushed_model")}
    properties = {
        "config": PusherConfig().to_json(),
        "name": "shop",
        "push_dir": str(tmp_path / "pushed"),
        "release_candidate": "mine",
        "serving_state": "0@0",
        "run_config": "{}",
        "code_version": "1",
    }
    Executor().Do(inputs, outputs, properties)
    (pushed,) = outputs["pushed_model"]
    assert pushed.get_int_custom_property("pushed") == 0
    reason = pushed.get_string_custom_property("not_pushed_because")
    assert reason == "the index is not blessed (recall@100 of ScaNN is 0.9)"
    assert (tmp_path / "pushed_model" / NOT_PUSHED).read_text() == f"{reason}\n"
    assert not (tmp_path / "pushed").exists()


def test_what_a_server_did_not_answer_well_is_not_pushed(tmp_path):
    inputs = {
        "index_blessing": given(STANDARD.ModelBlessing, tmp_path / "index", blessed=1),
        "model_blessing": given(STANDARD.ModelBlessing, tmp_path / "model", blessed=1),
        "serving_blessing": given(STANDARD.ModelBlessing, tmp_path / "serving", blessed=0),
    }
    report = {"reasons": ["seen: expected none; received one", "latency: too slow"]}
    (tmp_path / "serving" / "report.json").write_text(json.dumps(report))
    assert objections(inputs) == [
        "what a server answers is not blessed (seen: expected none; received one; latency: too "
        "slow)"
    ]
    inputs["serving_blessing"][0].set_int_custom_property("blessed", 1)
    assert objections(inputs) == []
    inputs["serving_blessing"] = []  # the component is switched off
    assert objections(inputs) == []
    del inputs["serving_blessing"]
    assert objections(inputs) == []


def test_lists_that_are_not_blessed_are_not_pushed(tmp_path):
    inputs = {
        "index_blessing": given(STANDARD.ModelBlessing, tmp_path / "index", blessed=1),
        "neighbours_blessing": given(STANDARD.ModelBlessing, tmp_path / "neighbours", blessed=0),
        "model_blessing": given(STANDARD.ModelBlessing, tmp_path / "model", blessed=1),
    }
    report = {"reasons": ["recall of the recounted neighbours is 0.5"]}
    (tmp_path / "neighbours" / "report.json").write_text(json.dumps(report))
    reason = "the neighbour lists are not blessed (recall of the recounted neighbours is 0.5)"
    assert objections(inputs) == [reason]
    inputs["neighbours_blessing"] = []  # the servable holds none
    assert objections(inputs) == []


TIMELINES = [
    timeline("ann", ["movie:1", "movie:2"], targets=["movie:3"], request_time=50),
    timeline("bob", [], attributes=["age=25"]),
    timeline("eve", ["movie:2"] * 400),
]


def requests(saved_model):
    records = tf.data.TFRecordDataset(str(saved_model / WARMUP_FILE)).as_numpy_iterator()
    return [protos.PredictionLog.FromString(one).predict_log.request for one in records]


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    return write_tiny_servable(tmp_path_factory.mktemp("pusher"), config=ServeConfig(k=5))


def test_the_pushed_model_answers_its_warm_up_requests(saved_model):
    assert write_warmup(saved_model, TIMELINES, max_rows=3) == 8
    loaded = tf.saved_model.load(str(saved_model)).signatures
    names = []
    for request in requests(saved_model):
        inputs = {name: tf.constant(tensors.from_proto(p)) for name, p in request.inputs.items()}
        answer = loaded[request.model_spec.signature_name](**inputs)
        names.append((request.model_spec.signature_name, int(answer["scores"].shape[0])))
    assert sorted(names) == sorted(
        [("serving_default", 1), ("recommend", 1)] * 3 + [("serving_default", 3), ("recommend", 3)]
    )


@pytest.mark.parametrize(("largest", "rows"), [(1, [1, 1, 1]), (2, [1, 1, 1, 2])])
def test_no_warm_up_request_has_more_rows_than_a_server_takes(saved_model, largest, rows):
    write_warmup(saved_model, TIMELINES, largest)
    found = {"examples": [], "history_length": []}
    for request in requests(saved_model):
        (name,) = found.keys() & request.inputs.keys()
        found[name].append(tensors.from_proto(request.inputs[name]).shape[0])
    assert list(found.values()) == [rows, rows]


@pytest.mark.parametrize("rows", [65, 256])
def test_large_batches_are_answered_with_the_pushed_files(saved_model, tmp_path, rows):
    push_dir = tmp_path / "pushed"
    shutil.copytree(saved_model, push_dir / "1")
    announce_version(push_dir, 1, "films", PusherConfig())
    files = {
        "models_config_file": push_dir / MODELS_CONFIG,
        "batching_parameters_file": push_dir / BATCHING,
    }
    histories = [[Event(f"movie:{1 + i % 50}", "watch", i)] for i in range(rows)]
    with (
        LocalServer(ServerConfig(**files, port=0, rest_port=None)) as server,
        RecommenderClient(server.address, "films", label="stable", timeout=60) as client,
    ):
        batch = client.recommend_batch([Request(history) for history in histories])
        for i in (0, 63, 64, rows - 1):
            alone = client.recommend(histories[i])
            np.testing.assert_allclose(batch[i].scores, alone.scores, rtol=1e-5)
    assert len(batch) == rows


def test_warm_up_requests_name_no_user_and_no_target(saved_model):
    write_warmup(saved_model, TIMELINES, max_rows=3)
    raw = (saved_model / WARMUP_FILE).read_bytes()
    assert b"movie:2" in raw
    assert not any(word in raw for word in (b"ann", b"target/", b"slice/", b"movie:3"))


def test_a_model_without_recommend_gets_plain_requests(tmp_path):
    module = tf.Module()
    function = tf.function(
        lambda examples: {"scores": tf.zeros([tf.shape(examples)[0]])},
        input_signature=[tf.TensorSpec([None], tf.string, name="examples")],
    )
    module.function = function
    tf.saved_model.save(module, str(tmp_path / "m"), signatures={"serving_default": function})
    describe_servable(tmp_path / "m")
    assert write_warmup(tmp_path / "m", TIMELINES[:1], max_rows=3) == 1
    assert write_warmup(tmp_path / "m", [], max_rows=3) == 0


def test_a_signature_that_cannot_be_warmed_up_is_an_error(tmp_path):
    module = tf.Module()
    module.function = tf.function(
        lambda mood: {"scores": tf.zeros([tf.shape(mood)[0]])},
        input_signature=[tf.TensorSpec([None], tf.string, name="mood")],
    )
    tf.saved_model.save(module, str(tmp_path), signatures={"recommend": module.function})
    describe_servable(tmp_path, signatures=["recommend"])
    with pytest.raises(ValueError, match="`recommend` of .* no mood. They have exclude_ids"):
        write_warmup(tmp_path, TIMELINES[:1], max_rows=3)
    describe_servable(tmp_path, signatures=["rank"])
    with pytest.raises(ValueError, match="names the signatures rank, which"):
        write_warmup(tmp_path, TIMELINES[:1], max_rows=3)


@pytest.fixture
def push(saved_model, tmp_path):
    """Pushes one and the same servable as a run does, and returns the version."""
    aside = shutil.ignore_patterns("assets.extra")  # warm-up requests of other tests
    shutil.copytree(saved_model, tmp_path / "servable" / "Format-Serving", ignore=aside)
    inputs = {
        "servable": given(STANDARD.Model, tmp_path / "servable"),
        "index_blessing": given(STANDARD.ModelBlessing, tmp_path / "index", blessed=1),
        "model_blessing": given(STANDARD.ModelBlessing, tmp_path / "model", blessed=1),
        "evaluation": given(STANDARD.ModelEvaluation, tmp_path / "evaluation"),
        "examples": [raw_examples(tmp_path / "examples", {"test": TIMELINES})],
    }

    def run(candidate="mine", warmup_requests=1, **settings) -> str:
        config = PusherConfig(warmup_requests=warmup_requests, **settings)
        properties = {
            "config": config.to_json(),
            "name": "shop",
            "push_dir": str(tmp_path / "pushed"),
            "release_candidate": candidate,
            "serving_state": "0@0",
            "run_config": '{"name": "shop"}',
            "code_version": "1",
        }
        pushed = given(STANDARD.PushedModel, tmp_path / "pushed_model")
        Executor().Do(inputs, {"pushed_model": pushed}, properties)
        if not pushed[0].get_int_custom_property("pushed"):
            return pushed[0].get_string_custom_property("not_pushed_because")
        version = pushed[0].get_string_custom_property("pushed_version")
        assert pushed[0].get_string_custom_property("pushed_destination").endswith(f"/{version}")
        shutil.rmtree(tmp_path / "pushed_model")
        return version

    return run


def test_a_push_writes_what_tf_serving_reads_beside_the_version(push, tmp_path):
    assert [push(name, serving_path="/models/shop") for name in ("one", "two")] == ["1", "2"]
    names = sorted(entry.name for entry in (tmp_path / "pushed").iterdir())
    assert names == [".lock", "1", "2", "serving"]
    assert sorted(entry.name for entry in (tmp_path / "pushed" / "serving").iterdir()) == [
        "batching_params.pbtxt",
        "models.config",
        "monitoring.config",
    ]
    assert read_labels(tmp_path / "pushed") == Labels(
        "shop", "/models/shop", {"stable": 1, "canary": 2}
    )
    assert len(requests(tmp_path / "pushed" / "2")) == 2


def test_what_is_served_is_not_pushed_again_but_told_again(push, tmp_path):
    """Such as when only the server was changed that asked the candidate before."""
    assert push() == "1"
    batching = BatchingConfig(timeout_micros=7)
    assert push(batching=batching, serving_path="/models/shop") == "1"
    assert "batch_timeout_micros { value: 7 }" in (tmp_path / "pushed" / BATCHING).read_text()
    assert read_labels(tmp_path / "pushed").base_path == "/models/shop"
    # Other warm-up requests make another version, and another candidate does.
    assert push(warmup_requests=2) == "2"
    assert push("other") == "3"
    assert push("other") == "3"


@pytest.mark.parametrize("aside", [False, True])
def test_what_was_rolled_back_does_not_come_back_by_itself(push, tmp_path, aside):
    push_dir = tmp_path / "pushed"
    assert [push(), push("bad")] == ["1", "2"]
    rollback(push_dir, canary_only=True)
    if aside:
        set_withdrawn_aside(push_dir)
    assert push("bad").startswith("version 2 is this servable, and was rolled back; `vitrine push")
    assert push() == "1"  # what is served since
    assert pushed_versions(push_dir) == ([1] if aside else [1, 2])
    promote(push_dir, 2)
    assert push("bad") == "2"


def test_the_configuration_does_not_import_tfx():
    code = (
        "import sys, serving.publishing.config, tfx_pipeline.evaluation.config; "
        "assert not {'tfx', 'tensorflow', 'tensorflow_model_analysis'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])
