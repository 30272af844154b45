"""Result files: runs are kept, resumed and summarised."""

from __future__ import annotations

import json

import pytest

from benchmarks.results import Results


def make(tmp_path, **more):
    return Results("speed", command="python -m benchmarks.speed", directory=tmp_path, **more)


def test_rows_have_mean_and_sample_deviation(tmp_path):
    results = make(tmp_path)
    for seed, value in enumerate((1.0, 2.0, 6.0)):
        results.measure({"model": "a"}, seed, lambda value=value: {"hr@10": value})
    results.measure({"model": "b", "unit": "ms"}, 0, lambda: {"value": 4})

    content = json.loads((tmp_path / "speed.json").read_text())
    first, second = content["rows"]
    assert first["model"] == "a" and first["runs"] == 3
    assert first["hr@10"] == pytest.approx(3.0)
    assert first["hr@10_deviation"] == pytest.approx(7.0**0.5)  # ((2² + 1² + 3²) / 2)
    assert second["unit"] == "ms" and second["value"] == 4.0 and second["value_deviation"] == 0.0
    assert content["command"] == "python -m benchmarks.speed"
    assert content["seeds"] == [0, 1, 2]
    assert {"commit", "hardware", "wall_seconds"} <= content.keys()


def test_a_second_run_does_only_what_is_missing(tmp_path):
    calls = []

    def run(seed):
        calls.append(seed)
        return {"x": seed}

    for seed in (0, 1):
        make(tmp_path).measure({"model": "a"}, seed, lambda seed=seed: run(seed))
    again = make(tmp_path)
    for seed in (0, 1, 2):
        again.measure({"model": "a"}, seed, lambda seed=seed: run(seed))
    assert calls == [0, 1, 2]
    assert [r.values["x"] for r in make(tmp_path).runs] == [0.0, 1.0, 2.0]


def test_another_configuration_replaces_a_run_and_fresh_forgets_all(tmp_path):
    results = make(tmp_path)
    results.measure({"model": "a"}, 0, lambda: {"x": 1}, {"steps": 10, "sizes": (1, 2)})
    assert make(tmp_path).find({"model": "a"}, 0, {"steps": 10, "sizes": (1, 2)})
    results.measure({"model": "a"}, 0, lambda: {"x": 2}, {"steps": 20})
    assert [r.values["x"] for r in make(tmp_path).runs] == [2.0]
    assert make(tmp_path, fresh=True).runs == []


def test_runs_keep_the_machine_that_measured_them(tmp_path):
    make(tmp_path).measure({"model": "a"}, 0, lambda: {"x": 1})
    file = tmp_path / "speed.json"
    content = json.loads(file.read_text())
    here = content["runs"][0].pop("machine")
    content["hardware"] |= {"processor": "i486", "cores": 1, "memory_gib": 4.2, "gpu": "none"}
    file.write_text(json.dumps(content))  # as runs were once written, on another machine
    make(tmp_path).measure({"model": "b"}, 0, lambda: {"x": 2})
    there = "1 core of i486, 4 GiB, GPU none"
    assert [run.machine for run in make(tmp_path).runs] == [there, here]


def test_a_value_that_is_not_finite_is_an_error_and_is_not_kept(tmp_path):
    results = make(tmp_path)
    with pytest.raises(ValueError, match="finite"):
        results.measure({"model": "a"}, 0, lambda: {"x": float("nan")})
    assert results.runs == []


def test_a_file_that_is_no_result_file_is_named(tmp_path):
    (tmp_path / "speed.json").write_text("{}")
    with pytest.raises(ValueError, match="speed.json.*--fresh"):
        make(tmp_path)
