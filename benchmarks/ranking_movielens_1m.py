"""MovieLens-1M: whether a rating is 4 or more, from the ratings before it.

    python -m benchmarks.ranking_movielens_1m

As in DIN's paper (Zhou et al. 2018, section 6.1) ratings of 4 and 5 are positive and the others
negative. The paper divides MovieLens by users; here the last 3 % of each user's ratings are the
test and the 2 % before them validation, as it divides Amazon's reviews, where the last one is
the test. Times of half of the users are an order only, so no time is read. Candidates are
what the user rated, so `gauc` tells how well a user's own likes are told apart.
See `benchmarks.ranking_models` for the rest.
"""

from __future__ import annotations

from benchmarks.ranking_models import RankingBenchmark
from benchmarks.ranking_models import main

BENCHMARK = RankingBenchmark(
    name="ranking_movielens_1m",
    source="movielens-1m",
    timeline={
        "split": "leave-share-out",
        "validation_share": 0.02,
        "test_share": 0.03,
        "label": {"source": "values", "at_least": 4.0},
        # A page example for each rating repeats the events before it, of which 50 are read.
        "max_events_per_example": 100,
        "context_events": 50,
    },
    trainer={
        "model": {
            "window": 50,
            "use_event_values": True,
            "use_query": False,
            "use_repeats": False,  # nobody rates a film twice
            "position_bias": False,
        },
        "input": {"batch_size": 512},
        "epochs": 2,
    },
)

if __name__ == "__main__":
    main(BENCHMARK)
