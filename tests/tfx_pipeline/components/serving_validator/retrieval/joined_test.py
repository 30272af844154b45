"""The exact search over several sources, on lists whose sums are done by hand."""

from __future__ import annotations

import numpy as np
import pytest

from serving.client import Event
from serving.client import Recommendation
from serving.client import Request
from serving.index.config import ServeConfig
from serving.index.searching.quantised_vectors import QuantisedVectors
from serving.sources.combination import Settings
from serving.sources.config import UnionConfig
from serving.sources.neighbours import Neighbours
from tests.helpers.servables import write_tiny_servable
from tests.helpers.sources import weights_of
from tests.helpers.sources import write_combination
from tests.helpers.sources import write_neighbours
from tfx_pipeline.components.serving_validator.retrieval import reference
from tfx_pipeline.components.serving_validator.retrieval.joined import JoinedExactSearch

IDS = tuple(f"item:{i}" for i in range(20))
LISTS = {
    "item:1": {"gone:1": 0.75, "item:2": 0.5, "item:3": 0.25, "item:4": 0.125},
    "video:1": {"item:3": 1.0},
}
UNION = UnionConfig(
    tower=1, neighbours=5, neighbours_per_event=2, repeats=1, popularity=0, freshness=0
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    def sources(path, towers):
        digest = write_neighbours(path / "neighbours", LISTS, {"item:9": 3})
        settings = Settings(decay=0.5, newest_events=2, event_types=("buy",), union=UNION)
        weights = weights_of(neighbours=1.0)
        return path / "neighbours", write_combination(
            path / "combination", weights, digest, towers, settings
        )

    path = tmp_path_factory.mktemp("oracle")
    write_tiny_servable(path, IDS, ServeConfig(k=3), sources=sources)
    return path


def request(*names, event="buy"):
    return Request([Event(name, event, i + 1) for i, name in enumerate(names)], request_time=99)


def exact(folder, requests):
    queries = reference.embed(folder / "towers", requests)
    return JoinedExactSearch(folder / "servable", queries, requests)


def answer(*ids):
    return Recommendation(ids, np.zeros(len(ids), np.float32), "", 1)


def test_neighbours_are_summed_over_the_newest_counted_events(folder):
    requests = [
        request("item:1", "video:1"),
        request("video:1", "item:nobody", "item:1"),  # the video is no longer among the newest two
        request("item:1", event="view"),  # does not count
        request(),
    ]
    asked = answer("item:2", "item:3", "item:4", "gone:1")
    found = exact(folder, requests).score([asked] * 4)
    # item:4 is the third candidate of a list of which two are read, and gone:1 is none.
    for scores, shares in zip(
        found,
        [[0.25 / 1.375, 1.125 / 1.375, 0], [0.5 / 0.75, 0.25 / 0.75, 0], [0, 0, 0], [0, 0, 0]],
        strict=True,
    ):
        np.testing.assert_allclose(scores[:3], np.log1p(np.array(shares) / 1e-4), rtol=1e-5)
        assert np.isnan(scores[3])


def test_names_and_vectors_are_looked_up_once_for_all_requests(folder, monkeypatch):
    looked, held = [], []
    rows, init = Neighbours.rows, QuantisedVectors.__init__

    def counted_rows(self, names):
        looked.append(len(names))
        return rows(self, names)

    def counted_init(self, vectors, *more, **named):
        held.append(vectors.shape[1])
        init(self, vectors, *more, **named)

    monkeypatch.setattr(Neighbours, "rows", counted_rows)
    monkeypatch.setattr(QuantisedVectors, "__init__", counted_init)
    requests = [request("item:1", f"item:{i}", "video:1", "item:nobody") for i in range(10)]
    search = exact(folder, requests)
    answers = [answer("item:2", "item:3")] * len(requests)
    search.score(answers)
    search.recall([()] * len(requests), answers)
    assert looked == [len(IDS), 12]
    assert held.count(len(IDS)) == 1
