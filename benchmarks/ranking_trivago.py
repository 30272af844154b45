"""trivago's hotel search: which of about 23 hotels of a list is clicked, divided by time.

    python -m benchmarks.ranking_trivago

A sample of two days: 13,597 lists by 6,593 users, of which the last 6 hours are the test and the 6
hours before them validation. Most users come once, most hotels are shown a few times, and nothing
is known of them but city and price, so little can be learned but what the session did. See
`benchmarks.ranking_models` for the rest.
"""

from __future__ import annotations

from benchmarks.ranking_models import RankingBenchmark
from benchmarks.ranking_models import main

BENCHMARK = RankingBenchmark(
    name="ranking_trivago",
    source="trivago",
    timeline={
        "split": "time-cut",
        "validation_days": 0.25,
        "test_days": 0.25,
        "min_history": 0,
        "label": {"source": "impressions"},
    },
    trainer={
        "model": {"use_time": True, "position_bias": True},
        "input": {"batch_size": 64},
        "epochs": 4,
    },
)

if __name__ == "__main__":
    main(BENCHMARK)
