"""The simulated shop: SEMINAR and other models of long histories, divided by time.

    python -m benchmarks.seminar_shop                      # 3,000 users, up to 1,000 events
    python -m benchmarks.seminar_shop --lifelong           # 300 users over two years, 10,000 events

Items have an id, categories, attributes, a price and a title, and some sessions a query; images
are left out. The log is divided as in `benchmarks.ranking_shop`. See `benchmarks.seminar` for
the rest.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from benchmarks.ranking_shop import BENCHMARK as SHOP
from benchmarks.seminar import SeminarBenchmark
from benchmarks.seminar import main

_MODEL = {**SHOP.trainer["model"], "use_event_query": True}
BENCHMARK = SeminarBenchmark(
    ranking=replace(
        SHOP, name="seminar_shop", trainer={**SHOP.trainer, "model": _MODEL}, has_truth=False
    ),
)
LIFELONG = replace(
    BENCHMARK,
    ranking=replace(
        BENCHMARK.ranking,
        name="seminar_shop_lifelong",
        options={"preset": "lifelong", "users": 300, "images": False},
        trainer={
            **BENCHMARK.ranking.trainer,
            # Batches of 128 histories of 10,000 events would not fit memory.
            "input": {"batch_size": 8, "pool": 16},
        },
    ),
    lengths=(50, 200, 1_000, 10_000),
)

if __name__ == "__main__":
    lifelong = "--lifelong" in sys.argv
    main(LIFELONG if lifelong else BENCHMARK, [one for one in sys.argv[1:] if one != "--lifelong"])
