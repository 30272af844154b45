"""SEMINAR: pairs and channels by hand, and the search by codes against the exact one."""

from functools import partial

import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

import models  # noqa: F401  (chooses Keras 2)
from models.config import RankingTrainerConfig
from models.input import batch as b
from models.input.catalogue import CatalogueTable
from models.input.page_batches import PageSpec
from models.input.page_batches import candidate_mask
from models.input.vocabulary_sizes import VocabularySizes
from models.layers.rms_norm import inverse_rms
from models.ranking.model import PageEvaluation
from models.ranking.model import windows_of
from models.seminar.model import Seminar
from models.training import warm_start

ITEMS, D = 12, 8
GENERATOR = np.random.default_rng(2)
IMAGES = GENERATOR.normal(size=[ITEMS + 1, 3]).astype(np.float32)
TITLES = GENERATOR.integers(1, 6, [ITEMS + 1, 2]).astype(np.int32)
CATEGORIES = GENERATOR.integers(1, 4, [ITEMS + 1, 1]).astype(np.int32)
FEATURES = {"categories": CATEGORIES, "title": TITLES, "image_vector": IMAGES}
SIZES = VocabularySizes(
    entity=ITEMS + 1, event_type=4, category=4, title_token=6, query_token=7, user_attribute=2
)
HISTORY = np.array([[2, 1, 3, 12, 5], [4, 7, 0, 0, 0], [0] * 5])
WORDS = np.where(HISTORY[:, :, None] > 0, GENERATOR.integers(0, 3, [3, 5, 2]) * 2, 0)
BATCH = {
    b.HISTORY_ENTITY: tf.constant(HISTORY, tf.int64),
    b.HISTORY_TYPE: tf.constant(HISTORY % 4, tf.int64),
    b.HISTORY_LENGTH: tf.constant([5, 2, 0], tf.int64),
    b.HISTORY_AGE: tf.constant(HISTORY * 10**10, tf.int64),
    b.HISTORY_QUERY: tf.constant(WORDS, tf.int64),
    b.USER_ATTRIBUTES: tf.zeros([3, 1], tf.int64),
    b.QUERY_TOKENS: tf.constant([[1, 6], [0, 0], [2, 0]], tf.int64),
    b.REQUEST_TIME: tf.zeros([3], tf.int64),
    b.CANDIDATE_ENTITY: tf.constant([[5, 6, 7], [8, 1, 0], [9, 0, 0]], tf.int64),
    b.CANDIDATE_LENGTH: tf.constant([3, 2, 1], tf.int64),
    b.CANDIDATE_POSITION: tf.zeros([3, 3], tf.int64),
    b.LABEL: tf.constant([[[1.0], [0], [0]], [[0], [1], [0]], [[1], [0], [0]]]),
}


def make(features=FEATURES, sizes=SIZES, **model):
    given = {"family": "seminar", "dim": D, "heads": 2, "window": 5, "top_k": 2}
    given |= {"use_repeats": False} | model
    config = RankingTrainerConfig.model_validate({"model": given})
    tf.keras.utils.set_random_seed(0)
    pages = PageSpec(windows_of(config.model), config.label)
    table = CatalogueTable(np.arange(1, ITEMS + 1), np.array([b"item"] * ITEMS), features)
    made = Seminar(config, sizes, table, np.arange(ITEMS + 1) > 0, pages)
    made.compute_loss(BATCH)
    for number, weight in enumerate(made.trainable_variables):
        weight.assign(tf.random.stateless_normal(weight.shape, [number, 2]) * 0.4)
    return made


def test_items_fuse_the_projections_of_their_channels():
    tower = make().channels
    assert tower.channels == ("attributes", "image", "text")

    ids = np.array([3, 9])
    unit = IMAGES[ids] / np.linalg.norm(IMAGES[ids], axis=1, keepdims=True)
    bags, table = tower.features.bags, tower.ids.table.numpy()
    channels = [
        table[ids] + bags["categories"].table.numpy()[CATEGORIES[ids, 0]],
        unit @ tower.features.vectors["image_vector"].kernel.numpy(),
        bags["title"].table.numpy()[TITLES[ids]].sum(axis=1) / np.sqrt(2),
    ]
    gate = np.exp(tower.gate.numpy()) / np.exp(tower.gate.numpy()).sum()
    projected = [e @ p.kernel.numpy() for e, p in zip(channels, tower.projections, strict=True)]
    expected = sum(g * e for g, e in zip(gate, projected, strict=True))

    found = tower(tower.look_up(tf.constant(ids, tf.int64)))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    vector = GENERATOR.normal(size=[D]).astype(np.float32)
    folded = tower.search_channels(tf.constant(vector)).numpy()  # [M, d]
    by_channel = sum(e @ f for e, f in zip(channels, folded, strict=True))
    np.testing.assert_allclose(by_channel, expected @ vector, atol=1e-5)


def test_pairs_are_shares_of_query_and_item_and_an_empty_query_is_zeros():
    model = make(query_share=0.3)
    view = model.features(BATCH)
    target, events = model.target(view), model.events(view)

    words, g = model.features.words.table.numpy(), model.query_projection.kernel.numpy()
    query = (words[1] + words[6]) / np.sqrt(2) @ g
    np.testing.assert_allclose(target[1], 0.3 * query + 0.7 * view.candidate[1], atol=1e-5)
    np.testing.assert_allclose(target[3], 0.7 * view.candidate[3], atol=1e-5)  # no query
    tokens = WORDS[0, 0][WORDS[0, 0] > 0]
    query = words[tokens].sum(axis=0) / np.sqrt(max(len(tokens), 1)) @ g
    np.testing.assert_allclose(events[0, 0], 0.3 * query + 0.7 * view.items[0, 0], atol=1e-5)


def test_what_is_compared_has_one_length_and_what_is_read_has_not():
    model = make(query_share=0.3)
    view = model.features(BATCH)
    target = model.target(view, model.compared).numpy()
    events = model.events(view, model.compared).numpy()

    def unit(vectors):
        return vectors / np.sqrt(np.mean(np.square(vectors), axis=-1, keepdims=True))

    query = unit(model.query_projection(view.query).numpy()[:1])
    items, candidates = unit(view.items.numpy()[:1]), unit(view.candidate.numpy())
    np.testing.assert_allclose(target[1], 0.3 * query[0] + 0.7 * candidates[1], atol=1e-4)
    np.testing.assert_allclose(target[3], 0.7 * candidates[3], atol=1e-4)  # no query
    query = unit(model.query_projection(view.event_query).numpy()[0])
    np.testing.assert_allclose(events[0], 0.3 * query + 0.7 * items[0], atol=1e-4)
    np.testing.assert_array_equal(events[2, 0], 0.7 * model.compared(view.items)[2, 0])  # padding

    values = model.events(view)
    about = np.einsum("pld,dh->plh", view.about, model.beside.kernel)
    expected = model.attention(
        *map(tf.constant, (target, events)), view.mask, view.row, values + view.about, about
    )
    np.testing.assert_allclose(model.attend(view), expected, atol=1e-5)
    model = make(normalise=False)
    view = model.features(BATCH)
    for pairs in (model.target, model.events):
        np.testing.assert_array_equal(pairs(view), pairs(view, model.compared))


def test_tables_of_items_are_named_as_those_of_other_rankers():
    names = {weight.name for weight in make().trainable_weights}
    for table in ("categories/table", "title/table", "image_vector/kernel"):
        assert f"features/item_features/{table}:0" in names
    assert {"features/ids/table:0", "features/words/table:0", "query_projection/kernel:0"} <= names


def test_channels_that_the_log_lacks_have_no_weights():
    model = make(
        {"categories": CATEGORIES},
        VocabularySizes(entity=ITEMS + 1, category=4),
        use_query=False,
    )
    names = {weight.name for weight in model.weights}

    assert model.channels.channels == ("attributes",) and not model.has_queries
    assert not [n for n in names if "image" in n or "text" in n or "query_projection" in n]
    view = model.features(BATCH)
    np.testing.assert_array_equal(model.target(view), view.candidate)
    np.testing.assert_array_equal(model.events(view), view.items)


def quantised(**codes):
    model = make(search="quantised", quantisation={"sub_vectors": 4} | codes)
    exact = model.score(BATCH).numpy()
    model.code_catalogue([BATCH])
    return model, exact


def test_codes_of_as_many_centroids_as_items_search_exactly():
    model, exact = quantised(centroids=16)
    np.testing.assert_allclose(model.score(BATCH), exact, atol=1e-4)
    view = model.features(BATCH)
    target, pairs = model.target(view, model.compared), model.events(view, model.compared)
    vectors = model.attention.search_vectors(target)  # [I, H, d]
    scores = model._search_codes(view, vectors).numpy()  # [P, H, C, L]

    vectors = vectors.numpy()
    for index, (page, rank) in enumerate([(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]):
        there = HISTORY[page] > 0
        expected = vectors[index] @ pairs[page].numpy().T
        np.testing.assert_allclose(scores[page, :, rank][:, there], expected[:, there], atol=1e-4)


def test_few_centroids_approximate_and_an_event_without_a_query_has_none():
    model, _ = quantised(centroids=3)
    view = model.features(BATCH)
    target, pairs = model.target(view, model.compared), model.events(view, model.compared)
    found = model.attention.search_vectors(target)
    by_codes = model._search_codes(view, found).numpy()[0].reshape(-1, 5)  # [H C, L]
    vectors = found.numpy()[:3].transpose(1, 0, 2)
    exact = (vectors @ pairs[0].numpy().T).reshape(-1, 5)
    assert np.abs(by_codes - exact).max() > 1e-2
    assert np.corrcoef(by_codes.ravel(), exact.ravel())[0, 1] > 0.7
    codes = model.codes
    nothing = codes.quantiser.encode(tf.zeros([1, D]), modality=3)
    books = codes.quantiser.codebooks.numpy()[3]
    np.testing.assert_array_equal(books[np.arange(4), nothing[0]], 0.0)
    assert codes.codes.dtype == tf.uint8 and codes.codes.shape == (ITEMS + 1, 3, 4)


def test_codebooks_are_kept_until_their_error_has_grown():
    model, _ = quantised(centroids=3, refresh=1.2)
    codes, items = model.codes, model.embed_catalogue()
    items *= inverse_rms(model.channels.fuse(items)).numpy()[:, None]  # as they are compared
    books, fitted = codes.quantiser.codebooks.numpy(), codes.fitted_error.numpy()
    channels = codes.channels
    decoded = codes.quantiser.decode(tf.pad(codes.codes, [[0, 0], [0, 1], [0, 0]]))
    lost = np.sum((items - decoded[:, :channels]).numpy()[1:] ** 2, axis=(0, 2))
    variance = np.var(items[1:], axis=0).sum(axis=1) * ITEMS
    np.testing.assert_allclose(fitted[:channels], lost / variance, rtol=1e-4)
    assert fitted.shape == (channels + 1,) and (fitted > 0).all()

    words = WORDS[(WORDS > 0).any(axis=2)]  # of queries, without the empty one
    queries = model.compared_words(model.features.words(tf.constant(words))).numpy()
    moved = items + 0.02 * GENERATOR.normal(size=items.shape).astype(np.float32)
    kept = codes.refresh(moved, queries, 1, most=1.2)
    np.testing.assert_array_equal(codes.quantiser.codebooks.numpy(), books)
    np.testing.assert_array_equal(codes.fitted_error.numpy(), fitted)
    assert (kept <= 1.2 * fitted).all()

    far = items[::-1] * 3.0
    errors = codes.refresh(far, queries, 1, most=1.2)
    assert np.abs(codes.quantiser.codebooks.numpy() - books).max() > 0.1
    np.testing.assert_array_equal(codes.fitted_error.numpy(), errors)
    encoded = codes.quantiser.encode(tf.constant(far[:, 0]), 0)
    np.testing.assert_array_equal(codes.codes.numpy()[:, 0], encoded)
    assert {weight.name for weight in model.fitted_weights()} == {"codebooks:0", "fitted_error:0"}


def test_a_warm_start_takes_the_codebooks_over(monkeypatch):
    model, _ = quantised(centroids=3)
    weights = {weight.name.partition(":")[0]: weight.numpy() for weight in model.saved_weights()}
    monkeypatch.setattr(warm_start, "read_weights", lambda path: weights)
    monkeypatch.setattr(warm_start, "_vocabulary_of", lambda name: None)  # the same in both
    fresh = make(search="quantised", quantisation={"sub_vectors": 4, "centroids": 3})
    assert not fresh.codes.fitted_error.numpy().any()
    warm_start.warm_start(fresh, None, "served")
    books = model.codes.quantiser.codebooks.numpy()
    np.testing.assert_array_equal(fresh.codes.quantiser.codebooks.numpy(), books)
    fresh.code_catalogue([BATCH])
    np.testing.assert_array_equal(fresh.codes.quantiser.codebooks.numpy(), books)
    np.testing.assert_array_equal(fresh.codes.codes.numpy(), model.codes.codes.numpy())


def test_the_search_by_codes_is_exported_and_training_stays_exact():
    model, _ = quantised(centroids=3)
    traced = tf.function(model.score)(BATCH)
    np.testing.assert_allclose(traced, model.score(BATCH), atol=1e-5)
    saved = {weight.name for weight in model.saved_weights()}
    assert {name for name in saved if "code" in name} == {"codes:0", "codebooks:0"}
    assert "fitted_error:0" in saved
    with tf.GradientTape() as tape:
        loss = model.compute_loss(BATCH, training=True)
    gradients = tape.gradient(loss, model.attention.trainable_variables)
    assert len(gradients) == 4 and all(np.abs(g).max() > 0 for g in gradients)


def test_the_end_of_training_codes_the_catalogue_and_measures_with_the_codes():
    codes = {"sub_vectors": 4, "centroids": 2}
    model = make(search="quantised", quantisation=codes, top_k=2, calibrate=False)
    exact = model.score(BATCH).numpy()
    evaluation = PageEvaluation(model, [BATCH | {b.USER: tf.constant([1, 2, 3], tf.int64)}])
    before = evaluation.evaluate()
    metrics = model.finish(evaluation)

    scores = model.score(BATCH).numpy()[:, 0].astype(np.float64)
    labels = tf.boolean_mask(BATCH[b.LABEL], candidate_mask(BATCH)).numpy()[:, 0]
    log_loss = np.mean(np.logaddexp(0.0, scores) - labels * scores)
    assert metrics["log_loss"] == pytest.approx(log_loss, abs=1e-5)
    assert np.abs(scores - exact[:, 0]).max() > 1e-4
    errors = {name: value for name, value in metrics.items() if "quantisation_error" in name}
    assert {name.partition("/")[2] for name in errors} == {"attributes", "image", "text", "query"}
    assert all(0.0 < error < 1.0 for error in errors.values())
    assert metrics["log_loss"] != pytest.approx(before["log_loss"], abs=1e-6)


def use_cells(model):
    """Codes the catalogue; scores are then of the folded graph."""
    model.code_catalogue([BATCH])
    return model


@pytest.mark.parametrize("search", ["exact", "quantised"])
def test_a_shortlist_of_all_events_changes_nothing(search):
    codes = {"search": search, "quantisation": {"sub_vectors": 4, "centroids": 3}, "use_time": True}
    codes |= {"dropout": 0.0, "candidate": {"id_dropout": 0.0}}  # chance is no difference
    whole = make(**codes)
    coarse = make(**codes, coarse={"cells": 3, "events": 5, "top_k": True})
    if search == "quantised":
        whole.code_catalogue([BATCH])
    use_cells(coarse)
    np.testing.assert_allclose(coarse.score(BATCH), whole.score(BATCH), atol=1e-4)

    gradients = []
    for model in (whole, coarse):
        with tf.GradientTape() as tape:
            loss = model.compute_loss(BATCH, training=True)
        gradients.append(tape.gradient(loss, model.attention.trainable_variables))
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_heads_attend_to_all_of_the_list_unless_each_is_to_find_its_own():
    given = {"candidate": {"id_dropout": 0.0}, "use_time": True}
    every = make(**given, top_k=5)
    for top_k, expected in ((1, every), (5, every)):
        listed = use_cells(make(**given, top_k=top_k, coarse={"cells": 3, "events": 5}))
        np.testing.assert_allclose(listed.score(BATCH), expected.score(BATCH), atol=1e-5)


@pytest.mark.parametrize("recent", [None, 2])
def test_the_folded_graph_scores_as_the_one_that_embeds_every_event(recent):
    given = {"coarse": {"cells": 4, "events": 2, "more_events": 1}, "use_time": True}
    model = use_cells(make(**given, use_repeats=True, recent=recent, top_k=5))
    asked = model.features.items.look_up(
        tf.boolean_mask(BATCH[b.CANDIDATE_ENTITY], candidate_mask(BATCH))
    )
    folded, sent = model.score(BATCH).numpy(), model.score(BATCH, asked).numpy()
    np.testing.assert_allclose(sent, folded, atol=1e-5)  # with the rows of candidates, too

    model.channels.folded = None  # items are embedded from their channels
    view = model.features(BATCH)
    found, mask = model.coarse(
        model.attention.queries(model.target(view, model.compared))
        * (1.0 - model.model.query_share),
        view.row,
        view.events,
        view.mask,
        model.beside(view.about),
    )
    assert found.shape == (3, 4)  # two, and one for each candidate beside the first
    take = partial(tf.gather, indices=found, batch_dims=1)
    parts = {name: take(getattr(view, name)) for name in ("events", "items", "about")}
    few = view._replace(mask=mask, event_query=take(view.event_query), **parts)
    expected = model.judge(view, model.attend(few), model.mean(view))
    np.testing.assert_allclose(folded, expected, atol=1e-5)


def test_the_head_reads_the_mean_of_the_newest_events():
    model = make(recent=2, use_time=True)
    view = model.features(BATCH)
    history, mask = view.history.numpy()[:, :2], view.mask.numpy()[:, :2]
    number = np.maximum(mask.sum(axis=1, keepdims=True), 1.0)
    np.testing.assert_allclose(
        model.mean(view), np.einsum("bt,btd->bd", mask, history) / number, atol=1e-6
    )


def test_a_shortlist_limits_the_search_to_some_cells_in_the_exported_graph_too():
    model = make(coarse={"cells": 4, "events": 2, "more_events": 0}, top_k=5)
    exact = model.score(BATCH).numpy()
    use_cells(model)
    few = model.shortlisted(BATCH, model.features(BATCH))

    assert few[b.HISTORY_ENTITY].shape == few[b.HISTORY_TYPE].shape == (3, 2)
    assert (few[b.HISTORY_ENTITY].numpy() > 0).sum(axis=1).tolist() == [2, 2, 0]
    for column, event in enumerate(few[b.HISTORY_ENTITY][0].numpy()):
        position = list(HISTORY[0]).index(event)
        np.testing.assert_array_equal(few[b.HISTORY_QUERY][0, column], WORDS[0, position])
    scores = model.score(BATCH).numpy()
    assert np.abs(scores[:3] - exact[:3]).max() > 1e-4  # five events
    np.testing.assert_allclose(scores[3:], exact[3:], atol=1e-5)  # two, and none
    np.testing.assert_allclose(tf.function(model.score)(BATCH), scores, atol=1e-5)
    saved = {weight.name.rpartition("/")[2] for weight in model.saved_weights()}
    assert {"cell_of:0", "keys:0", "folded:0"} <= saved


def test_a_configuration_that_does_not_fit_is_refused():
    for wrong, said in (
        ({"quantisation": {"sub_vectors": 3}}, "should divide `dim`"),
        ({"heads": 3}, "received 3 heads and `dim` 8"),
        ({"candidate": {"hidden_units": [4]}}, "Leave it out"),
        ({"candidate": {"image": ["title"]}}, "share no feature"),
        ({"search": "quantised", "coarse": {}}, "Set `coarse.top_k`"),
    ):
        with pytest.raises(ValidationError, match=said):
            make(**wrong)
