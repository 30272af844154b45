import numpy as np
import pytest
import tensorflow as tf

from models.fixed_values import retrieval_trainer
from models.input import batch as b
from models.input.catalogue import CatalogueTable
from models.input.sequence_batches import SequenceSpec
from models.input.sequence_batches import cut_sequences
from models.input.sequence_batches import sequence_batch
from models.input.target_rule import TargetRule
from models.input.vocabulary_sizes import VocabularySizes
from models.input.windows import WindowSpec
from models.input.windows import cut_last_windows
from models.layers.mixture import Mixture
from models.sequence.model import SequenceModel
from models.sequence.model import sequences_of_windows
from tests.models.conftest import loss_section
from transforms import features as f

COUNTS = np.array([0, 5, 3, 2, 1, 4, 0])  # entity 6 is no training target
TITLES = np.array([[0, 0], [1, 0], [2, 0], [3, 1], [4, 0], [5, 0], [6, 2]], np.int32)
TABLE = CatalogueTable(np.arange(1, 7), np.array([b"item"] * 6), {"title": TITLES})
# The start comes first; the last row is no user's first window, so its start has no query.
ENTITY = np.array([[0, 2, 1, 4, 3], [0, 4, 5, 0, 0], [0, 1, 3, 2, 0]])
TARGET = np.array([[2, 1, 4, 3, 0], [4, 5, 1, 0, 0], [0, 3, 2, 5, 0]])
TYPE = np.array([[0, 1, 2, 3, 1], [0, 2, 1, 0, 0], [0, 3, 2, 1, 0]])
# Seconds before the last request, of the events and of the requests that follow them.
AGE = np.array(
    [[90_000, 90_000, 89_995, 89_600, 81_000], [99, 99, 60, 0, 0], [400, 400, 399, 5, 0]]
)
REQUEST_AGE = np.array(
    [[90_000, 89_995, 89_600, 81_000, 0], [99, 60, 0, 0, 0], [400, 399, 5, 0, 0]]
)
AGE, REQUEST_AGE = AGE * 1_000_000, REQUEST_AGE * 1_000_000
LENGTH = np.array([5, 3, 4])


def make(task=None, seen_types=(), encoder=None, **sequence):
    config = retrieval_trainer(
        {
            "model": {
                "family": "sequence",
                "dim": 8,
                "input": {"length": 4},
                "encoder": encoder or {},
                "loss": loss_section(**({"loss": "full", "negatives": 6} | (task or {}))),
            }
            | sequence
        }
    )
    tf.keras.utils.set_random_seed(0)
    sizes = VocabularySizes(entity=7, event_type=4, title_token=9, user_attribute=4)
    model = SequenceModel(config, sizes, TABLE, COUNTS, seen_types)
    model.embed_queries(windows(np.array([[1, 2]]), [2]))
    model.embed_items(tf.constant([1], tf.int64))
    for weight in model.weights:  # biases start at 0; nothing may hide behind that
        if weight.dtype.is_floating and weight.shape.rank:
            weight.assign(tf.random.stateless_normal(weight.shape, [1, 2]) * 0.3)
    return model


def batch(entity=ENTITY, target=TARGET, **more):
    return {
        b.SEQUENCE_ENTITY: tf.constant(entity, tf.int64),
        b.SEQUENCE_TYPE: tf.constant(np.where(entity > 0, TYPE[: len(entity)], 0), tf.int64),
        b.SEQUENCE_LENGTH: tf.constant(LENGTH[: len(entity)], tf.int64),
        b.SEQUENCE_AGE: tf.constant(AGE[: len(entity)], tf.int64),
        b.SEQUENCE_REQUEST_AGE: tf.constant(REQUEST_AGE[: len(entity)], tf.int64),
        b.SEQUENCE_MASKED: tf.zeros(entity.shape, tf.bool),
        b.SEQUENCE_QUERY: tf.constant(target > 0),
        b.SEQUENCE_TARGET: tf.constant(target, tf.int64),
        b.USER_ATTRIBUTES: tf.constant([[1, 3, 0]] * len(entity), tf.int64),
    } | more


def windows(entity, lengths, types=None, ages=None):
    """Windows, newest first."""
    types = entity > 0 if types is None else types
    return {
        b.HISTORY_ENTITY: tf.constant(entity, tf.int64),
        b.HISTORY_TYPE: tf.cast(types, tf.int64),
        b.HISTORY_AGE: tf.constant(np.zeros(entity.shape) if ages is None else ages, tf.int64),
        b.HISTORY_LENGTH: tf.constant(lengths, tf.int64),
        b.USER_ATTRIBUTES: tf.constant([[1, 3, 0]] * len(entity), tf.int64),
    }


def prefixes():
    """The window before each target of the batch, newest first, and the target."""
    rows, types, ages = [], [], []
    places = np.argwhere(TARGET)
    for row, place in places:
        back = slice(place, 0, -1)  # to the start, which is no event
        for values, cut in (
            (rows, ENTITY[row, back]),
            (types, TYPE[row, back]),
            (ages, AGE[row, back] - REQUEST_AGE[row, place]),
        ):
            values.append(np.pad(cut, (0, 4 - cut.size)))
    entity = np.array(rows, int)
    made = windows(entity, (entity > 0).sum(axis=1), np.array(types), np.array(ages))
    return made, TARGET[tuple(places.T)]


def scores_of(model, given):
    """The scores of items 1 to 5 for windows."""
    items = model.embed_items(tf.range(1, 6, dtype=tf.int64)).numpy()
    queries = model.embed_queries(given)
    if isinstance(queries, Mixture):
        products = queries.vectors.numpy() @ items.T  # [B, K, 5]
        return np.log((np.exp(queries.log_weight)[:, :, None] * np.exp(products)).sum(axis=1))
    return queries.numpy() @ items.T


def seen_before(given, types):
    """For each window the items in it, of these types or of all."""
    pairs = zip(given[b.HISTORY_ENTITY].numpy(), given[b.HISTORY_TYPE].numpy(), strict=True)
    return [set(entity[np.isin(kind, types or (1, 2, 3))]) for entity, kind in pairs]


@pytest.mark.parametrize(
    "encoder",
    [
        {},
        {"positions": "rotary"},
        {"positions": "absolute"},
        {"positions": "none", "use_time": True},
        {"use_user_attributes": True},
        {"block": "hstu"},
        {"block": "gru", "blocks": 1},
    ],
    ids=str,
)
def test_the_loss_of_a_sequence_is_that_of_its_prefixes(encoder):
    """Learning all places at once is learning each from the window before it."""
    model = make(encoder=encoder)
    loss = model.compute_loss(batch()).numpy()

    given, aims = prefixes()
    scores = scores_of(model, given)
    softmax = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    expected = -np.log(softmax[np.arange(aims.size), aims - 1]).mean()
    assert loss == pytest.approx(expected, abs=1e-4)


def test_one_interest_is_no_mixture():
    plain, one = make(), make(interests=1)
    given, _ = prefixes()

    assert [weight.name for weight in plain.weights] == [weight.name for weight in one.weights]
    np.testing.assert_array_equal(plain.embed_queries(given), one.embed_queries(given))


@pytest.mark.parametrize("task", [{}, {"label_smoothing": 0.1}], ids=["in parts", "at once"])
def test_the_loss_of_a_mixture_is_that_of_its_scores(task):
    model = make(task, interests=3, normalize=True, temperature=0.3)
    loss = model.compute_loss(batch()).numpy()

    given, aims = prefixes()
    scores = scores_of(model, given)
    log_share = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    own, smoothed = log_share[np.arange(aims.size), aims - 1], task.get("label_smoothing", 0.0)
    expected = -(1 - smoothed) * own - smoothed * log_share.mean(axis=1)
    assert loss == pytest.approx(expected.mean(), abs=1e-4)


@pytest.mark.parametrize("seen_types", [None, (2,)])
@pytest.mark.parametrize("interests", [1, 2])
def test_seen_items_are_no_negatives(seen_types, interests):
    model = make(seen_types=seen_types, interests=interests)
    loss = model.compute_loss(batch()).numpy()

    given, aims = prefixes()
    scores = scores_of(model, given)
    for row, (seen, aim) in enumerate(zip(seen_before(given, seen_types), aims, strict=True)):
        scores[row, [item - 1 for item in seen - {aim, 0}]] = -np.inf
    softmax = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert loss == pytest.approx(-np.log(softmax[np.arange(aims.size), aims - 1]).mean(), abs=1e-4)


@pytest.mark.parametrize("seen_types", [(), None, (2,)])
@pytest.mark.parametrize("in_batch", [False, True])
def test_seen_items_are_no_sampled_negatives(in_batch, seen_types):
    """Every negative counts as often as it was drawn, the target once."""
    model = make({"loss": "sampled", "correct_sampling": False, "in_batch": in_batch}, seen_types)
    loss = model.compute_loss(batch()).numpy()

    given, aims = prefixes()
    ids = model.task.candidate_ids(tf.constant(aims), model.step)
    negatives = ids.numpy()[aims.size :]  # the targets come first
    assert negatives.size == 6 + in_batch * aims.size
    counts = np.repeat(np.bincount(negatives, minlength=6)[None, 1:], aims.size, axis=0)
    for row, (seen, aim) in enumerate(zip(seen_before(given, seen_types), aims, strict=True)):
        if seen_types != ():
            counts[row, [item - 1 for item in seen - {0}]] = 0
        counts[row, aim - 1] = 1
    scores = scores_of(model, given)
    own = scores[np.arange(aims.size), aims - 1]
    expected = (np.log((np.exp(scores) * counts).sum(axis=1)) - own).mean()
    assert loss == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("loss", ["full", "sampled"])
def test_events_that_are_no_candidates_take_no_candidate_away(loss):
    """Entity 6 is never a target, and of entity 2 nothing was drawn."""
    model = make({"loss": loss, "correct_sampling": False, "in_batch": False}, None)
    if loss == "sampled":
        model.task.sampler.sample = lambda number, seed: tf.constant([1, 5, 5], tf.int64)
    one = batch(np.array([[0, 2, 6, 0, 0]]), np.array([[0, 1, 4, 0, 0]]))
    given = windows(np.array([[2, 0], [6, 2]]), [1, 2], np.array([[1, 0], [2, 1]]))

    counts = np.array([[1, 0, 0, 0, 2], [1, 0, 0, 1, 2]])
    if loss == "full":
        counts = np.array([[1, 0, 1, 1, 1]] * 2)  # all that are trained, but entity 2, seen
    scores = scores_of(model, given)
    own = scores[[0, 1], [0, 3]]
    expected = (np.log((np.exp(scores) * counts).sum(axis=1)) - own).mean()
    assert model.compute_loss(one).numpy() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    "loss, objective, seen_types, interests",
    [
        ("full", "next", None, 1),
        ("sampled", "next", (), 1),
        ("sampled", "next", (), 2),
        ("gbce", "masked", None, 1),
        ("gbce", "next", None, 2),
        ("full", "masked", (), 1),
    ],
)
def test_every_objective_learns(loss, objective, seen_types, interests):
    model = make(
        {"loss": loss}, seen_types, {"dropout": 0.0}, objective=objective, normalize=True,
        temperature=0.1, candidate={"id_dropout": 0.0}, interests=interests,
    )  # fmt: skip
    inputs = batch()
    if objective == "masked":
        masked = np.array([[0, 0, 1, 0, 1], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0]], bool)
        start = np.array([[2, 0, 0, 0, 0], [4, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
        inputs = batch(
            np.where(masked, 0, ENTITY),
            np.where(masked, ENTITY, start),
            **{b.SEQUENCE_MASKED: tf.constant(masked)},
        )
    model.compile(optimizer=tf.keras.optimizers.Adam(0.01))
    losses = [float(model.train_step(inputs)["loss"]) for _ in range(30)]

    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


@pytest.mark.parametrize("objective", ["next", "masked"])
def test_the_start_learns_what_is_asked_without_a_history(objective):
    model = make(objective=objective)
    one = batch(np.array([[0, 2, 1, 4, 0]]), np.array([[2, 0, 0, 0, 0]]))  # its query alone

    scores = scores_of(model, windows(np.array([[0, 0]]), [0]))[0]
    expected = np.log(np.exp(scores).sum()) - scores[1]
    one[b.USER_ATTRIBUTES] = tf.zeros([1, 3], tf.int64)
    assert model.compute_loss(one).numpy() == pytest.approx(expected, abs=1e-4)


def test_negatives_are_drawn_anew_in_every_step_and_equally_for_a_step():
    model = make({"loss": "sampled", "negatives": 50, "in_batch": False})
    model.compile(optimizer=tf.keras.optimizers.Adam(0.01))
    drawn = []
    for step in (0, 0, 1):
        model.optimizer.iterations.assign(step)
        ids = model.task.candidate_ids(tf.constant([1], tf.int64), model.step)
        drawn.append(ids.numpy().tolist())

    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("in_batch", [False, True])
def test_gbce_takes_no_negatives_from_the_batch(in_batch):
    """Its calibration counts on negatives that are drawn evenly."""
    model = make({"loss": "gbce", "in_batch": in_batch, "calibration": 0.5})
    drawn = np.array([1, 1, 3])
    model.task.sampler.sample = lambda number, seed: tf.constant(drawn)
    loss = model.compute_loss(batch()).numpy()

    given, aims = prefixes()
    scores = scores_of(model, given) - np.log(4)  # of five items, four are others
    beta = 1 - 0.5 * (1 - 3 / 4)
    expected = []
    for row, aim in zip(scores, aims, strict=True):
        wrong = sum(np.log1p(np.exp(row[item - 1])) for item in drawn if item != aim)
        expected.append((beta * np.log1p(np.exp(-row[aim - 1])) + wrong) / 4)
    assert loss == pytest.approx(np.mean(expected), abs=1e-4)


def test_a_hidden_event_is_read_as_the_hidden_vector_and_both_sides_are_seen():
    model = make(objective="masked")
    masked = tf.constant([[False, False, True, False, False]])
    aim = np.array([[0, 0, 1, 0, 0]])
    one = batch(np.array([[0, 2, 0, 4, 3]]), aim, **{b.SEQUENCE_MASKED: masked})

    def loss(**more):
        return float(model.compute_loss(one | more))

    later = {b.SEQUENCE_ENTITY: tf.constant([[0, 2, 0, 4, 5]], tf.int64)}
    hidden = {b.SEQUENCE_ENTITY: tf.constant([[0, 2, 1, 4, 3]], tf.int64)}
    assert loss() != loss(**later)  # it looks ahead
    assert loss() == pytest.approx(loss(**hidden), abs=1e-6)  # but not at what is hidden


def test_sequences_are_as_long_as_the_longest_and_the_newest_event_comes_last():
    sequence = sequences_of_windows(windows(np.array([[3, 2, 1, 0], [5, 0, 0, 0]]), [3, 1]))

    assert sequence[b.SEQUENCE_ENTITY].numpy().tolist() == [[0, 1, 2, 3], [0, 5, 0, 0]]
    query = sequence[b.SEQUENCE_QUERY].numpy()
    assert np.argwhere(query).tolist() == [[0, 3], [1, 1]]


def test_ages_of_windows_become_those_of_sequences():
    given = windows(np.array([[3, 2, 0]]), [2], ages=[[5, 60, 0]])
    sequence = sequences_of_windows(given)

    assert sequence[b.SEQUENCE_AGE].numpy().tolist() == [[60, 60, 5]]
    assert sequence[b.SEQUENCE_REQUEST_AGE].numpy().tolist() == [[60, 5, 0]]


@pytest.mark.parametrize("hidden", [0.0, 0.5])
def test_a_request_is_the_sequence_that_training_saw(hidden):
    """Of the same events to the microsecond, three years ago, at the time of the next one."""
    times = np.cumsum([0, 3_000_000, 8_500_001, 40 * 86_400_000_000, 94_608_000_000_000])
    ragged = {
        f.EVENT_ENTITY: [[2, 1, 4, 3, 5]],
        f.EVENT_TYPE: [[1, 2, 3, 1, 2]],
        f.EVENT_TIMESTAMP: [(1_600_000_000_000_000 + times).tolist()],
        f.CONTEXT_LENGTH: [[0]],
        f.REQUEST_TIME: [[1_600_000_000_000_000 + int(times[-1])]],
    }
    timelines = {name: tf.ragged.constant(rows, tf.int64) for name, rows in ragged.items()}
    spec = SequenceSpec(length=4, length_multiple=1, use_time=True, mask_share=hidden)
    trained = cut_sequences(timelines, spec, TargetRule(np.arange(7) == 5))
    trained = sequence_batch(trained, spec, tf.constant([1, 2], tf.int64))
    past = {name: rows[:, :4] if "event" in name else rows for name, rows in timelines.items()}
    asked = cut_last_windows(past, WindowSpec(window=4, use_time=True))
    asked = sequences_of_windows(asked, mask_next=hidden > 0)

    for name in set(trained) - {b.SEQUENCE_TARGET}:
        np.testing.assert_array_equal(trained[name], asked[name], err_msg=name)


def test_intervals_are_the_same_however_long_ago():
    model = make(encoder={"block": "gru", "use_time": True})
    ages = np.array([[2, 5, 13]]) * 1_000_000
    late = ages + 3 * 365 * 86_400_000_000
    one, other = (
        model.embed_queries(windows(np.array([[3, 2, 1]]), [3], ages=when)) for when in (ages, late)
    )

    np.testing.assert_array_equal(one, other)


def test_a_masked_item_and_a_position_start_apart():
    model = make({}, objective="masked", encoder={"positions": "absolute"})
    fresh = model.encoder.__class__(
        8, 5, model.config.model.encoder, VocabularySizes(7), causal=False
    )

    assert not np.array_equal(fresh.mask_token, fresh.positions[0])


def test_event_dropout_hides_whole_events_but_not_the_start():
    encoder = {"event_dropout": 0.5, "dropout": 0.0, "positions": "none", "use_event_types": False}
    model = make(encoder=encoder)
    vectors = tf.random.stateless_normal([3, 5, 8], [3, 4])
    read = {b.SEQUENCE_LENGTH: tf.constant(LENGTH, tf.int64)}
    drawn = [model.encoder(read, vectors, training=True)[0].numpy() for _ in range(30)]

    shown = model.encoder(read, vectors)[0].numpy()
    hidden = model.encoder(read, vectors * [[[1], [0], [1], [1], [1]]])[0].numpy()
    np.testing.assert_allclose([one[0] for one in drawn], [shown[0]] * 30, atol=1e-6)
    is_shown = [np.allclose(one[1], shown[1], atol=1e-5) for one in drawn]
    is_hidden = [np.allclose(one[1], hidden[1], atol=1e-5) for one in drawn]
    assert 5 < sum(is_shown) < 25 and sum(is_shown) + sum(is_hidden) == 30


def test_xla_changes_nothing():
    certain = {"dropout": 0.0}
    plain, compiled = make(encoder=certain), make(encoder=certain, xla=True)
    assert [w.name for w in plain.weights] == [w.name for w in compiled.weights]

    losses, slopes = [], []
    for model in (plain, compiled):
        with tf.GradientTape() as tape:
            loss = model.compute_loss(batch(), training=True)
        losses.append(loss.numpy())
        slopes.append(tape.gradient(loss, model.encoder.trainable_variables))
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    for one, other in zip(*slopes, strict=True):
        np.testing.assert_allclose(
            tf.convert_to_tensor(one), tf.convert_to_tensor(other), atol=1e-5
        )


def test_a_recurrent_unit_has_no_distances():
    assert not [w.name for w in make(encoder={"block": "gru"}).weights if "distance" in w.name]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"dim": 10, "encoder": {"heads": 4}}, "divide"),
        ({"dim": 6, "encoder": {"heads": 2, "positions": "rotary"}}, "pairs"),
        ({"objective": "masked", "encoder": {"block": "gru"}}, "both sides"),
        ({"input": {"length": 4, "overlap": 4}}, "below"),
        ({"xla": True, "encoder": {"use_user_attributes": True}}, "XLA cannot compile"),
    ],
)
def test_what_cannot_be_is_an_error(changed, message):
    with pytest.raises(ValueError, match=message):
        retrieval_trainer({"model": {"family": "sequence"} | changed})


def test_parts_of_a_sequence_cannot_be_drawn():
    input_section = {"targets_per_timeline": 2}
    with pytest.raises(ValueError, match="`targets_per_timeline` is not a key"):
        retrieval_trainer({"model": {"family": "sequence", "input": input_section}})
