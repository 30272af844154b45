"""Sequences as the encoder reads them: order, ages, hidden events, positions."""

import numpy as np
import pytest
import tensorflow as tf

from models.input import batch as b
from models.input.sequence_batches import SequenceSpec
from models.input.sequence_batches import cut_sequences
from models.input.sequence_batches import sequence_batch
from models.input.target_rule import TargetRule
from models.input.vocabulary_sizes import VocabularySizes
from models.input.windows import WindowSpec
from models.input.windows import cut_last_windows
from models.sequence.model import sequences_of_windows
from tests.models.sequence.small_model import LENGTH
from tests.models.sequence.small_model import batch
from tests.models.sequence.small_model import make
from tests.models.sequence.small_model import windows
from transforms import features as f


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
