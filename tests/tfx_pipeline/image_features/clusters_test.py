"""Clusters of vectors."""

import numpy as np

from tfx_pipeline.image_features.clusters import fit_centres
from tfx_pipeline.image_features.clusters import nearest
from tfx_pipeline.image_features.clusters import unit


def test_directions_are_clustered_and_lengths_do_not_matter():
    draw = np.random.default_rng(0)
    group = np.arange(300) % 3
    vectors = np.eye(3)[group] + draw.normal(0, 0.05, [300, 3])
    vectors *= draw.uniform(0.1, 10, [300, 1])
    centres = fit_centres(vectors, 3, seed=1)
    found = nearest(vectors, centres)
    assert centres.shape == (3, 3) and centres.dtype == np.float32
    assert len({(a, b) for a, b in zip(group, found, strict=True)}) == 3
    distance = np.linalg.norm(unit(vectors)[:, None] - centres, axis=2)
    np.testing.assert_array_equal(found, distance.argmin(axis=1))


def test_there_are_no_more_clusters_than_vectors():
    assert fit_centres(np.eye(4), 10).shape == (4, 4)
