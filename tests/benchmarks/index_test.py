"""Recall against brute force, the sweep's end, and our engines on a small catalogue."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import index
from benchmarks.clustered_points import NO_CLUSTERS
from benchmarks.clustered_points import make_centres
from benchmarks.clustered_points import make_points
from benchmarks.index_plot import plot
from benchmarks.peers.search_timing import recall
from benchmarks.peers.search_timing import sweep


def test_recall_by_hand():
    truth = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])
    rows = np.array([[2, 1, 9, 9], [9, 9, 9, 5]])

    assert recall(rows, truth, 2) == pytest.approx((2 + 0) / 4)
    assert recall(rows, truth, 4) == pytest.approx((2 + 1) / 8)


def test_best_rows_are_those_of_a_full_sort():
    rng = np.random.default_rng(0)
    vectors, queries = rng.normal(size=(300, 8)), rng.normal(size=(70, 8))

    expected = np.argsort(-(queries @ vectors.T), axis=1)[:, : index.K]
    np.testing.assert_array_equal(index.best_rows(vectors, queries), expected)


def test_points_have_length_one_and_gather_around_centres():
    rng = np.random.default_rng(0)
    centres = make_centres(rng)[:3]
    points = make_points(500, rng, centres, 0.1)
    spread = make_points(500, rng, centres, NO_CLUSTERS)

    assert points.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1.0, atol=1e-5)
    unit = centres / np.linalg.norm(centres, axis=1, keepdims=True)
    assert (points @ unit.T).max(axis=1).min() > 0.9
    assert (spread @ unit.T).max(axis=1).mean() < 0.5


def test_a_sweep_ends_when_everything_is_found():
    truth = np.tile(np.arange(100), (20, 1))
    tried = []

    def settings():
        for name, width in (("half", 50), ("all", 100), ("more", 100)):
            tried.append(name)
            rows = np.where(np.arange(100) < width, np.arange(100), -1)
            yield name, lambda part, rows=rows: np.tile(rows, (len(part), 1))

    points = sweep(settings(), np.zeros([20, 4], np.float32), truth, [1, 8], seconds=0.001)
    assert tried == ["half", "all"]
    assert [(p["setting"], p["batch"]) for p in points] == [
        ("half", 1), ("half", 8), ("all", 1), ("all", 8)
    ]  # fmt: skip
    assert points[0]["recall@100"] == pytest.approx(0.5) and points[0]["recall@10"] == 1.0


@pytest.mark.slow
def test_our_engines_find_what_brute_force_finds(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["index", "--seconds", "0.01", "--data", "sigma 0.6"])
    options = index._parse()
    items = index.write_data(tmp_path, "sigma 0.6", 3_000, None)
    reports = {name: index.run_engine(tmp_path, name, options) for name in ("scann", "portable")}
    reports["exact"] = index.run_engine(tmp_path, "exact", options)

    assert items == 3_000
    for name, report in reports.items():
        found = [point["recall@100"] for point in report["points"]]
        assert max(found) > 0.99, name
        assert report["bytes"] >= 3_000 * 64 * 4  # the vectors are in each of them
        rows = [
            {**point, "engine": name, "data": "sigma 0.6", "items": items}
            for point in report["points"]
        ]
        plot(rows, tmp_path / "plot.svg")
    assert "</svg>" in (tmp_path / "plot.svg").read_text()
