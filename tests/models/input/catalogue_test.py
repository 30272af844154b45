import numpy as np
import pytest
import tensorflow as tf

from models.input.catalogue import CatalogueTable
from models.input.catalogue import load_catalogue
from models.input.config import CandidateTowerConfig
from tests.helpers.examples import example
from tests.helpers.examples import write_examples
from transforms.vocabulary import entity_vocabulary


@pytest.fixture(scope="module")
def table(log):
    spec = log.transform.transformed_feature_spec()
    return load_catalogue(log.files("catalogue"), spec, 41, CandidateTowerConfig())


def index(log, item):
    return entity_vocabulary(log.transform).index(f"item:{item}".encode()) + 1


def test_every_row_is_found_by_its_entity(log, table):
    np.testing.assert_array_equal(table.ids, np.arange(1, 41))
    for item in (1, 17, 39):
        row = index(log, item)
        np.testing.assert_array_equal(table.features["image_vector"][row], [item % 4, item % 3])
        assert table.features["price"][row, 1] == 1.0
        assert (table.features["categories"][row] > 0).sum() == 1
        assert (table.features["title"][row] > 0).sum() == 5


def test_items_of_a_group_share_their_category(log, table):
    categories = table.features["categories"][:, 0]

    assert categories[index(log, 1)] == categories[index(log, 5)] != categories[index(log, 2)]


def test_missing_price_and_title_are_zero(log, table):
    row = index(log, 0)

    np.testing.assert_array_equal(table.features["price"][row], [0.0, 0.0])
    assert table.features["price_bucket"][row, 0] == 0
    np.testing.assert_array_equal(table.features["title"][row], np.zeros(5))


def test_unknown_entity_has_no_features(table):
    for values in table.features.values():
        np.testing.assert_array_equal(values[0], np.zeros(values.shape[1]))


def test_features_that_no_row_has_are_left_out(table):
    assert "text_vector" not in table.features


def test_features_and_widths_follow_the_configuration(log):
    spec = log.transform.transformed_feature_spec()
    config = CandidateTowerConfig(features=("title",), max_title_tokens=2)
    table = load_catalogue(log.files("catalogue"), spec, 41, config)

    assert table.widths == {"title": 2}


def test_the_moment_from_which_an_item_is_available(log, table, tmp_path):
    moments = {3: {"catalogue/available_from": 70}, 5: {}}
    rows = [
        example(**{"catalogue/entity": number, "catalogue/type": "item"}, **more)
        for number, more in moments.items()
    ]
    write_examples(tmp_path, {"catalogue": rows})
    files = [str(path) for path in tmp_path.glob("*/*")]
    spec = {
        name: tf.io.RaggedFeature(feature.dtype, row_splits_dtype=tf.int64)
        for name, feature in log.transform.transformed_feature_spec().items()
    }
    found = load_catalogue(files, spec, 41, CandidateTowerConfig()).available_from

    np.testing.assert_array_equal(found, np.where(np.arange(41) == 3, 70, 0))
    assert table.available_from is None  # where every item always is


def test_candidates_are_of_the_chosen_types():
    table = CatalogueTable(np.array([1, 2, 3]), np.array([b"item", b"video", b"item"]), {})

    np.testing.assert_array_equal(table.candidates(["item"]), [1, 3])
    np.testing.assert_array_equal(table.candidates(["*"]), [1, 2, 3])
    with pytest.raises(ValueError, match=r"found types \['item', 'video'\]"):
        table.candidates(["movie"])


def test_no_files_is_an_error(log):
    with pytest.raises(ValueError, match="catalogue"):
        load_catalogue([], log.transform.transformed_feature_spec(), 41, CandidateTowerConfig())
