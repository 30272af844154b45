"""The recount against two plain loops over each user's events."""

from __future__ import annotations

import numpy as np
import pytest

from serving.index.embedding.records import split_files
from serving.sources.config import CountingConfig
from tests.tfx_pipeline.components.neighbour_builder import oracle
from tests.tfx_pipeline.components.neighbour_builder.job_test import random_users
from tests.tfx_pipeline.components.neighbour_builder.job_test import write_log
from tfx_pipeline.components.neighbour_builder.entities import Entities
from tfx_pipeline.components.neighbour_validator.recount import recount
from transforms.arrow import pa


def entities_of(names):
    return Entities(pa.array([name.encode() for name in names]), np.ones(len(names)), newest=0)


@pytest.mark.parametrize(
    "config",
    [
        CountingConfig(),
        CountingConfig(window=0, cooccurrence_events=5),
        CountingConfig(cooccurrence=0.0, gap_power=0.5, backwards=0.0, candidate_types=("item",)),
        CountingConfig(event_types=("buy",), half_life_days=3.0, user_events=12),
    ],
)
def test_sums_are_those_of_the_formula(tmp_path, config):
    users = random_users(seed=5)
    popular, weights = oracle.count(users, config)
    names = sorted(popular)
    sample = np.arange(0, len(names), 3)
    files = split_files(write_log(tmp_path / "log", users) / "Split-train")
    found = recount(files, entities_of(names), sample, config)
    assert dict(zip(names, found.events.tolist(), strict=True)) == popular
    assert found.unknown_events == 0
    root = np.sqrt(found.events + config.damping)
    for number, row in enumerate(sample):
        mine = found.sums[[number]].toarray()[0] / (root[row] * root)
        expected = [weights[names[row]].get(name, 0.0) for name in names]
        np.testing.assert_allclose(mine, expected, atol=1e-5)


def test_events_of_other_entities_are_counted_and_pair_with_nobody(tmp_path):
    users = {"ann": [("item:a", "buy", 1), ("item:x", "buy", 2), ("item:b", "buy", 3)]}
    files = split_files(write_log(tmp_path / "log", users, files=1) / "Split-train")
    config = CountingConfig(window=2, cooccurrence=0.0)
    found = recount(files, entities_of(["item:a", "item:b"]), np.array([0]), config)
    assert found.unknown_events == 1 and found.events.tolist() == [1, 1]
    assert found.sums.toarray().tolist() == [[0.0, 0.5]]  # two events apart
