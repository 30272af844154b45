"""Product quantisation against NumPy: codes, what they stand for, scores and recall."""

import numpy as np
import pytest
import tensorflow as tf

import models  # noqa: F401  (chooses Keras 2)
from models.layers.product_quantisation import ProductQuantiser
from models.layers.product_quantisation import fit_codebook
from models.layers.product_quantisation import look_up_scores

M, D, B, K = 3, 8, 4, 5
GENERATOR = np.random.default_rng(1)
VECTORS = GENERATOR.normal(size=[60, M, D]).astype(np.float32)
WEIGHTS = np.array([0.2, 0.5, 0.3], np.float32)


@pytest.fixture(scope="module")
def quantiser():
    made = ProductQuantiser(M, D, B, K)
    made.fit(list(VECTORS.transpose(1, 0, 2)))
    return made


def nearest(quantiser, vectors):
    """The codes of [N, M, d], one sub-vector after the other."""
    books, parts = quantiser.codebooks.numpy(), vectors.reshape(-1, M, B, D // B)
    distance = ((parts[:, :, :, None] - books) ** 2).sum(axis=-1)
    return distance.argmin(axis=-1)


def test_codes_are_the_nearest_centroids_and_stand_for_them(quantiser):
    codes = quantiser.encode(tf.constant(VECTORS))
    expected = nearest(quantiser, VECTORS)

    assert codes.dtype == tf.uint8 and codes.shape == (60, M, B)
    np.testing.assert_array_equal(codes, expected)
    books = quantiser.codebooks.numpy()
    decoded = quantiser.decode(codes).numpy()
    for m in range(M):
        for b in range(B):
            part = decoded[:, m, 2 * b : 2 * b + 2]
            np.testing.assert_array_equal(part, books[m, b][expected[:, m, b]])
    np.testing.assert_array_equal(quantiser.encode(decoded), codes)  # a centroid is its own code
    alone = quantiser.encode(tf.constant(VECTORS[:, 1].reshape(6, 10, D)), modality=1)
    np.testing.assert_array_equal(alone, expected[:, 1].reshape(6, 10, B))


def test_many_centroids_have_codes_of_two_bytes_and_reproduce_few_vectors():
    quantiser = ProductQuantiser(M, D, B, 300)
    quantiser.fit(list(VECTORS.transpose(1, 0, 2)))
    codes = quantiser.encode(tf.constant(VECTORS))

    assert codes.dtype == tf.uint16
    np.testing.assert_array_equal(quantiser.decode(codes), VECTORS)


def fuse_queries(queries):
    """Makes queries [..., M, d] of which each modality is compared with all of the keys."""
    return np.einsum("...md,m->...d", queries, WEIGHTS)[..., None, :] * WEIGHTS[:, None]


def test_scores_of_codes_equal_the_sum_over_pairs_of_modalities(quantiser):
    """The formula: sum_ij w_i w_j sum_b T_b[i, j][code_b(q_i), code_b(k_j)]."""
    queries, keys = VECTORS[:6], VECTORS[6:30]
    books = quantiser.codebooks.numpy()
    tables = np.einsum("ibks,jbls->ijbkl", books, books)  # T_b[i, j], [M, M, B, K, K]
    mine, theirs = nearest(quantiser, queries), nearest(quantiser, keys)
    expected = np.zeros([6, 24])
    for n, query in enumerate(mine):
        for event, key in enumerate(theirs):
            for i in range(M):
                for j in range(M):
                    entries = [tables[i, j, b, query[i, b], key[j, b]] for b in range(B)]
                    expected[n, event] += WEIGHTS[i] * WEIGHTS[j] * sum(entries)

    decoded = quantiser.decode(quantiser.encode(queries))
    found = look_up_scores(
        quantiser.tables(fuse_queries(decoded))[None], quantiser.encode(keys)[None]
    )
    np.testing.assert_allclose(found[0], expected, atol=1e-5)


def test_scores_of_pages_equal_products_with_what_codes_stand_for(quantiser):
    queries = GENERATOR.normal(size=[2, 3, M, D]).astype(np.float32)
    codes = quantiser.encode(tf.constant(VECTORS.reshape(2, 30, M, D)))
    fused = fuse_queries(queries)
    found = tf.function(look_up_scores)(quantiser.tables(fused), codes)

    keys = quantiser.decode(tf.reshape(codes, [-1, M, B])).numpy().reshape(2, 30, M, D)
    left, right = (np.einsum("m,pnmd->pnd", WEIGHTS, x) for x in (queries, keys))
    np.testing.assert_allclose(found, left @ right.transpose(0, 2, 1), atol=1e-5)


def recall(sub_vectors, vectors, queries, k=10):
    quantiser = ProductQuantiser(1, vectors.shape[1], sub_vectors, 16)
    quantiser.fit([vectors])
    codes = quantiser.encode(tf.constant(vectors[:, None]))
    scores = look_up_scores(quantiser.tables(tf.constant(queries[:, None]))[None], codes[None])
    found = np.argsort(-scores[0].numpy(), axis=1)[:, :k]
    best = np.argsort(-queries @ vectors.T, axis=1)[:, :k]
    return np.mean([len(set(a) & set(b)) / k for a, b in zip(found, best, strict=True)])


def test_more_sub_vectors_do_not_lower_the_recall_on_clusters():
    centres = GENERATOR.normal(size=[20, 16])
    clusters = centres[GENERATOR.integers(0, 20, 600)] + 0.3 * GENERATOR.normal(size=[600, 16])
    vectors = clusters.astype(np.float32)
    queries = vectors[:40] + 0.1 * GENERATOR.normal(size=[40, 16]).astype(np.float32)
    found = [recall(sub_vectors, vectors, queries) for sub_vectors in (1, 2, 4, 8, 16)]

    assert found == sorted(found)
    assert found[0] < 0.6 and found[-1] > 0.8


def test_centroids_are_at_the_points_or_in_their_middle():
    points = np.array([[0.0], [0.2], [5.0], [5.2]], np.float32)
    generator = np.random.default_rng(0)

    assert np.sort(fit_codebook(points, 2, generator).ravel()) == pytest.approx([0.1, 5.1])
    assert fit_codebook(points, 6, generator).ravel() == pytest.approx([0, 0.2, 5, 5.2, 5.2, 5.2])


def test_what_cannot_be_fitted_is_an_error(quantiser):
    with pytest.raises(ValueError, match="3 sub-vectors and 8 dimensions"):
        ProductQuantiser(1, 8, 3)
    with pytest.raises(ValueError, match="modality 1, received 0"):
        quantiser.fit([VECTORS[:, 0], VECTORS[:0, 1], VECTORS[:, 2]])
    with pytest.raises(ValueError, match="finite vectors of modality 0"):
        quantiser.fit([VECTORS[:, 0] * np.nan] * 3)


def test_codebooks_are_saved_and_never_trained(quantiser, tmp_path):
    copy = ProductQuantiser.from_config(quantiser.get_config())
    copy.set_weights(quantiser.get_weights())
    assert quantiser.trainable_weights == [] and len(quantiser.weights) == 1

    module = tf.Module()
    module.quantiser = copy
    spec = tf.TensorSpec([None, M, D])
    module.encode = tf.function(lambda x: copy.encode(x)).get_concrete_function(spec)
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_array_equal(loaded.encode(VECTORS), quantiser.encode(tf.constant(VECTORS)))
