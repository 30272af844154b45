"""The rows of the latency of rankers."""

from __future__ import annotations

from benchmarks.rank_latency import Load
from benchmarks.rank_latency import loads_of


def test_the_rows_of_one_length_of_histories():
    loads = loads_of(50, [100, 1000], [1, 8])
    assert loads == [
        Load("local_server", 50, 100, 1),
        Load("local_server", 50, 100, 8),
        Load("local_server_varied", 50, 100, 8),
        Load("local_server", 50, 1000, 1),
        Load("local_server", 50, 1000, 8),
        Load("local_server_varied", 50, 1000, 8),
    ]
    assert loads[2].key == {
        "target": "local_server_varied",
        "history": 50,
        "candidates": 100,
        "clients": 8,
    }
