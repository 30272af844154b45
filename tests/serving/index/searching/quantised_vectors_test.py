"""Vectors held in narrower types against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from serving.index.searching.portable import PortableIndex
from serving.index.searching.quantised_vectors import BFLOAT16
from serving.index.searching.quantised_vectors import FLOAT32
from serving.index.searching.quantised_vectors import INT8
from serving.index.searching.quantised_vectors import QuantisedVectors
from serving.index.tree.scann_files import Partition

RNG = np.random.default_rng(3)
BLOCKS = RNG.normal(size=(6, 4, 8)).astype(np.float32)
BLOCKS[2, 3] = 0.0  # padding
QUERY = RNG.normal(size=(3, 8)).astype(np.float32)
# Half of the last kept bit of the largest value, times the query's sum, bounds a product.
ERROR = {FLOAT32: 1e-6, BFLOAT16: 2.0**-9, INT8: 0.5 / 127}
KINDS = pytest.mark.parametrize("kind", list(ERROR))


def bound(kind: str) -> np.ndarray:
    return ERROR[kind] * np.abs(BLOCKS).max() * np.abs(QUERY).sum(axis=1) + 1e-5  # [3]


@KINDS
def test_products_are_those_of_the_vectors_up_to_rounding(kind):
    held = QuantisedVectors(BLOCKS, kind)
    chosen = np.array([[0, 5], [2, 2], [3, 1]], np.int32)
    wanted = np.einsum("bpsd,bd->bps", BLOCKS[chosen], QUERY)
    found = held.products(tf.constant(chosen), tf.constant(QUERY)).numpy()
    assert (np.abs(found - wanted).max(axis=(1, 2)) <= bound(kind)).all()
    everything = held.all_products(tf.constant(QUERY)).numpy()
    assert (np.abs(everything - QUERY @ BLOCKS.reshape(-1, 8).T).max(axis=1) <= bound(kind)).all()
    assert found[1, 0, 3] == 0.0


@KINDS
def test_single_vectors_are_looked_up(kind):
    held = QuantisedVectors(BLOCKS, kind)
    found = held.at(tf.constant([[[0, 1], [5, 3]]])).numpy()
    assert np.abs(found[0] - BLOCKS[[0, 5], [1, 3]]).max() <= ERROR[kind] * np.abs(BLOCKS).max()


def test_narrower_types_take_less():
    sizes = {
        kind: sum(variable.numpy().nbytes for variable in QuantisedVectors(BLOCKS, kind).variables)
        for kind in ERROR
    }
    assert sizes == {FLOAT32: 6 * 4 * 8 * 4, BFLOAT16: 6 * 4 * 8 * 2, INT8: 6 * 4 * (8 + 4)}


def test_another_type_is_refused():
    with pytest.raises(ValueError, match="float32, bfloat16 or int8. Received: 'float64'"):
        QuantisedVectors(BLOCKS, "float64")


@pytest.mark.parametrize("kind", [BFLOAT16, INT8])
def test_a_narrower_index_finds_nearly_the_same(kind):
    vectors = RNG.normal(size=(3_000, 32)).astype(np.float32)
    centres = vectors[:40]
    partition = Partition(centres, np.argmax(vectors @ centres.T, axis=1).astype(np.int32))
    queries = tf.constant(RNG.normal(size=(50, 32)), tf.float32)
    nothing, now = tf.fill([50, 1], -1), tf.zeros([50], tf.int64)
    wide = PortableIndex(vectors, partition, 10, 100)
    narrow = PortableIndex(vectors, partition, 10, 100, vector_type=kind)
    found = narrow.search(queries, nothing, now)[0].numpy()
    wanted = wide.search(queries, nothing, now)[0].numpy()
    common = [len(set(a) & set(b)) for a, b in zip(found, wanted, strict=True)]
    assert np.mean(common) >= 97
