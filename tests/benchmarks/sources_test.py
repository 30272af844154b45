"""Rows of a log: which are run, and which servable the joined one is."""

from __future__ import annotations

import json

import pytest

from benchmarks import sources
from benchmarks.results import Results


@pytest.fixture
def runs(monkeypatch):
    """Answers for the pipeline: the worse tower alone makes the better servable when joined."""
    asked = []

    def run_pipeline(config, overrides, run_dir):
        family = "sequence" if config.endswith("_sequence") else "two_tower"
        joined = "retrieval.sources.enabled=True" in overrides
        asked.append((family, joined))
        better = (family == "sequence") == joined
        values = {"hr@10": 0.2, "ndcg@10": 0.1 + 0.05 * better}
        counted = {
            f"{prefix}{name}": 0.01 for prefix in sources.COUNTED.values() for name in values
        }
        table = {"joined": values, "tower": {"hr@10": 0.9, "ndcg@10": 0.05}}
        return {
            "validation": {"ndcg@10": values["ndcg@10"]},
            "test": values | counted,
            "slices": {},
            "sources": {
                "chosen": {"with_history": "joined"},
                "validation": {"with_history": table},
            },
        }

    monkeypatch.setattr(sources, "run_pipeline", run_pipeline)
    return asked


def test_the_joined_row_is_the_servable_that_validation_prefers(runs, tmp_path):
    results = Results("sources", "python -m benchmarks.sources", directory=tmp_path)
    [log] = (log for log in sources.LOGS if log.name == "movielens-1m")
    sources.measure(results, log, (tmp_path / "log", tmp_path / "runs"), 0)
    assert runs == [
        ("two_tower", False),
        ("sequence", False),
        ("two_tower", True),
        ("sequence", True),
        ("two_tower", True),  # the template
    ]
    rows = {row["model"]: row["ndcg@10"] for row in results.rows()}
    assert rows.keys() == {*sources.ROWS}
    assert rows["two_tower"] > rows["sequence"]
    assert rows["joined"] == rows["joined_sequence"] > rows["joined_two_tower"]
    sources.measure(results, log, (tmp_path / "log", tmp_path / "runs"), 0)
    assert len(runs) == 5  # everything was kept
    assert json.loads(results.path.read_text())["rows"]
