"""Embeddings in Parquet: what is read, what is refused, how a pair is scored."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.evaluation.embeddings.vectors import Embeddings
from tfx_pipeline.evaluation.embeddings.vectors import Vectors
from tfx_pipeline.evaluation.embeddings.vectors import read_embeddings
from tfx_pipeline.evaluation.embeddings.vectors import write_embeddings

RNG = np.random.default_rng(0)
ITEMS = Vectors(
    np.array(["item:1", "item:2:b", "video:1"], object), RNG.random((3, 1, 4)).astype("f")
)


def users(count, weighted=False):
    vectors = RNG.standard_normal((2, count, 4)).astype("f")
    weights = np.array([[0.2, 0.5, 0.3][:count]] * 2, "f") if weighted else None
    return Vectors(np.array(["a", "b"], object), vectors, weights)


@pytest.mark.parametrize("count, weighted", [(1, False), (3, False), (3, True)])
def test_what_is_written_is_read(tmp_path, count, weighted):
    given = users(count, weighted)
    write_embeddings(Embeddings("mine", given, ITEMS), tmp_path / "mine")
    found = read_embeddings(tmp_path / "mine")
    assert found.name == "mine"
    for one, other in ((found.users, given), (found.items, ITEMS)):
        assert one.keys.tolist() == other.keys.tolist()
        np.testing.assert_array_equal(one.vectors, other.vectors)
        np.testing.assert_array_equal(one.weights, other.weights)
    assert read_embeddings(tmp_path / "mine" / "items.parquet", "alone").users is None


def test_an_export_in_parts_is_read(tmp_path):
    (tmp_path / "users").mkdir()
    for part, name in enumerate("ab"):
        rows = {"user_id": [name], "embedding": [[1.0 + part, 2.0]], "model_version": ["3"]}
        pq.write_table(pa.table(rows), tmp_path / "users" / f"part-{part}.parquet")
    found = read_embeddings(tmp_path).users
    np.testing.assert_array_equal(found.vectors[:, 0], [[1, 2], [2, 2]])


def test_scores_are_those_of_the_export():
    items = ITEMS.vectors[:, 0]
    one, several, mixture = users(1), users(3), users(3, weighted=True)
    rows = np.array([1])
    np.testing.assert_allclose(one.scores(rows, items), one.vectors[1] @ items.T, rtol=1e-5)
    dots = several.vectors[1] @ items.T
    np.testing.assert_allclose(several.scores(rows, items)[0], dots.max(axis=0), rtol=1e-5)
    expected = np.log(mixture.weights[1] @ np.exp(mixture.vectors[1] @ items.T))
    np.testing.assert_allclose(mixture.scores(rows, items)[0], expected, rtol=1e-5)


def test_features_of_several_vectors_are_their_mean_and_the_two_of_the_most_weight():
    given = users(3, weighted=True)
    one, two, three = given.vectors[0]
    expected = np.concatenate([0.2 * one + 0.5 * two + 0.3 * three, two, three])
    np.testing.assert_allclose(given.features()[0], expected, rtol=1e-5)
    even = Vectors(given.keys, given.vectors)
    expected = np.concatenate([(one + two + three) / 3, one, two])
    np.testing.assert_allclose(even.features()[0], expected, rtol=1e-5)
    np.testing.assert_array_equal(users(1).features().shape, (2, 4))


def test_a_key_without_an_embedding_has_zeros_and_is_counted():
    found, missing = ITEMS.aligned(np.array(["video:1", "item:9", "item:1"], object))
    np.testing.assert_array_equal(found.vectors[[0, 2]], ITEMS.vectors[[2, 0]])
    assert missing == 1 and not found.vectors[1].any()


@pytest.mark.parametrize(
    "columns, told",
    [
        ({"embedding": [[1.0]]}, "must have the column `user_id`"),
        ({"user_id": ["a"]}, "lacks the columns \\['embedding'\\]"),
        ({"user_id": ["a", "a"], "embedding": [[1.0], [2.0]]}, "`a` more than once"),
        ({"user_id": ["a", "b"], "embedding": [[1.0], [2.0, 3.0]]}, "lists of 1 to 2 values"),
        ({"user_id": ["a"], "embedding": [[float("nan")]]}, "not finite"),
        ({"user_id": ["a", "b"], "embedding": [[1.0], None]}, "null in 1 rows"),
        ({"user_id": ["a"], "embedding": [[None]]}, "without nulls"),
        ({"user_id": ["a"], "embedding": ["far"]}, "must be a list of numbers"),
        ({"user_id": ["a"], "embedding": [1.0]}, "must be a list of numbers"),
        ({"user_id": [None], "embedding": [[1.0]]}, "without user_id"),
        ({"user_id": pa.array([], "string"), "embedding": pa.array([], pa.list_(pa.float32()))},
         "has no rows"),
        ({"user_id": ["a"], "embedding": [[[1.0], [2.0]]], "weight": [[1.0]]}, "2 numbers"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_with_a_reason(tmp_path, columns, told):
    columns = {name: pa.array(values) for name, values in columns.items()}
    pq.write_table(pa.table(columns), tmp_path / "users.parquet")
    with pytest.raises(ValueError, match=told):
        read_embeddings(tmp_path / "users.parquet")


def test_users_and_items_are_of_one_space(tmp_path):
    wide = Vectors(ITEMS.keys, np.ones((3, 1, 5), "f"))
    write_embeddings(Embeddings("x", users(1), wide), tmp_path)
    with pytest.raises(ValueError, match="4 dimensions and items 5"):
        read_embeddings(tmp_path)
    with pytest.raises(FileNotFoundError, match="holds no embeddings"):
        read_embeddings(tmp_path / "nowhere")


def test_a_file_that_is_no_parquet_is_named(tmp_path):
    (tmp_path / "users.parquet").write_text("user_id,embedding")
    for place in (tmp_path, tmp_path / "users.parquet"):
        with pytest.raises(ValueError, match="users.parquet` cannot be read"):
            read_embeddings(place)
