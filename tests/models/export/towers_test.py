import json

import numpy as np
import pytest
import tensorflow as tf

from models.export.towers import QUERY_INPUTS
from models.export.towers import save_towers
from models.input.catalogue import candidate_features
from models.input.target_batches import evaluation_batches
from models.sequence.model import SequenceModel
from tests.helpers.timelines import row
from tests.helpers.timelines import timeline
from tests.models.conftest import SEQUENCE
from transforms import features as f


def embed(trained, signature, *examples):
    return trained.towers.signatures[signature](tf.constant(list(examples)))["embedding"].numpy()


def embed_query(trained, histories, padding="", width=None, **more):
    """Embeds histories of (type, entity, timestamp) triples through the dense inputs."""
    width = width or max([len(history) for history in histories] + [1])

    def column(part, pad):
        return [[event[part] for event in h] + [pad] * (width - len(h)) for h in histories]

    batch = len(histories)
    inputs = {
        "history_ids": tf.constant(column(1, padding)),
        "history_events": tf.constant(column(0, padding)),
        "history_timestamps": tf.constant(column(2, -7 if padding else 0), tf.int64),
        "history_length": tf.constant([len(history) for history in histories], tf.int64),
        "request_time": tf.zeros([batch], tf.int64),
        "query": tf.constant([""] * batch),
        "user_attributes": tf.constant([[padding] * 2] * batch),
        "user_attributes_length": tf.zeros([batch], tf.int64),
    }
    answer = trained.towers.signatures["embed_query"](**(inputs | more))
    return answer["embedding"].numpy()


HISTORIES = [
    [("watch", "item:3", 1), ("buy", "item:7", 2), ("watch", "item:8", 3)],
    [("watch", "item:1", 5)],
]


def test_every_input_and_output_has_a_batch_dimension(trained):
    assert set(trained.towers.signatures) == {
        "serving_default",
        "embed_query",
        "embed_candidate",
        "transform_features",
    }
    for signature in trained.towers.signatures.values():
        for spec in signature.structured_input_signature[1].values():
            assert spec.shape.rank >= 1 and spec.shape[0] is None
    dense = trained.towers.signatures["embed_query"].structured_input_signature[1]
    assert {spec.name for spec in QUERY_INPUTS} == set(dense)


def test_loaded_towers_equal_the_model_in_this_process(log, trained):
    windows = trained.model.window_spec(training=False)
    spec = log.transform.transformed_feature_spec()
    (batch,) = evaluation_batches(log.files("test"), spec, windows)

    queries = embed(trained, "serving_default", *log.raw["test"])
    np.testing.assert_allclose(queries, trained.model.embed_queries(batch), atol=1e-5)

    records = (
        tf.data.TFRecordDataset(log.files("catalogue"), "GZIP").batch(100).get_single_element()
    )
    rows = tf.io.parse_example(
        records, {k: v for k, v in spec.items() if k.startswith("catalogue/")}
    )
    features = candidate_features(rows, trained.model.feature_widths)
    items = embed(trained, "embed_candidate", *log.raw["catalogue"])
    np.testing.assert_allclose(items, trained.model.embed_features(features), atol=1e-5)
    np.testing.assert_allclose(items, trained.model.embed_items(features["entity"]), atol=1e-5)


def test_a_mixture_is_exported_with_its_weights(log, tmp_path):
    config = SEQUENCE.model_copy(
        update={"model": SEQUENCE.model.model_copy(update={"interests": 3})}
    )
    model = SequenceModel.of(config, log.data)
    spec = log.transform.transformed_feature_spec()
    (batch,) = evaluation_batches(log.files("test"), spec, model.window_spec(training=False))
    model.embed_items(tf.constant([1], tf.int64))
    queries = model.embed_queries(batch)
    save_towers(model, log.transform.transform_features_layer(), str(tmp_path))

    towers = tf.saved_model.load(str(tmp_path))
    answer = towers.signatures["serving_default"](tf.constant(log.raw["test"]))
    assert set(towers.signatures["embed_query"].structured_outputs) == set(answer)
    np.testing.assert_allclose(answer["embedding"], queries.vectors, atol=1e-5)
    np.testing.assert_allclose(answer["weight"], np.exp(queries.log_weight), atol=1e-5)
    np.testing.assert_allclose(np.sum(answer["weight"], axis=1), 1.0, atol=1e-5)


def test_dense_inputs_equal_serialised_timelines(trained):
    examples = [timeline("u", history) for history in HISTORIES]

    np.testing.assert_allclose(
        embed_query(trained, HISTORIES), embed(trained, "serving_default", *examples), atol=1e-6
    )


def test_unknown_items_take_no_place_of_the_window(trained):
    """More unknown ones than a window has places leave the known ones in it."""
    known = [("watch", f"item:{i}", i) for i in range(1, 12)]
    unknown = [("watch", f"item:nowhere {i}", 20 + i) for i in range(9)]
    dense = embed_query(trained, [known + unknown, known, known[:-1]])

    np.testing.assert_allclose(dense[0], dense[1], atol=1e-6)
    assert np.abs(dense[1] - dense[2]).max() > 1e-4
    examples = [timeline("u", known + unknown), timeline("u", known)]
    np.testing.assert_allclose(dense[:2], embed(trained, "serving_default", *examples), atol=1e-6)


def test_user_attributes_are_read(trained):
    attributes = {
        "user_attributes": tf.constant([["group=1", "age=3"], ["", ""]]),
        "user_attributes_length": tf.constant([2, 0], tf.int64),
    }
    example = timeline("u", HISTORIES[0], **{f.USER_ATTRIBUTES: ["group=1", "age=3"]})
    with_attributes = embed_query(trained, HISTORIES, **attributes)

    expected = embed(trained, "serving_default", example)
    np.testing.assert_allclose(with_attributes[:1], expected, atol=1e-6)
    without = embed_query(trained, HISTORIES)
    assert np.abs(with_attributes[0] - without[0]).max() > 1e-4
    np.testing.assert_allclose(with_attributes[1], without[1], atol=1e-6)


def test_padding_is_never_read(trained):
    padded = embed_query(trained, HISTORIES, padding="item:9", width=12)

    np.testing.assert_allclose(padded, embed_query(trained, HISTORIES), atol=1e-6)


def test_lengths_beyond_the_row_are_cut_off(trained):
    lengths = tf.constant([99, -1], tf.int64)
    answer = embed_query(trained, HISTORIES, history_length=lengths)

    np.testing.assert_allclose(answer[0], embed_query(trained, HISTORIES)[0], atol=1e-6)
    np.testing.assert_allclose(answer[1], embed_query(trained, [[]])[0], atol=1e-6)


def test_empty_and_unknown_histories_get_the_same_finite_answer(trained):
    unknown = [("watch", "item:nowhere", 4)]
    empty, other = embed_query(trained, [[], unknown])

    assert np.isfinite(empty).all() and np.abs(empty).max() > 1e-2
    np.testing.assert_allclose(empty, other, atol=1e-6)
    none = embed(trained, "serving_default", timeline("u", []))
    np.testing.assert_allclose(none[0], empty, atol=1e-6)


def test_events_beyond_the_window_are_not_read(trained):
    window = trained.model.window_spec(training=False).window
    recent = [("watch", f"item:{i}", i + 50) for i in range(window)]
    longer = [("buy", "item:30", 1)] * 3 + recent

    answers = embed_query(trained, [recent, longer])
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-6)


@pytest.mark.parametrize("signature", ["serving_default", "transform_features"])
def test_targets_are_not_read(trained, signature):
    history = HISTORIES[0]
    one = timeline("u", history, targets=[("watch", "item:5", 9)], **{f.REQUEST_TIME: 9})
    other = timeline("u", history, targets=[("buy", "item:6", 8)] * 2, **{f.REQUEST_TIME: 9})
    none = timeline("u", history, **{f.REQUEST_TIME: 9})

    answers = [
        trained.towers.signatures[signature](tf.constant([example]))
        for example in (one, other, none)
    ]
    for name in answers[0]:
        assert not name.startswith(("target/", "slice/"))
        np.testing.assert_array_equal(answers[0][name], answers[1][name])
        np.testing.assert_array_equal(answers[0][name], answers[2][name])


def test_a_new_item_is_embedded_by_its_features(trained):
    green = row("item:new", title="A green thing", categories=["group 1"], price=2.0)
    blue = row("item:newer", title="A blue thing", categories=["group 2"], price=3.0)
    vectors = embed(trained, "embed_candidate", green, blue)

    assert np.isfinite(vectors).all() and np.abs(vectors[0] - vectors[1]).max() > 1e-3


def test_empty_batch(trained):
    none = tf.zeros([0], tf.string)

    assert trained.towers.signatures["serving_default"](none)["embedding"].shape == (0, 16)


def test_training_report_equals_ranking_through_the_signatures(log, trained):
    queries = embed(trained, "serving_default", *log.raw["validation"])
    vectors = embed(trained, "embed_candidate", *log.raw["catalogue"])
    names = [f"item:{i}".encode() for i in range(40)]
    hits, reciprocal = [], []
    for example, query in zip(log.raw["validation"], queries, strict=True):
        columns = tf.train.Example.FromString(example).features.feature
        target = columns[f.TARGET_ENTITY].bytes_list.value[0]
        scores = {name: float(query @ v) for name, v in zip(names, vectors, strict=True)}
        above = [name for name in names if scores[name] > scores[target]]
        hits.append(len(above) < 5)
        reciprocal.append(1 / (1 + len(above)) if len(above) < 10 else 0.0)
    report = json.loads((trained.run_dir / "training.json").read_text())

    assert report["best"]["hr@5"] == pytest.approx(np.mean(hits), abs=1e-6)
    assert report["best"]["mrr@10"] == pytest.approx(np.mean(reciprocal), abs=1e-6)
