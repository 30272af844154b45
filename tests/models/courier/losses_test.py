"""The contrastive loss and the monitors of a collapse, by hand."""

import numpy as np
import pytest
import tensorflow as tf

from models.courier import page_views as v
from models.courier.losses import contrast
from models.courier.losses import effective_rank
from models.courier.losses import mean_cosine
from models.courier.losses import mean_of
from models.courier.objectives import co_click_losses

TARGETS = tf.constant([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [-1.0, 0.0]])


def losses(rows, label, temperature=0.5):
    anchors = tf.constant([[2.0, 0.0], [0.0, 1.0]])
    return contrast(anchors, TARGETS, tf.constant(rows), tf.constant(label), temperature).numpy()


def test_contrast_by_hand():
    # Cosines of the first anchor are 1, 0, 1, -1, of the second 0, 1, 0, 0; over tau twice that.
    e = np.exp
    first = -np.log(e(2) / (2 * e(2) + 1 + e(-2)))
    second = -np.log(e(2) / (e(2) + 3))
    np.testing.assert_allclose(losses([5, 6, 7, 8], [0, 1]), [first, second], rtol=1e-5)


def test_copies_of_the_own_image_are_no_negatives():
    e = np.exp
    first = -np.log(e(2) / (e(2) + 1 + e(-2)))  # target 2 is another copy of target 0
    second = -np.log(e(2) / (e(2) + 3))  # both are negatives of target 1
    np.testing.assert_allclose(losses([5, 6, 5, 8], [0, 1]), [first, second], rtol=1e-5)


def test_negatives_of_the_own_page_by_hand():
    # The first anchor is told from target 3 alone, the second from targets 0 and 2.
    negatives = tf.constant([[False, False, False, True], [True, False, True, False]])
    anchors = tf.constant([[2.0, 0.0], [0.0, 1.0]])
    given = (anchors, TARGETS, tf.constant([5, 6, 7, 8]), tf.constant([0, 1]), 0.5, negatives)
    e = np.exp
    expected = [-np.log(e(2) / (e(2) + e(-2))), -np.log(e(2) / (e(2) + 2))]
    np.testing.assert_allclose(contrast(*given), expected, rtol=1e-5)


def test_co_clicks_by_hand():
    """Two pages show images 0, 1 and 2, 3; 1 and 2 are clicked, after 3 and after nothing."""
    inputs = {
        v.HISTORY: tf.constant([[3, 0], [0, 0]]),
        v.HISTORY_ROW: tf.constant([[8, 0], [0, 0]]),
        v.SHOWN: tf.constant([0, 1, 2, 3]),
        v.SHOWN_ROW: tf.constant([5, 6, 7, 8]),
        v.SHOWN_PAGE: tf.constant([0, 0, 1, 1]),
        v.CLICKED: tf.constant([False, True, True, False]),
    }
    found = co_click_losses(inputs, TARGETS, 0.5)
    # The cosines of image 3 are -1, 0, -1 and 1; it is a negative of its own, as another page's.
    expected = -np.log(1 / (2 * np.exp(-2) + 1 + np.exp(2)))
    np.testing.assert_allclose(found, [expected], rtol=1e-5)


def test_no_anchors_lose_nothing():
    none = tf.zeros([0, 2]), TARGETS, tf.constant([1, 2, 3, 4]), tf.zeros([0], tf.int32)
    assert float(mean_of(contrast(*none, 0.05))) == 0.0


def test_mean_cosine_by_hand():
    vectors = np.array([[1.0, 0.0], [0.0, 5.0], [-2.0, 0.0]])
    assert mean_cosine(vectors) == pytest.approx(-1 / 3)  # of the pairs 0, -1 and 0
    assert mean_cosine(np.tile([[1.0, 2.0]], [4, 1])) == pytest.approx(1.0)


def test_effective_rank_by_hand():
    assert effective_rank(np.eye(4) * [[1.0], [2.0], [3.0], [4.0]]) == pytest.approx(4.0)
    assert effective_rank(np.tile([[1.0, 2.0]], [4, 1])) == pytest.approx(1.0)
    # Two equal vectors beside one at right angles: singular values sqrt 2 and 1.
    shares = np.array([np.sqrt(2), 1.0]) / (np.sqrt(2) + 1)
    expected = np.exp(-(shares * np.log(shares)).sum())
    assert effective_rank(np.array([[1.0, 0], [1, 0], [0, 1]])) == pytest.approx(expected)
