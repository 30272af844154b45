from __future__ import annotations

import sys

import pytest

from benchmarks.pipeline_scale import EVERYTHING
from benchmarks.pipeline_scale import PREDICTED
from benchmarks.pipeline_scale import keep_predictions
from benchmarks.pipeline_scale import predict
from benchmarks.process_tree import Sample
from benchmarks.process_tree import read_samples
from benchmarks.process_tree import run_sampled
from benchmarks.process_tree import used_between
from benchmarks.results import Results

MEBI = 2**20


def _row(component, events, cpu):
    return {"component": component, "log_events": events, "cpu_seconds": cpu}


def test_what_beam_spreads_is_divided_by_the_workers_and_the_rest_is_not():
    rows = [_row("transform", n, 10 + 2e-6 * n) for n in (10**6, 10**7)]
    rows += [_row("trainer", n, 4e-6 * n) for n in (10**6, 10**7)]
    found = predict(rows)
    # 10 s and 2 us an event on 100 workers: 10 + 20 s; one trainer: 4,000 s.
    assert found["transform"]["start_seconds"] == pytest.approx(10)
    assert found["transform"]["per_event_us"] == pytest.approx(2)
    assert found["transform"]["predicted_hours"] == pytest.approx(30 / 3600)
    assert found["transform"]["core_hours"] == pytest.approx(100 * 30 / 3600)
    assert found["trainer"]["predicted_hours"] == pytest.approx(4000 / 3600)
    assert found["trainer"]["core_hours"] == pytest.approx(4000 / 3600)


def test_the_exponent_is_that_of_the_two_largest_sizes():
    rows = [_row("evaluator", n, (n / 1e6) ** 1.5) for n in (4e6, 1e6, 9e6)]
    assert predict(rows)["evaluator"]["exponent"] == pytest.approx(1.5)
    assert predict(rows[:1]) == {}


def test_predictions_are_made_again_when_a_size_is_added(tmp_path):
    results = Results("scale", "command", directory=tmp_path)

    def measure(events, cpu):
        key = {"component": "trainer", "events": events}
        results.measure(key, 0, lambda: {"cpu_seconds": cpu, "log_events": events})
        keep_predictions(results)

    def hours():
        found = {row["component"]: row for row in results.rows() if row["events"] == PREDICTED}
        return {name: row["predicted_hours"] for name, row in found.items()}

    measure(1_000_000, 1.0)
    assert hours() == {}
    measure(2_000_000, 2.0)
    assert hours() == pytest.approx({"trainer": 1000 / 3600, EVERYTHING: 1000 / 3600})
    measure(3_000_000, 4.0)  # 2 us an event now, and nothing to start with
    assert hours()["trainer"] == pytest.approx(2000 / 3600)


def test_usage_is_the_peak_and_the_difference_of_processor_time():
    samples = [Sample(t, r, c) for t, r, c in ((1, 5, 0.0), (2, 9, 1.0), (3, 7, 4.0), (4, 99, 8.0))]
    assert used_between(samples, 2.5, 3.5) == (9, 3.0)
    assert used_between(samples, 3.2, 3.4) == (7, 0.0)  # between two samples
    with pytest.raises(ValueError, match="the first one is later"):
        used_between(samples, 0.1, 0.2)


def test_children_of_children_count(tmp_path):
    inner = f"held = b'x' * {64 * MEBI}; import time; time.sleep(1.5)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}], check=True)"
    file = tmp_path / "samples.csv"
    for _ in range(2):
        run_sampled([sys.executable, "-c", outer], file, tmp_path / "log", every=0.1)
    samples = read_samples(file)
    assert max(sample.resident_bytes for sample in samples) > 64 * MEBI
    assert [s.cpu_seconds for s in samples] == sorted(s.cpu_seconds for s in samples)
