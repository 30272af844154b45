"""The simulated shop: clicks and watches on result pages, divided by time.

    python -m benchmarks.ranking_shop

The rows `oracle` say what one reaches who knows the simulator's truth: the probability of a
click at the position where a candidate was, and the same without the position, which no request
has. `way_to_oracle` is how much of the way from popularity's AUC to the oracle's a model goes.
See `benchmarks.ranking_models` for the rest.
"""

from __future__ import annotations

from benchmarks.ranking_models import RankingBenchmark
from benchmarks.ranking_models import main

BENCHMARK = RankingBenchmark(
    name="ranking_shop",
    source="shop",
    options={"users": 3_000, "images": False},
    shared={"target_events": ("click", "cart", "buy"), "candidate_types": ("item",)},
    timeline={
        "split": "time-cut",
        "validation_days": 5,
        "test_days": 5,
        "label": {"source": "impressions"},
    },
    trainer={
        "model": {
            "use_time": True,
            "position_bias": True,
            "use_repeats": False,  # as the table is measured; DIN gains .012 by them
            # On the validation pages better than the default for pooling and DIN alike.
            "candidate": {"id_dropout": 0.6},
        },
        "input": {"batch_size": 128},
        "optimizer": {"learning_rate": 0.003},
        "epochs": 4,
    },
    has_truth=True,
)

if __name__ == "__main__":
    main(BENCHMARK)
