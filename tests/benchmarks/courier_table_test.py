"""The benchmark of image features from end to end, on a log like MovieLens with posters."""

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.cold_items import of_cold_items
from benchmarks.cold_items import without_known
from benchmarks.courier_movielens_1m import BENCHMARK
from benchmarks.courier_movielens_1m import SHARES
from benchmarks.courier_table import main
from tests.helpers.image_logs import png
from tfx_pipeline.datasets.event_log import EVENTS_TABLE
from tfx_pipeline.datasets.event_log import EventLog
from tfx_pipeline.datasets.event_log import Manifest
from tfx_pipeline.datasets.event_log import write_event_log
from transforms.arrow import pa

USERS, MOVIES, RATINGS = 30, 60, 40
SHORT = {"epochs": 1, "steps_per_epoch": 3, "validation": {"monitor": "auc", "batches": 2}}
ENCODER = {
    **BENCHMARK.encoder,
    **SHORT,
    "model": {"height": 8, "width": 8, "dim": 4, "backbone": {"channels": [8], "frozen": True}},
    "validation": {"batches": 2, "min_effective_rank": 1.0, "max_mean_cosine": 1.0},
}


def write_ratings(log, users):
    """Writes ratings of movies of four colours; each user likes one."""
    random = np.random.default_rng(0)
    rows = [
        {
            "user_id": str(user),
            "entity_type": "movie",
            "entity_id": str(movie),
            "event": "rate",
            "timestamp": number * 1_000_000,
            "ordinal": number,
            "page_id": None,
            "value": 5.0 if movie % 4 == user % 4 else 2.0,
        }
        for user in range(users)
        for number, movie in enumerate(random.permutation(MOVIES)[:RATINGS].tolist())
    ]
    events = without_known(pa.Table.from_pylist(rows), SHARES["test_share"])
    movies = {
        "entity_type": ["movie"] * MOVIES,
        "entity_id": [str(movie) for movie in range(MOVIES)],
        "title": [f"Movie {movie}" for movie in range(MOVIES)],
        "image": [png([60 * (movie % 4), 200, movie]) for movie in range(MOVIES)],
    }
    manifest = Manifest(name="ratings", source="test", time="ordinal")
    write_event_log(log, manifest, events, pa.table(movies))


@pytest.mark.nightly
def test_cold_movies_are_met_by_the_test_alone(tmp_path):
    benchmark = replace(
        BENCHMARK,
        prepare=write_ratings,
        encoder=ENCODER,
        ranker={**BENCHMARK.ranker, **SHORT},
        clusters=4,
    )
    places = {"log": tmp_path / "log", "run": tmp_path / "run", "results": tmp_path}
    options = [part for name, path in places.items() for part in (f"--{name}-dir", str(path))]
    options += ["--users", str(USERS), "--seeds", "1"]

    main(benchmark, [*options, "--source", "courier", "--use", "vector"])

    cold = of_cold_items(EventLog(tmp_path / "log").read(EVENTS_TABLE)).sum()
    (row,) = json.loads((tmp_path / "courier_movielens_1m.json").read_text())["rows"]
    assert (row["source"], row["use"]) == ("courier", "vector")
    assert 0 <= row["auc"] <= 1 and 0 <= row["auc_cold"] <= 1
    # Every event of a cold movie is a candidate of the test, and training knows none of them.
    assert row["candidates_cold"] == cold > 0
