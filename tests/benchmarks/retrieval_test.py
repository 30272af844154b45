"""Tables of retrieval: what is kept, what is run again, and what a kept run is compared by."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import amazon_beauty
from benchmarks import movielens_1m_retrieval
from benchmarks import retailrocket
from benchmarks import retrieval
from benchmarks.baselines import BaselineSettings
from benchmarks.interactions import Interactions
from benchmarks.results import Results
from tfx_pipeline.config_file import load_config
from tfx_pipeline.datasets import registry

MODULES = (amazon_beauty, movielens_1m_retrieval, retailrocket)


def interactions():
    starts = np.array([0, 3, 6, 9])
    return Interactions(np.array([0, 1, 2] * 3), starts, np.array([f"i:{i}" for i in range(60)]))


def make(tmp_path):
    return Results("some", "python -m benchmarks.some", directory=tmp_path)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.BENCHMARK.name)
def test_every_row_of_a_benchmark_can_be_configured(module):
    benchmark = module.BENCHMARK
    assert benchmark.name == module.__name__.rpartition(".")[2]
    assert registry.find_source(benchmark.source)
    assert len(set(benchmark.rows)) == len(benchmark.rows)
    for model in benchmark.models:
        config = load_config(model.config, (*model.overrides, *retrieval._ALONE))
        assert config.timeline.split == "leave-last-out"
        # The baselines are asked what the models are asked.
        assert bool(config.exclude_seen) == benchmark.settings.exclude_seen
        assert config.timeline.min_target_events == benchmark.settings.least_items


def test_baselines_resume(tmp_path, monkeypatch):
    settings, log = BaselineSettings(), tmp_path / "log"
    monkeypatch.setattr(retrieval, "read_interactions", lambda _: interactions())
    results = make(tmp_path)
    retrieval.run_baselines(results, settings, log, ("ease",))
    assert [row["model"] for row in results.rows()] == ["ease"]
    retrieval.run_baselines(results, settings, log)
    assert {row["model"] for row in results.rows()} == set(retrieval.baselines(settings))
    monkeypatch.delattr(retrieval, "read_interactions")
    again = make(tmp_path)
    retrieval.run_baselines(again, settings, log)  # nothing is read, for nothing is missing
    assert again.runs == results.runs


def fake_training(monkeypatch, commands):
    """Replaces the pipeline's process by one that says the seed is the figure."""

    def run(*_, settings):
        settings = dict(pair.split("=", 1) for pair in settings)
        commands.append(settings)
        names = {*retrieval.MEASURED, "mrr@100"} - {"mrr"}  # of the first 100, as in baselines
        values = {name: float(settings["retrieval.trainer.seed"]) for name in names}
        file = Path(settings["run_dir"], "metrics.json")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"test": values}))

    monkeypatch.setattr(retrieval, "vitrine", run)


def test_models_resume_and_another_configuration_runs_again(tmp_path, monkeypatch):
    commands = []
    fake_training(monkeypatch, commands)
    model = retrieval.Model("two_tower", "movielens_1m", ("retrieval.trainer.epochs=2",))
    results = make(tmp_path)
    for seed in (3, 4, 3):
        retrieval.run_model(results, model, tmp_path / "log", tmp_path / "runs", seed)
    assert [c["retrieval.trainer.seed"] for c in commands] == ["3", "4"]
    assert commands[0]["retrieval.trainer.epochs"] == "2"
    assert commands[0]["retrieval.evaluation.thresholds"] == "{}"
    assert results.rows()[0]["hr@10"] == 3.5
    other = retrieval.Model("two_tower", "movielens_1m", ("retrieval.trainer.epochs=3",))
    retrieval.run_model(results, other, tmp_path / "log", tmp_path / "runs", 3)
    assert len(commands) == 3 and len(results.runs) == 2


def test_a_kept_run_is_compared_by_what_its_model_depends_on():
    def wanted(*overrides):
        return retrieval.compared(load_config("movielens_1m", overrides))

    kept = wanted("retrieval.trainer.seed=7", "run_dir=there", "retrieval.evaluation.thresholds={}")
    assert retrieval.is_same(kept, wanted())
    assert not retrieval.is_same(kept, wanted("retrieval.trainer.model.dim=32"))
    del kept["retrieval"]["trainer"]["precision"]  # as of a time before the option
    assert retrieval.is_same(kept, wanted())
    assert not retrieval.is_same(kept, wanted("retrieval.trainer.precision=mixed_bfloat16"))
    assert not retrieval.is_same(kept | {"gone": 1}, wanted())


def test_the_kept_runs_of_movielens_are_valid():
    """Runs of a quarter of an hour each are not lost to a new option."""
    benchmark = movielens_1m_retrieval.BENCHMARK
    wanted = retrieval.compared(load_config("movielens_1m"))
    kept = Results(benchmark.name, "").runs
    trained = [run for run in kept if run.key["model"] == "two_tower"]
    assert len(trained) == 3 and all(retrieval.is_same(r.configuration, wanted) for r in trained)
    for name, baseline in retrieval.baselines(benchmark.settings).items():
        assert [r.configuration for r in kept if r.key["model"] == name] == [baseline.parameters]
