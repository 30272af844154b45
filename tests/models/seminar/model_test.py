"""SEMINAR: pairs and channels by hand, and the search by codes against the exact one."""

from functools import partial

import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from models.input import batch as b
from models.input.page_batches import candidate_mask
from models.input.vocabulary_sizes import VocabularySizes
from models.layers.rms_norm import inverse_rms
from models.ranking.model import PageEvaluation
from models.seminar import model as seminar
from models.training import warm_start
from tests.models.seminar.small_model import BATCH
from tests.models.seminar.small_model import CATEGORIES
from tests.models.seminar.small_model import GENERATOR
from tests.models.seminar.small_model import HISTORY
from tests.models.seminar.small_model import IMAGES
from tests.models.seminar.small_model import ITEMS
from tests.models.seminar.small_model import TITLES
from tests.models.seminar.small_model import WORDS
from tests.models.seminar.small_model import D
from tests.models.seminar.small_model import build
from tests.models.seminar.small_model import compared_pairs
from tests.models.seminar.small_model import make


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
    target, events = model.pair(*model.target_parts(view)), model.pair(*model.event_parts(view))

    words, g = model.features.words.table.numpy(), model.query_projection.kernel.numpy()
    query = (words[1] + words[6]) / np.sqrt(2) @ g
    np.testing.assert_allclose(target[1], 0.3 * query + 0.7 * view.candidate[1], atol=1e-5)
    np.testing.assert_allclose(target[3], 0.7 * view.candidate[3], atol=1e-5)  # no query
    tokens = WORDS[0, 0][WORDS[0, 0] > 0]
    query = words[tokens].sum(axis=0) / np.sqrt(max(len(tokens), 1)) @ g
    np.testing.assert_allclose(events[0, 0], 0.3 * query + 0.7 * view.items[0, 0], atol=1e-5)


def test_items_and_queries_are_each_scaled_for_itself_where_they_are_compared():
    model = make(query_share=0.3)
    view = model.features(BATCH)
    target, events = (pairs.numpy() for pairs in compared_pairs(model, view))

    def unit(vectors):  # but for zeros
        square = np.mean(np.square(vectors), axis=-1, keepdims=True)
        return vectors / np.sqrt(np.where(square > 0, square, 1.0))

    query, there = unit(model.query_projection(view.query).numpy()[:1]), HISTORY > 0
    items, candidates = unit(view.items.numpy()), unit(view.candidate.numpy())
    np.testing.assert_allclose(target[1], 0.3 * query[0] + 0.7 * candidates[1], atol=1e-4)
    np.testing.assert_allclose(target[3], 0.7 * candidates[3], atol=1e-4)  # no query
    expected = 0.3 * unit(model.query_projection(view.event_query).numpy()) + 0.7 * items
    np.testing.assert_allclose(events[there], expected[there], atol=1e-4)
    assert WORDS[1, :2].any(axis=1).tolist() == [False, True]
    np.testing.assert_allclose(events[1, 0], 0.7 * items[1, 0], atol=1e-4)  # no query
    compared = model.compared(view.items).numpy()
    np.testing.assert_allclose(np.mean(compared[there] ** 2, axis=1), 1.0, rtol=1e-4)
    np.testing.assert_array_equal(events[2, 0], 0.7 * model.compared(view.items)[2, 0])  # padding

    values = model.pair(*model.event_parts(view))
    about = np.einsum("pld,dh->plh", view.about, model.beside.kernel)
    expected = model.attention(
        *map(tf.constant, (target, events)), view.mask, view.row, values + view.about, about
    )
    np.testing.assert_allclose(model.attend(view), expected, atol=1e-5)
    model = make(normalise=False)
    view = model.features(BATCH)
    for parts in (model.target_parts(view), model.event_parts(view)):
        np.testing.assert_array_equal(model.pair(*parts), model.pair(*parts, model.compared))


@pytest.mark.parametrize("start", [build, make])
@pytest.mark.parametrize("empty", [(), (b.QUERY_TOKENS, b.HISTORY_QUERY), (b.HISTORY_ENTITY,)])
def test_empty_queries_and_histories_have_finite_gradients(start, empty):
    model = start(use_time=True)
    batch = BATCH | {name: tf.zeros_like(BATCH[name]) for name in empty}
    with tf.GradientTape() as tape:
        loss = model.compute_loss(batch, training=True)
    gradients = tape.gradient(loss, model.trainable_variables)
    assert np.isfinite(loss)
    for weight, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert np.isfinite(tf.convert_to_tensor(gradient)).all(), weight.name


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
    np.testing.assert_array_equal(model.pair(*model.target_parts(view)), view.candidate)
    np.testing.assert_array_equal(model.pair(*model.event_parts(view)), view.items)


def quantised(**codes):
    model = make(search="quantised", quantisation={"sub_vectors": 4} | codes)
    exact = model.score(BATCH).numpy()
    model.code_catalogue([BATCH])
    return model, exact


def test_codes_of_as_many_centroids_as_items_search_exactly():
    model, exact = quantised(centroids=16)
    np.testing.assert_allclose(model.score(BATCH), exact, atol=1e-4)
    view = model.features(BATCH)
    target, pairs = compared_pairs(model, view)
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
    target, pairs = compared_pairs(model, view)
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


def start_from(model, fresh, monkeypatch):
    """Warm starts a model of the same vocabularies: how many weights were taken and left."""
    weights = {weight.name.partition(":")[0]: weight.numpy() for weight in model.saved_weights()}
    monkeypatch.setattr(warm_start, "read_weights", lambda path: weights)
    monkeypatch.setattr(warm_start, "_vocabulary_of", lambda name: None)
    return warm_start.warm_start(fresh, None, "served")


def test_a_warm_start_takes_the_codebooks_over(monkeypatch):
    model, _ = quantised(centroids=3)
    fresh = make(search="quantised", quantisation={"sub_vectors": 4, "centroids": 3})
    assert not fresh.codes.fitted_error.numpy().any()
    start_from(model, fresh, monkeypatch)
    books = model.codes.quantiser.codebooks.numpy()
    np.testing.assert_array_equal(fresh.codes.quantiser.codebooks.numpy(), books)
    fresh.code_catalogue([BATCH])
    np.testing.assert_array_equal(fresh.codes.quantiser.codebooks.numpy(), books)
    np.testing.assert_array_equal(fresh.codes.codes.numpy(), model.codes.codes.numpy())


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("after", [True, False])
def test_a_warm_start_across_normalise_leaves_the_attention_as_it_was(before, after, monkeypatch):
    model, fresh = make(normalise=before), build(normalise=after)
    own = [weight.numpy() for weight in fresh.attention.weights]
    taken = start_from(model, fresh, monkeypatch)
    expected = model.attention.get_weights() if before == after else own
    for weight, kept in zip(fresh.attention.weights, expected, strict=True):
        np.testing.assert_array_equal(weight, kept)
    assert taken["left"] == (0 if before == after else len(own))
    np.testing.assert_array_equal(fresh.query_projection.kernel, model.query_projection.kernel)


def sample_queries(pages, seed, size=2):
    parts = np.split(pages, range(size, len(pages), size))
    return seminar._sample_queries([{b.HISTORY_QUERY: tf.constant(part)} for part in parts], seed)


def test_every_query_is_as_likely_to_be_sampled_whatever_its_batch(monkeypatch):
    monkeypatch.setattr(seminar, "_QUERIES", 3)
    pages, number = np.zeros([5, 3, 2], np.int64), np.zeros(8)
    pages[[0, 0, 0, 1, 3, 3, 4, 4], [0, 1, 2, 1, 0, 2, 1, 2]] = np.arange(16).reshape(8, 2)
    queries = pages[pages.any(axis=2)].tolist()
    for seed in range(200):
        found = sample_queries(pages, seed)
        places = [queries.index(words) for words in found.tolist()]
        assert len(set(places)) == len(places) == 3
        number[places] += 1
    np.testing.assert_allclose(number, 200 * 3 / 8, atol=20.5)  # three deviations
    for size in (1, 2, 5):  # the seed alone decides
        np.testing.assert_array_equal(sample_queries(pages, 199, size), found)


def test_few_queries_are_all_sampled_and_the_empty_one_is_none(monkeypatch):
    pages = np.array([[[1, 2], [0, 0], [1, 2]], [[0, 0]] * 3, [[0, 0], [5, 0], [0, 0]]])
    for most in (3, 4):
        monkeypatch.setattr(seminar, "_QUERIES", most)
        found = sample_queries(pages, 0)
        assert sorted(found.tolist()) == [[1, 2], [1, 2], [5, 0]]
    nothing = sample_queries(np.zeros_like(pages), 0)
    assert nothing.shape == (0, 2) and nothing.dtype == np.int64


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
        model.attention.queries(compared_pairs(model, view)[0]) * (1.0 - model.model.query_share),
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
