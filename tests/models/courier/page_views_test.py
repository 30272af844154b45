"""Page views by hand: which images were shown, clicked, and seen before."""

import numpy as np
import tensorflow as tf

from models.courier import page_views as v
from models.input import batch as b

# Entities 1 .. 6; 4 has no image.
ROW = tf.constant([0, 1, 2, 3, 0, 4, 5])


def pages():
    return {
        b.HISTORY_ENTITY: tf.constant([[3, 3, 4, 1, 3, 2], [5, 1, 1, 1, 1, 1], [4, 0, 0, 0, 0, 0]]),
        b.HISTORY_LENGTH: tf.constant([6, 1, 1]),  # what is beyond it is never read
        b.CANDIDATE_ENTITY: tf.constant([[1, 4, 6], [6, 1, 1], [1, 2, 3]]),
        b.CANDIDATE_LENGTH: tf.constant([3, 1, 2]),
        b.LABEL: tf.constant([[[0.0], [1], [1]], [[1], [1], [1]], [[1], [0], [0]]]),
    }


def test_last_images_are_distinct_and_newest_first():
    rows = v.last_images(pages(), ROW, 2)
    np.testing.assert_array_equal(rows, [[3, 1], [4, 0], [0, 0]])
    np.testing.assert_array_equal(v.last_images(pages(), ROW, 4)[0], [3, 1, 2, 0])


def test_page_views_read_each_distinct_image_once():
    views = v.page_views(pages(), ROW, 2, lambda rows: rows * 10)
    rows = views[v.IMAGE_ROW].numpy()
    assert sorted(rows) == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(views[v.IMAGES], rows * 10)
    np.testing.assert_array_equal(views[v.SHOWN_ROW], [1, 5, 5, 1, 2])
    np.testing.assert_array_equal(rows[views[v.SHOWN].numpy()], views[v.SHOWN_ROW])
    np.testing.assert_array_equal(views[v.SHOWN_PAGE], [0, 0, 1, 2, 2])
    np.testing.assert_array_equal(views[v.CLICKED], [False, True, True, True, False])
    np.testing.assert_array_equal(rows[views[v.HISTORY].numpy()], views[v.HISTORY_ROW])


def test_pages_without_clicks_or_history_teach_nothing():
    given = pages()
    kept = v.pages_to_learn(given, ROW, 2, clicked=True)
    np.testing.assert_array_equal(kept[b.CANDIDATE_LENGTH], [3, 1])  # the last has no image before
    label = given[b.LABEL].numpy()
    label[0, 2] = 0.0  # what is left is a click on what has no image
    given[b.LABEL] = tf.constant(label)
    kept = v.pages_to_learn(given, ROW, 2, clicked=True)
    np.testing.assert_array_equal(kept[b.CANDIDATE_LENGTH], [1])


def test_pages_without_clicks_are_negatives_where_they_show_images():
    given = pages()
    given[b.LABEL] = tf.zeros_like(given[b.LABEL])
    kept = v.pages_to_learn(given, ROW, 2, clicked=False)
    np.testing.assert_array_equal(kept[b.CANDIDATE_LENGTH], [3, 1])
    given[b.CANDIDATE_ENTITY] = tf.constant([[1, 4, 6], [4, 1, 1], [1, 2, 3]])
    kept = v.pages_to_learn(given, ROW, 2, clicked=False)  # the second shows what has no image
    np.testing.assert_array_equal(kept[b.CANDIDATE_LENGTH], [3])
