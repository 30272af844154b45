"""The simulated shop over two years: SEMINAR and other models of long histories.

    python -m benchmarks.seminar_shop

The shop's preset `lifelong` with 300 users, of whom the busiest have more than 10,000 events.
Items have an id, categories, attributes, a price and a title, and some sessions a query; images
are left out. The last ten days are the test and the five before them validation: pages of busy
users for the most part, for these come every day. Training has the newest pages of each user, up
to 2,000 impressions, so that an epoch takes minutes. See `benchmarks.seminar` for the rest.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.ranking_shop import BENCHMARK as SHOP
from benchmarks.seminar import SeminarBenchmark
from benchmarks.seminar import main

BENCHMARK = SeminarBenchmark(
    ranking=replace(
        SHOP,
        name="seminar_shop",
        options={"preset": "lifelong", "users": 300, "images": False},
        timeline={
            **SHOP.timeline,
            "validation_days": 5,
            "test_days": 10,
            "max_impressions_per_example": 2_000,
        },
        trainer={
            **SHOP.trainer,
            "model": {**SHOP.trainer["model"], "use_event_query": True},
            # 128 histories of 10,000 events would not fit memory.
            "input": {"batch_size": 64},
        },
        has_truth=False,
    ),
    lengths=(50, 200, 1_000, 10_000),
)

if __name__ == "__main__":
    main(BENCHMARK)
