"""Every ranking model: its inputs, its loss by hand, padding, position and negatives."""

import numpy as np
import pytest
import tensorflow as tf

import models  # noqa: F401  (chooses Keras 2)
from models.config import RankingTrainerConfig
from models.families import FAMILIES
from models.families import find_family
from models.input import batch as b
from models.input.catalogue import CatalogueTable
from models.input.page_batches import PageSpec
from models.input.vocabulary_sizes import VocabularySizes
from models.layers.target_attention import TargetAttention
from models.popularity.model import log_odds
from models.ranking.model import PageEvaluation
from models.ranking.model import windows_of

ITEMS = 9
TITLES = np.arange(ITEMS + 1, dtype=np.int32)[:, None] % 5
TABLE = CatalogueTable(np.arange(1, ITEMS + 1), np.array([b"item"] * ITEMS), {"title": TITLES})
SIZES = VocabularySizes(
    entity=ITEMS + 1, event_type=4, title_token=5, user_attribute=4, query_token=6
)
RANKERS = [family.name for family in FAMILIES if family.stage == "ranking"]
READ = {
    "use_event_values": True,
    "use_event_query": True,
    "use_time": True,
    "use_time_of_day": True,
    "use_repeats": False,
    "window": 4,
    "dim": 8,
    "max_user_attributes": 2,
    "max_query_tokens": 2,
}


QUERIES = tf.constant([[[1, 2], [0, 0], [3, 0], [0, 0]], [[4, 0]] * 4, [[0, 0]] * 4], tf.int64)


def make(family, label=None, **model):
    label = label or {"events": ["click", "buy"]}
    config = RankingTrainerConfig.model_validate(
        {"model": {"family": family} | READ | model, "label": label}
    )
    tf.keras.utils.set_random_seed(0)
    known = np.arange(ITEMS + 1) > 0
    pages = PageSpec(windows_of(config.model), config.label)
    made = find_family(family).load()(config, SIZES, TABLE, known, pages)
    made.compute_loss(batch(**{b.LABEL: batch()[b.LABEL][:, :, : len(made.heads)]}))
    for weight in made.weights:  # nothing may hide behind zeros
        if weight.dtype.is_floating and "mean_loss" not in weight.name:
            weight.assign(tf.random.stateless_normal(weight.shape, [1, 2]) * 0.3)
    return made


def batch(**more):
    tensors = {
        b.HISTORY_ENTITY: tf.constant([[2, 1, 3, 0], [4, 0, 0, 0], [0, 0, 0, 0]], tf.int64),
        b.HISTORY_TYPE: tf.constant([[1, 2, 1, 0], [3, 0, 0, 0], [0, 0, 0, 0]], tf.int64),
        b.HISTORY_VALUE: tf.constant([[1, 2, 5, 0], [3, 0, 0, 0], [0, 0, 0, 0]], tf.float32),
        b.HISTORY_QUERY: QUERIES,
        b.HISTORY_AGE: tf.constant([[1, 60, 900_000, 0], [7, 0, 0, 0], [0] * 4], tf.int64) * 10**6,
        b.HISTORY_LENGTH: tf.constant([3, 1, 0], tf.int64),
        b.USER_ATTRIBUTES: tf.constant([[1, 2], [3, 0], [0, 0]], tf.int64),
        b.QUERY_TOKENS: tf.constant([[1, 5], [0, 0], [2, 0]], tf.int64),
        b.REQUEST_TIME: tf.constant([0, 3_600_000_000 * 30, 5], tf.int64),
        b.CANDIDATE_ENTITY: tf.constant([[5, 6, 7], [8, 1, 0], [9, 0, 0]], tf.int64),
        b.CANDIDATE_LENGTH: tf.constant([3, 2, 1], tf.int64),
        b.CANDIDATE_POSITION: tf.constant([[0, 1, 2], [0, 1, -1], [0, -1, -1]], tf.int64),
        b.LABEL: tf.constant(
            [[[1, 0], [0, 0], [1, 1]], [[0, 0], [0, 1], [0, 0]], [[1, 0], [0, 0], [0, 0]]],
            tf.float32,
        ),
    }
    return tensors | more


LATER = tf.constant([[0, 0, 0, 1], [0, 1, 1, 1], [1, 1, 1, 1]]) > 0
THERE = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0]], bool)


@pytest.mark.parametrize("family", RANKERS)
def test_loss_is_the_cross_entropy_of_candidates_and_position(family):
    model = make(family)
    loss = model.compute_loss(batch()).numpy()

    position = batch()[b.CANDIDATE_POSITION].numpy()[THERE]
    bias = model.position_bias.embeddings.numpy()[position + 1]  # [I, H]
    y = batch()[b.LABEL].numpy()[THERE]
    units = [model.score(batch()), model.auxiliary_logits(model.features(batch()))]
    scored = [unit.numpy() + bias for unit in units if unit is not None]
    expected = sum(np.mean(np.logaddexp(0, z) - y * z) for z in scored)
    assert loss == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("family", RANKERS)
def test_a_request_is_scored_without_position_and_padding_does_not_matter(family):
    model = make(family)
    p = model.probabilities(batch()).numpy()  # [B, C, H]

    moved = tf.constant([[9, 3, 5], [2, 2, 2], [1, 1, 1]], tf.int64)
    np.testing.assert_array_equal(
        model.probabilities(batch(**{b.CANDIDATE_POSITION: moved})).numpy(), p
    )
    np.testing.assert_array_equal(p[~THERE], 0.0)
    padded = {
        b.HISTORY_TYPE: tf.constant([[1, 2, 1, 3], [3, 2, 2, 2], [1, 1, 1, 1]], tf.int64),
        b.HISTORY_VALUE: tf.constant([[1, 2, 5, 9], [3, 9, 9, 9], [9, 9, 9, 9]], tf.float32),
        b.HISTORY_ENTITY: tf.constant([[2, 1, 3, 9], [4, 9, 9, 9], [9, 9, 9, 9]], tf.int64),
        b.HISTORY_QUERY: tf.where(LATER[:, :, None], tf.constant(5, tf.int64), QUERIES),
        b.CANDIDATE_ENTITY: tf.constant([[5, 6, 7], [8, 1, 4], [9, 2, 2]], tf.int64),
    }
    np.testing.assert_allclose(model.probabilities(batch(**padded)).numpy(), p, atol=1e-6)
    one = {name: values[:1] for name, values in batch().items()}
    np.testing.assert_allclose(model.probabilities(one).numpy(), p[:1], atol=1e-6)


CHANGES = {
    "history": {b.HISTORY_ENTITY: tf.constant([[2, 1, 6, 0], [4, 0, 0, 0], [0] * 4], tf.int64)},
    "length": {b.HISTORY_LENGTH: tf.constant([2, 1, 0], tf.int64)},
    "type": {b.HISTORY_TYPE: tf.constant([[3, 2, 1, 0], [3, 0, 0, 0], [0] * 4], tf.int64)},
    "value": {b.HISTORY_VALUE: tf.constant([[4, 2, 5, 0], [3, 0, 0, 0], [0] * 4], tf.float32)},
    "event query": {b.HISTORY_QUERY: tf.where(QUERIES == 3, tf.constant(4, tf.int64), QUERIES)},
    "age": {
        b.HISTORY_AGE: tf.constant([[1, 6_000_000, 900_000, 0], [7, 0, 0, 0], [0] * 4], tf.int64)
        * 10**6
    },
    "attributes": {b.USER_ATTRIBUTES: tf.constant([[1, 3], [3, 0], [0, 0]], tf.int64)},
    "query": {b.QUERY_TOKENS: tf.constant([[1, 4], [0, 0], [2, 0]], tf.int64)},
    "time": {b.REQUEST_TIME: tf.constant([3_600_000_000, 1, 1], tf.int64)},
    "candidate": {b.CANDIDATE_ENTITY: tf.constant([[2, 6, 7], [8, 1, 0], [9, 0, 0]], tf.int64)},
}
WITHOUT_HISTORY = {"popularity", "logistic_regression"}
OF_HISTORY = {"history", "length", "type", "value", "age", "event query"}


@pytest.mark.parametrize("family", RANKERS)
def test_changing_an_input_changes_the_scores(family):
    model = make(family)
    before = model.score(batch()).numpy()[0]
    for name, change in CHANGES.items():
        reads = name == "candidate" or (
            family != "popularity" and not (family in WITHOUT_HISTORY and name in OF_HISTORY)
        )
        differs = np.abs(model.score(batch(**change)).numpy()[0] - before).max() > 1e-6
        assert differs == reads, name


@pytest.mark.parametrize("family", RANKERS)
def test_every_weight_learns_but_those_that_are_fixed(family):
    model = make(family)
    with tf.GradientTape() as tape:
        loss = model.compute_loss(batch(), training=True)
    gradients = tape.gradient(loss, model.trainable_variables)

    fixed = {
        weight.name.partition(":")[0]
        for weight, gradient in zip(model.trainable_variables, gradients, strict=True)
        if gradient is None or not np.any(tf.convert_to_tensor(gradient))
    }
    features = {w.name.partition(":")[0] for w in model.features.trainable_variables}
    of_history = {f"features/{name}/embeddings" for name in ("types", "values", "ages")}
    assert of_history < features
    expected = {"popularity": features, "logistic_regression": of_history}
    assert fixed == expected.get(family, set())


def repeats_of(model, given):
    """The part of the context that is about the candidate's own events, [I, d]."""
    return model.features(given).context.numpy()[:, -model.model.dim :]


@pytest.mark.parametrize("family", sorted({*RANKERS} - {"popularity"}))
def test_a_candidate_that_the_history_has_is_told(family):
    model = make(family, use_repeats=True)
    shown = {b.CANDIDATE_ENTITY: tf.constant([[2, 6, 7], [8, 1, 0], [9, 0, 0]], tf.int64)}
    with tf.GradientTape() as tape:
        loss = model.compute_loss(batch(**shown), training=True)
    weights = model.features.repeats.trainable_variables
    for gradient in tape.gradient(loss, weights):
        assert np.any(tf.convert_to_tensor(gradient))

    before = repeats_of(model, batch(**shown))
    assert np.flatnonzero(before.any(axis=1)).tolist() == [0]
    twice = tf.constant([[2, 1, 2, 0], [4, 0, 0, 0], [0] * 4], tf.int64)
    after = repeats_of(model, batch(**shown, **{b.HISTORY_ENTITY: twice}))
    assert np.flatnonzero((after != before).any(axis=1)).tolist() == [0]
    older = {b.HISTORY_AGE: tf.constant([[10**9, 60, 900, 0], [7, 0, 0, 0], [0] * 4], tf.int64)}
    assert (repeats_of(model, batch(**shown, **older)) != before).any()


@pytest.mark.parametrize("family", RANKERS)
def test_weights_are_made_within_a_strategy(family):
    config = RankingTrainerConfig.model_validate({"model": {"family": family} | READ})
    given = (config, SIZES, TABLE, np.arange(ITEMS + 1) > 0)
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = find_family(family).load()(*given, PageSpec(windows_of(config.model), config.label))
        before = len(model.weights)
        PageEvaluation(model, [batch(**{b.LABEL: batch()[b.LABEL][:, :, :1]})]).run_one()
    assert len(model.weights) > before and model.mean_loss.count.numpy() == 0.0


def test_negatives_that_training_leaves_out_count_in_those_that_it_keeps():
    model = make("popularity", negative_rate=0.25, position_bias=False)
    model.rates.assign(tf.zeros_like(model.rates))
    model.slope.assign([1.0, 1.0])
    model.offset.assign([0.0, 0.0])
    # Ten candidates: one clicked, one clicked and bought, and eight of which a quarter is kept.
    rates = np.array([0.2, 0.1])
    model.constant.assign(np.log(rates / (1 - rates)))
    page = {
        b.CANDIDATE_ENTITY: tf.constant([[1, 2], [3, 4], [0, 0]], tf.int64),
        b.CANDIDATE_LENGTH: tf.constant([2, 2, 0], tf.int64),
        b.LABEL: tf.constant([[[1, 0], [0, 0]], [[1, 1], [0, 0]], [[0, 0]] * 2], tf.float32),
    }
    with tf.GradientTape() as tape:
        loss = model.compute_loss(batch(**page), training=True)

    entropy = -rates * np.log(rates) - (1 - rates) * np.log(1 - rates)
    assert loss.numpy() == pytest.approx(entropy.mean(), abs=1e-6)
    np.testing.assert_allclose(tape.gradient(loss, model.constant), 0.0, atol=1e-6)
    p = model.probabilities(batch(**page)).numpy()
    np.testing.assert_allclose(p[:2], np.broadcast_to(rates, [2, 2, 2]), atol=1e-6)


def test_probabilities_are_calibrated():
    model = make("din")
    slope, offset = np.array([0.5, 2.0]), np.array([-1.0, 0.25])
    model.slope.assign(slope)
    model.offset.assign(offset)

    z = model.score(batch()).numpy()
    p = model.probabilities(batch()).numpy()
    np.testing.assert_allclose(p[THERE], tf.sigmoid(slope * z + offset), atol=1e-6)


@pytest.mark.parametrize("source", ["values", "events"])
def test_rows_that_are_no_impressions_have_no_position_and_all_are_kept(source):
    assert make("popularity", {"source": source}).position_bias is None
    with pytest.raises(ValueError, match=f"should be 1 with `label.source: {source}`; .* 0.5"):
        make("popularity", {"source": source}, negative_rate=0.5)


def test_features_that_are_sent_stand_for_the_catalogue():
    model = make("din")
    ids = tf.boolean_mask(batch()[b.CANDIDATE_ENTITY], THERE)
    same = model.features.items.look_up(ids)
    np.testing.assert_allclose(model.score(batch(), same), model.score(batch()), atol=1e-6)

    new = same | {"title": (same["title"] + 1) % 5}
    assert np.abs(model.score(batch(), new) - model.score(batch())).max() > 1e-4


def test_target_attention_equals_numpy():
    layer = TargetAttention((5, 3))
    generator = np.random.default_rng(0)
    candidate, history = generator.normal(size=[3, 4]), generator.normal(size=[2, 6, 4])
    mask = np.array([[1, 1, 0, 1, 0, 0], [0] * 6], float)
    row = np.array([0, 0, 1])
    given = [tf.constant(x, tf.float32) for x in (candidate, history, mask)]
    out = layer(*given, tf.constant(row, tf.int64)).numpy()

    weights = {w.name.split(":")[0]: w.numpy() for w in layer.weights}
    kernel = {k.split("/", 1)[-1]: v for k, v in weights.items()}
    expected = np.zeros([3, 4])
    for i, page in enumerate(row):
        odds = np.zeros(6)
        for t in range(6):
            h, c = history[page, t], candidate[i]
            x = h @ kernel["of_history/kernel"] + c @ kernel["of_candidate/kernel"]
            x = x + kernel["of_candidate/bias"] + (h * c) @ kernel["of_product/kernel"]
            x = np.maximum(x, 0)
            x = np.maximum(x @ kernel["hidden_1/kernel"] + kernel["hidden_1/bias"], 0)
            odds[t] = np.exp((x @ kernel["weigh/kernel"])[0]) * mask[page, t]
        expected[i] = odds @ history[page] / max(odds.sum(), 1e-9)
    np.testing.assert_allclose(out, expected, atol=1e-5)


@pytest.mark.parametrize("parts", [1, 3, 8])
def test_target_attention_in_parts_is_the_same_and_has_the_same_gradients(parts):
    layer = TargetAttention((5, 3), parts)
    generator = np.random.default_rng(0)
    row = tf.constant([3, 0, 0, 4, 1, 3, 0], tf.int64)  # page 2 has no candidate, 1 no event
    candidate = tf.Variable(generator.normal(size=[7, 4]).astype(np.float32))
    history = tf.Variable(generator.normal(size=[5, 6, 4]).astype(np.float32))
    mask = tf.constant([[1, 1, 1, 1, 1, 1], [0] * 6, [1] * 6, [0, 1, 0, 0, 0, 0], [1] + [0] * 5])

    def run(training):
        with tf.GradientTape() as tape:
            out = layer(candidate, history, tf.cast(mask, tf.float32), row, training=training)
            loss = tf.reduce_sum(out**2)
        weights = [candidate, history, *layer.trainable_variables]
        return [out, *(tf.convert_to_tensor(g) for g in tape.gradient(loss, weights))]

    for whole, in_parts in zip(run(False), run(True), strict=True):
        np.testing.assert_allclose(in_parts, whole, atol=1e-5)


@pytest.mark.parametrize("pairs", [1, 13, 1000])
def test_target_attention_by_slices_is_the_same(pairs):
    layer = TargetAttention((5, 3), pairs=pairs)
    generator = np.random.default_rng(0)
    row = tf.constant([0, 0, 0, 1, 3], tf.int64)  # page 2 has no candidate
    candidate, history = generator.normal(size=[5, 4]), generator.normal(size=[4, 6, 4])
    mask = (generator.random([4, 6]) < 0.7).astype(np.float32)
    given = [tf.constant(x, tf.float32) for x in (candidate, history, mask)]

    whole = layer(*given, row, training=True).numpy()
    by_slices = tf.function(layer)
    np.testing.assert_allclose(by_slices(*given, row), whole, atol=1e-5)
    nothing = by_slices(given[0][:0], *given[1:], row[:0])
    assert nothing.shape == (0, 4)


def test_click_rates_are_smoothed_towards_the_mean():
    counts = np.array([[0, 0], [100, 50], [1, 1], [99, 0]])
    odds = log_odds(counts, prior=20.0)[:, 0]

    mean = 52 / 202
    expected = [(p + 20 * mean) / (n + 20) for n, p in counts]
    np.testing.assert_allclose(1 / (1 + np.exp(-odds)), expected, rtol=1e-5)
