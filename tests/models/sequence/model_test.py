"""Losses of the sequence model, and what of its configuration is refused."""

import numpy as np
import pytest
import tensorflow as tf

from models.fixed_values import retrieval_trainer
from models.input import batch as b
from models.layers.mixture import Mixture
from tests.models.sequence.small_model import AGE
from tests.models.sequence.small_model import ENTITY
from tests.models.sequence.small_model import REQUEST_AGE
from tests.models.sequence.small_model import TARGET
from tests.models.sequence.small_model import TYPE
from tests.models.sequence.small_model import batch
from tests.models.sequence.small_model import make
from tests.models.sequence.small_model import windows


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
