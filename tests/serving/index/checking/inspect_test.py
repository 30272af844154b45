from __future__ import annotations

import numpy as np
import pytest

from serving.index.checking.inspect import built_recall
from serving.index.checking.inspect import inspect
from serving.index.checking.inspect import measure
from serving.index.config import CheckConfig
from serving.index.tree.scann_files import read_partition
from tests.serving.index.conftest import MOVIES

pytestmark = pytest.mark.slow


def test_a_tuned_tree(workshop):
    index = workshop.index("movies")
    report = inspect(index)
    sizes = np.bincount(read_partition(index.scann_dir).leaf)
    assert report["candidates"] == len(MOVIES) and report["dimension"] == 16
    assert report["index_type"] == "tree_ah" and report["answers"] is None
    assert report["leaves"]["count"] == len(sizes) == report["build"]["leaves"]
    assert report["leaves"]["max"] == sizes.max() and report["leaves"]["min"] == sizes.min()
    assert report["recall"]["recall_at"] == 50 and report["recall"]["queries"] == 200
    assert report["recall"]["recall"] >= 0.99
    assert report["curve"] == index.info["search"]["curve"]
    parts = report["bytes"]["index"]
    assert parts["vectors as embedded"] == 128 + len(MOVIES) * 16 * 4  # an npy header is 128
    assert parts["codes"] > len(MOVIES) * 8 / 2  # 8 codes of 4 bits each


def test_brute_force_has_neither_leaves_nor_a_curve(workshop):
    report = inspect(workshop.index("few"))
    assert report["leaves"] is None and report["recall"] is None and report["curve"] == []
    assert report["candidate_types"] == {"a": 2, "b": 1}


def test_the_recall_of_the_last_update_counts():
    search = {"leaves_to_search": 1, "reorder": 9, "tuned_on": 5, "recall_at": 3}
    search["curve"] = [{"leaves_to_search": 1, "reorder": 9, "recall": 0.5}]
    assert built_recall({"search": search})["recall"] == 0.5
    measured = {"recall": 0.75, "recall_at": 3, "queries": 8, "asked": "test timelines"}
    assert built_recall({"search": search, "measured": measured}) == measured


def test_measured_again_on_its_own_vectors(workshop):
    check = CheckConfig(recall_at=50, validation_queries=100, exact_below=0)
    found = measure(workshop.index("movies"), None, (), check)
    assert (found["queries"], found["asked"]) == (100, "vectors of the index")
    assert found["answer"]["backend"] == "portable"
    assert found["scann"]["recall"] > 0.97 and found["answer"]["recall"] > 0.97
    assert found["scann"]["recall_at"] == found["answer"]["recall_at"] == 50
