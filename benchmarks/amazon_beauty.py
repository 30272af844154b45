"""Amazon Beauty, leave-one-out, all 12,101 items ranked, seen items excluded.

    python -m benchmarks.amazon_beauty

The 5-core file of S3-Rec (22,363 users, 198,502 reviews), of which many papers report figures. It
has an order but no times, so no order of ties of our own. Choices were made on the validation
items. See `benchmarks.retrieval` for the rest.
"""

from __future__ import annotations

from benchmarks.baselines import BaselineSettings
from benchmarks.retrieval import Benchmark
from benchmarks.retrieval import Model
from benchmarks.retrieval import main

BENCHMARK = Benchmark(
    name="amazon_beauty",
    source="amazon-beauty",
    tie_order="Beauty.txt",
    models=(
        Model("two_tower", "amazon_beauty_two_tower"),
        Model("gru", "amazon_beauty", ("retrieval.trainer.model.encoder.block=gru",)),
        Model("sequence", "amazon_beauty"),
    ),
    settings=BaselineSettings(decay=0.6, ease_lambda=50.0, ease_recent_lambda=200.0),
)

if __name__ == "__main__":
    main(BENCHMARK)
