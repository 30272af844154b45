"""The servable as a server loads it: from its directory, through its signatures."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

from serving.index import files
from serving.index.config import ServeConfig
from serving.index.searching.assemble import write_servable
from serving.publishing.publish import missing_files
from serving.publishing.servable_file import read_servable
from tests.helpers.examples import catalogue_row
from tests.helpers.examples import timeline
from tests.helpers.operations import operations
from tests.helpers.servables import FILES
from tests.helpers.servables import seal_without_scann
from tests.helpers.servables import write_tiny_servable
from tests.helpers.servables import write_vectors
from tests.helpers.towers import save_towers

IDS = tuple(f"movie:{i}" for i in range(1, 41)) + ("video:1",)
LATE = {"movie:5": 2_000, "movie:6": 2_000}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """k = 10, what was watched or bought is not recommended again; two movies come later."""
    config = ServeConfig(k=10, exclude_seen=("watch", "buy"))
    path = write_tiny_servable(tmp_path_factory.mktemp("served"), IDS, config, LATE)
    return path, tf.saved_model.load(str(path))


def default(model, *examples):
    answer = model.signatures["serving_default"](examples=tf.constant(list(examples), tf.string))
    return answer["classes"].numpy().astype(str), answer["scores"].numpy()


def request(histories, events="watch", exclude=((),), request_time=0, **more):
    """Dense inputs of `recommend`, padded with what must not be read."""

    def padded(rows, filler):
        width = max(len(row) for row in rows) + 2
        return [list(row) + [filler] * (width - len(row)) for row in rows]

    batch = len(histories)
    exclude = [list(row) for row in exclude] * (batch // len(exclude))
    events = [[events] * len(row) if isinstance(events, str) else events for row in histories]
    inputs = {
        "history_ids": tf.constant(padded(histories, "movie:1")),
        "history_events": tf.constant(padded(events, "watch")),
        "history_timestamps": tf.constant(
            padded([range(1, len(row) + 1) for row in histories], 10**15), tf.int64
        ),
        "history_length": tf.constant([len(row) for row in histories], tf.int64),
        "exclude_ids": tf.constant(padded(exclude, "movie:2")),
        "exclude_length": tf.constant([len(row) for row in exclude], tf.int64),
        "request_time": tf.constant([request_time] * batch, tf.int64),
        "query": tf.constant([""] * batch),
        "user_attributes": tf.constant([["age=25"]] * batch),
        "user_attributes_length": tf.constant([0] * batch, tf.int64),
    }
    return {**inputs, **more}


def recommend(model, *args, **kwargs):
    answer = model.signatures["recommend"](**request(*args, **kwargs))
    return answer["ids"].numpy().astype(str), answer["scores"].numpy()


def test_the_signatures_are_as_clients_expect(served):
    signatures = served[1].signatures
    assert set(signatures) == {
        "serving_default", "recommend", "embed_query", "embed_candidate"
    }  # fmt: skip
    # TF Serving calls no signature without this where it merges requests.
    for name, signature in signatures.items():
        for output in signature.structured_outputs.values():
            assert output.shape[0] is None, name
    inputs = signatures["recommend"].structured_input_signature[1]
    wanted = {
        "history_ids": ("string", 2), "history_events": ("string", 2),
        "history_timestamps": ("int64", 2), "history_length": ("int64", 1),
        "request_time": ("int64", 1), "query": ("string", 1), "user_attributes": ("string", 2),
        "user_attributes_length": ("int64", 1), "exclude_ids": ("string", 2),
        "exclude_length": ("int64", 1),
    }  # fmt: skip
    assert {name: (spec.dtype.name, spec.shape.rank) for name, spec in inputs.items()} == wanted
    for name, key in (("recommend", "ids"), ("serving_default", "classes")):
        outputs = signatures[name].structured_outputs
        assert set(outputs) == {key, "scores"}
        assert outputs[key].dtype == tf.string and outputs["scores"].dtype == tf.float32
        assert outputs[key].shape.as_list() == outputs["scores"].shape.as_list() == [None, 10]


def test_answers_are_the_nearest_candidates(served):
    model = served[1]
    ids, scores = default(model, timeline("u", ["movie:1"], event="click"))
    query = model.signatures["serving_default"]  # of the servable
    assert query is not None
    towers = model.signatures["embed_candidate"]
    vectors = towers(examples=tf.constant([catalogue_row(name) for name in IDS]))["embedding"]
    dense = request([["movie:1"]], "click")
    inputs = {k: v for k, v in dense.items() if not k.startswith("exclude")}
    embedding = model.signatures["embed_query"](**inputs)["embedding"]
    wanted = (vectors.numpy() @ embedding.numpy()[0]).tolist()
    order = np.argsort(wanted)[::-1][:10]
    assert ids[0].tolist() == [IDS[i] for i in order]
    np.testing.assert_allclose(scores[0], np.array(wanted)[order], rtol=1e-5)


def test_both_signatures_agree(served):
    histories = [["movie:1", "movie:2", "video:1"], [], ["nothing:known"]]
    examples = [timeline("u", history) for history in histories]
    ids, scores = default(served[1], *examples)
    same_ids, same_scores = recommend(served[1], histories)
    assert ids.tolist() == same_ids.tolist()
    np.testing.assert_allclose(scores, same_scores, rtol=1e-5)


def test_an_empty_or_unknown_history_gets_a_whole_answer(served):
    ids, scores = recommend(served[1], [[], ["movie:999", "other:1"]])
    assert (ids != "").all() and np.isfinite(scores).all()


def test_seen_entities_are_excluded_by_event_type(served):
    ids, _ = recommend(served[1], [["movie:1", "movie:2"]], "click")
    first = ids[0][0]
    for event, comes_back in (("click", True), ("watch", False), ("buy", False)):
        again, _ = recommend(served[1], [["movie:1", "movie:2", first]], event)
        assert (first in again[0]) == comes_back, event
    assert "movie:1" not in recommend(served[1], [["movie:1"]], "watch")[0][0]


def test_a_long_history_is_excluded_as_a_whole(served):
    history = [name for name in IDS if name not in ("movie:7", "movie:8", "video:1")]
    ids, scores = default(served[1], timeline("u", history))
    assert sorted(ids[0][:3]) == ["movie:7", "movie:8", "video:1"]
    assert (ids[0][3:] == "").all() and (scores[0][3:] == -np.inf).all()
    assert np.isfinite(scores[0][:3]).all()


def test_ids_that_the_client_excludes(served):
    ids, _ = recommend(served[1], [["movie:1"]])
    shorter, _ = recommend(served[1], [["movie:1"]], exclude=[[*ids[0][:3], "unknown:1"]])
    assert shorter[0][:7].tolist() == ids[0][3:].tolist()
    assert (shorter[0] != "").all()


def test_nothing_is_recommended_before_it_is_available(served):
    best = {"movie:5", "movie:6"}
    everything = [name for name in IDS if name not in best]
    for request_time, found in ((1, set()), (1_999, set()), (2_000, best), (0, best)):
        example = timeline("u", everything, request_time=request_time)
        assert set(default(served[1], example)[0][0]) - {""} == found, request_time


def test_targets_are_never_read(served):
    bare = timeline("u", ["movie:1", "movie:2"])
    for targets in (["movie:3"], ["movie:1", "movie:9", "nothing:1"]):
        example = timeline("u", ["movie:1", "movie:2"], targets=targets)
        signature = served[1].signatures["serving_default"]
        one, two = (signature(examples=tf.constant([e])) for e in (bare, example))
        for key in one:
            np.testing.assert_array_equal(one[key].numpy(), two[key].numpy())


def test_an_empty_batch(served):
    ids, scores = default(served[1])
    assert ids.shape == scores.shape == (0, 10)


def test_a_malformed_example_is_refused(served):
    with pytest.raises(tf.errors.InvalidArgumentError):
        default(served[1], b"this is no example")


@pytest.mark.slow
def test_it_holds_stock_operations_only(served):
    found = operations(served[0])
    assert found["unknown"] == []
    assert not found["scann"]
    assert not [name for name in found["all"] if "scann" in name.lower() or "PyFunc" in name]


def test_a_session_answers_as_tensorflow_serving_does(served):
    example = timeline("u", ["movie:1", "movie:2"])
    wanted, _ = default(served[1], example)
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        meta = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(served[0]))
        signature = meta.signature_def["serving_default"]
        ids = session.run(
            signature.outputs["classes"].name, {signature.inputs["examples"].name: [example]}
        )
    assert ids.astype(str).tolist() == wanted.tolist()


def test_servable_json_says_what_answers_and_why(served):
    description = json.loads((served[0] / "servable.json").read_text())
    assert description["stage"] == "retrieval" and description["backend"] == "exact"
    assert read_servable(served[0]).signatures == tuple(
        sorted(("embed_candidate", "embed_query", "recommend", "serving_default"))
    )
    assert read_servable(served[0]).required == FILES
    assert missing_files(served[0]) == []
    assert description["reason"] == "the index over 41 candidates has no tree (tree_from)"
    assert description["k"] == 10 and description["candidates"] == 41
    assert description["candidate_types"] == {"movie": 40, "video": 1}
    index = files.open_index(served[0] / "index")
    assert description["index"] == index.fingerprint
    assert description["towers"] == index.info["towers"]


@pytest.mark.parametrize("exclude_seen", [(), ("*",)])
def test_excluding_nothing_and_everything(tmp_path, exclude_seen):
    config = ServeConfig(k=41, exclude_seen=exclude_seen)
    model = tf.saved_model.load(str(write_tiny_servable(tmp_path, IDS, config)))
    for event in ("watch", "whatever"):
        ids, _ = default(model, timeline("u", ["movie:1", "video:1"], event=event))
        left = set(IDS) if not exclude_seen else set(IDS) - {"movie:1", "video:1"}
        assert set(ids[0]) - {""} == left


def test_seen_is_what_the_newest_events_are_of(tmp_path):
    config = ServeConfig(k=41, exclude_seen=("watch",), seen_events=2)
    model = tf.saved_model.load(str(write_tiny_servable(tmp_path, IDS, config)))
    history = ["movie:1", "movie:2", "movie:3", "movie:2"]
    example = timeline("u", history)
    left = set(IDS) - {"movie:2", "movie:3"}
    ids, _ = default(model, example, timeline("v", ["movie:3", "movie:2"]))
    assert [set(row) - {""} for row in ids] == [left, left]
    found, _ = recommend(model, [history, ["movie:3", "movie:2"]])  # padded with movie:1
    assert [set(row) - {""} for row in found] == [left, left]


@pytest.mark.parametrize("weighted", [False, True])
def test_several_interests_are_merged_by_the_best_or_as_a_mixture(tmp_path, weighted):
    path = write_tiny_servable(tmp_path, IDS, ServeConfig(k=41), interests=3, weighted=weighted)
    model = tf.saved_model.load(str(path))
    history = ["movie:1", "movie:2", "movie:3", "movie:4"]
    ids, scores = default(model, timeline("u", history))
    towers = tf.saved_model.load(str(tmp_path / "towers"))
    example = tf.constant([timeline("u", history)])
    embedded = towers.signatures["serving_default"](examples=example)
    vectors = files.load_vectors(tmp_path / "index")
    scores_of = embedded["embedding"][0].numpy() @ vectors.T  # [3, N]
    if weighted:
        best = np.log(embedded["weight"][0].numpy() @ np.exp(scores_of))
    else:
        best = scores_of.max(0)
    assert ids[0].tolist() == [IDS[i] for i in np.argsort(-best)]
    np.testing.assert_allclose(scores[0], np.sort(best)[::-1], rtol=1e-5, atol=1e-6)


def test_towers_and_index_of_different_models_are_refused(tmp_path):
    write_tiny_servable(tmp_path, IDS)
    save_towers(tmp_path / "other", seed=1)
    with pytest.raises(files.IndexIntegrityError, match="built with other towers"):
        write_servable(tmp_path / "other", tmp_path / "index", tmp_path / "x", ServeConfig())


def test_towers_of_another_dimension_are_refused(tmp_path):
    save_towers(tmp_path / "towers", dim=16)
    write_vectors(tmp_path / "index", IDS, np.ones((len(IDS), 8)))
    seal_without_scann(tmp_path / "index")
    with pytest.raises(files.IndexIntegrityError, match="16 dimensions .* holds 8"):
        write_servable(tmp_path / "towers", tmp_path / "index", tmp_path / "x", ServeConfig())


def test_towers_without_their_signatures_are_refused(tmp_path):
    write_vectors(tmp_path / "index", IDS, np.ones((len(IDS), 8)))
    seal_without_scann(tmp_path / "index")
    with pytest.raises(FileNotFoundError, match="holds no SavedModel"):
        write_servable(tmp_path / "none", tmp_path / "index", tmp_path / "x", ServeConfig())
    tf.saved_model.save(tf.Module(), str(tmp_path / "bare"))
    with pytest.raises(ValueError, match="expected `serving_default` with an output `embedding`"):
        write_servable(tmp_path / "bare", tmp_path / "index", tmp_path / "x", ServeConfig())
