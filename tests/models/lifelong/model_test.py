"""The ranking models of long histories: what each finds, that it trains, and what is exported."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import models  # noqa: F401  (chooses Keras 2)
from models.config import RankingTrainerConfig
from models.families import find_family
from models.input import batch as b
from models.input.catalogue import CatalogueTable
from models.input.page_batches import PageSpec
from models.input.page_batches import page_requests
from models.input.vocabulary_sizes import VocabularySizes
from models.lifelong import model as lifelong
from models.ranking.model import windows_of
from models.training.replicas import WHOLE
from serving.client import HistoryCodes
from serving.publishing.requests import dense_inputs
from tests.helpers.examples import example
from transforms import features as f
from transforms.parsing import page_spec

SEARCHING = ["twin", "sim", "eta"]
LIFELONG = [*SEARCHING, "sdim"]
# Items 1 to 8; those of one category are four apart, and item 8 is of both 1 and 4.
CATEGORIES = np.array([[0, 0], [1, 0], [2, 0], [3, 0], [4, 0], [1, 0], [2, 0], [3, 0], [4, 1]])
TABLE = CatalogueTable(
    np.arange(1, 9), np.array([b"item"] * 8), {"categories": CATEGORIES.astype(np.int32)}
)
SIZES = VocabularySizes(entity=9, category=5)
LABEL = {"source": "events", "negatives": 3}
PAGE = {
    f.USER_ATTRIBUTES: ["group=1"],
    f.EVENT_ENTITY: ["item:1", "item:5", "item:9", "item:3"],
    f.EVENT_TYPE: ["watch"] * 4,
    f.EVENT_TIMESTAMP: [1, 2, 3, 4],
    f.EVENT_VALUE: [0.0] * 4,
    f.EVENT_QUERY: [""] * 4,
    f.REQUEST_TIME: 9,
    f.REQUEST_QUERY: "",
    f.CANDIDATE_ENTITY: ["item:13", "item:6", "item:3"],
}


def configure(family, **model):
    searched = {} if family == "sdim" else {"heads": 2, "top_k": 2}
    model = {"family": family, "dim": 8, "window": 6} | searched | model
    return RankingTrainerConfig.model_validate({"model": model, "label": LABEL})


def make(family, table=TABLE, **model):
    config = configure(family, **model)
    tf.keras.utils.set_random_seed(0)
    pages = PageSpec(windows_of(config.model), config.label)
    return find_family(config.model.family).load()(config, SIZES, table, np.arange(9) > 0, pages)


def pages(histories, candidates):
    """A batch of pages without user, query or time."""
    number, empty = len(histories), tf.zeros([len(histories), 1], tf.int64)
    padded = tf.keras.utils.pad_sequences(histories, 6, padding="post")
    return {
        b.HISTORY_ENTITY: tf.constant(padded, tf.int64),
        b.HISTORY_LENGTH: tf.constant([len(one) for one in histories], tf.int64),
        b.USER_ATTRIBUTES: empty,
        b.QUERY_TOKENS: empty,
        b.REQUEST_TIME: tf.zeros([number], tf.int64),
        b.CANDIDATE_ENTITY: tf.constant(
            tf.keras.utils.pad_sequences(candidates, padding="post"), tf.int64
        ),
        b.CANDIDATE_LENGTH: tf.constant([len(one) for one in candidates], tf.int64),
    }


def test_hard_search_finds_the_newest_events_of_a_category_of_the_candidate():
    model = make("sim", search="hard")
    view = model.features(pages([[2, 5, 8, 1, 4], [3]], [[1, 6, 8], [4]]))
    found = model._shared_categories(view).numpy()

    def positions(scores):
        order = np.argsort(-scores, kind="stable")
        return [int(at) for at in order if scores[at] > np.finfo(np.float32).min]

    assert [positions(scores) for scores in found[0]] == [[1, 2, 3], [0], [1, 2, 3, 4]]
    assert positions(found[1, 0]) == []
    np.testing.assert_array_equal(model.interest(view)[3], 0.0)  # nothing is found there
    assert np.abs(model.interest(view)[:3]).max(axis=1).min() > 0


def test_hard_search_needs_categories():
    with pytest.raises(ValueError, match="Choose `search: soft`"):
        make("sim", dataclasses.replace(TABLE, features={}), search="hard")


def test_the_soft_search_learns_by_its_own_loss_alone():
    model = make("sim")
    batch = pages([[2, 5, 8, 1, 4], [3]], [[1, 6, 8], [4]])
    model.compute_loss(batch | {b.LABEL: tf.ones([2, 3, 1])})
    with tf.GradientTape(persistent=True) as tape:
        view = model.features(batch)
        ranked = tf.reduce_sum(model.logits(view))
        searched = tf.reduce_sum(model.auxiliary_logits(view))
    weights = [model.of_candidate.kernel, model.of_event.kernel]

    assert tape.gradient(ranked, weights) == [None, None]
    assert all(np.abs(gradient).max() > 0 for gradient in tape.gradient(searched, weights))


@pytest.mark.parametrize("family", [*SEARCHING, "seminar"])
@pytest.mark.parametrize("normalise", [True, False])
def test_only_normalised_attention_starts_as_products_and_means_of_vectors(family, normalise):
    attention = make(family, normalise=normalise).attention
    attention.build([None, 8])
    layers = (attention.query, attention.key, attention.value, attention.output_projection)
    same = [np.array_equal(layer.kernel, np.eye(8)) for layer in layers]
    assert same == [normalise] * 4
    assert attention.name == ("normalised_attention" if normalise else "attention")


@pytest.mark.parametrize("family", SEARCHING)
@pytest.mark.parametrize("normalise", [True, False])
def test_only_with_normalise_the_length_of_embeddings_has_no_say(family, normalise):
    model = make(family, normalise=normalise)
    view = model.features(pages([[2, 5, 8, 1, 4], [], [3, 6]], [[1, 6, 8], [4], [4, 2]]))
    longer = view._replace(candidate=10 * view.candidate, items=10 * view.items)
    compared, after = model.compared(view.items).numpy(), model.compared(longer.items).numpy()
    if normalise:
        there = view.mask > 0
        np.testing.assert_allclose(np.mean(compared**2, axis=2)[there], 1.0, rtol=1e-2)
        np.testing.assert_allclose(after, compared, rtol=1e-2)
    else:
        np.testing.assert_array_equal(compared, view.items)
        np.testing.assert_array_equal(after, longer.items)

    read, expected = model.attend(longer).numpy(), 10 * model.attend(view).numpy()
    alike = np.allclose(read, expected, atol=1e-3 * np.abs(expected).max())
    assert alike == normalise  # what is read has its own length in both
    assert np.abs(expected[:3]).max(axis=1).min() > 0 and not read[3].any()


NORMALISED = [pytest.param(one, {"normalise": True}, id=f"{one} normalised") for one in SEARCHING]


@pytest.mark.parametrize(("family", "given"), [*((one, {}) for one in LIFELONG), *NORMALISED])
def test_pages_a_few_at_a_time_are_scored_as_together(family, given, monkeypatch):
    model = make(family, **given)
    batch = pages([[2, 5, 8, 1, 4], [], [3], [7, 7]], [[1, 6, 8], [4], [2, 3], [5]])
    view = model.features(batch)
    whole = model.interest(view, training=True).numpy()
    for pairs in (1, 20, 10_000):
        monkeypatch.setattr(lifelong, "_PAIRS", pairs)
        np.testing.assert_allclose(model.interest(view), whole, atol=1e-6)
    monkeypatch.setattr(lifelong, "_PAIRS", 20)
    expected = model.logits(view)
    traced = tf.function(model.score, reduce_retracing=True)
    np.testing.assert_allclose(traced(batch), expected, atol=1e-5)
    nothing = {name: values[:0] for name, values in batch.items()}
    assert traced(nothing).shape == (0, 1)


# Two search as `sim` does, and are left to the night.
AT_NIGHT = [pytest.param(family, marks=pytest.mark.nightly) for family in ("twin", "eta")]


@pytest.mark.parametrize("family", ["sim", "sdim", "seminar", *AT_NIGHT])
def test_a_family_learns_the_small_log_and_answers_as_a_saved_model(family, log, tmp_path):
    coarse = {"coarse": {"cells": 4, "events": 4, "top_k": True}, "recent": 3}
    more = {} if family != "seminar" else {"search": "quantised"} | coarse
    config = configure(family, window=8, candidate={"id_dropout": 0.0}, **more)
    tf.keras.utils.set_random_seed(1)
    model = find_family(family).load().of(config, log.data)
    model.compile(tf.keras.optimizers.Adam(0.01))
    batches = model.training_batches(log.data, WHOLE)
    losses = model.fit(batches, epochs=3, verbose=0).history["mean_loss"]
    assert losses[-1] < 0.95 * losses[0]
    assert not model.features.use_event_query  # the log has none
    if family == "seminar":
        model.code_catalogue([next(iter(batches))])

    tft_layer = log.transform.transform_features_layer()
    model.export(tft_layer, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    assert len(loaded.weights) == len(model.saved_weights())
    spec = {name: field for name, field in page_spec().items() if name in PAGE}
    examples = tf.constant([example(**PAGE), example(**PAGE | {f.EVENT_ENTITY: ["item:2"] * 4})])
    page = page_requests(tft_layer(tf.io.parse_example(examples, spec)), model.pages.windows)
    found = loaded.signatures["serving_default"](examples)["scores"]
    np.testing.assert_allclose(found, model.probabilities(page)[:, :, 0], atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 1e-4
    views = [tf.train.Example.FromString(one) for one in examples.numpy()]
    coded = HistoryCodes.read(tmp_path).encode(dense_inputs("rank", views))
    given = {name: tf.constant(values) for name, values in coded.items()}
    by_codes = loaded.signatures["rank_codes"](**given)["scores"]
    np.testing.assert_allclose(by_codes, found, atol=1e-5)
