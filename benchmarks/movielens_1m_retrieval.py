"""MovieLens-1M, leave-one-out by time, all 3,416 items ranked, seen items excluded.

    python -m benchmarks.movielens_1m_retrieval

The order of ratings with equal times is that of the papers' sequence file: a quarter of all last
items are tied with others. `sequence_longer` trains for as many epochs as GUIM does, twice as long
as `sequence`. See `benchmarks.retrieval` for the rest.
"""

from __future__ import annotations

from benchmarks.retrieval import Benchmark
from benchmarks.retrieval import Model
from benchmarks.retrieval import main

BENCHMARK = Benchmark(
    name="movielens_1m_retrieval",
    source="movielens-1m",
    tie_order="sequences.txt.gz",
    models=(
        Model("two_tower", "movielens_1m"),
        Model("sequence", "movielens_1m_sequence"),
        Model("sequence_longer", "movielens_1m_sequence", ("retrieval.trainer.epochs=20",)),
        Model("guim", "movielens_1m_guim"),
    ),
)

if __name__ == "__main__":
    main(BENCHMARK)
