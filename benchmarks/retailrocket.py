"""RetailRocket's sessions, leave-one-out, all 36,968 items ranked, seen items among them.

    python -m benchmarks.retailrocket

Real behaviour in a web shop: 130,903 sessions of three views or more, 710,586 views, as the session
papers cut them. A session is a user; those of ten views or more are asked for their last one, the
others are trained on. Half of the sessions end with an item that they had before, so nothing is
excluded. Those papers ask for every view of held-out sessions instead, so figures do not compare
with theirs. EASE knows the 12,000 most frequent items, because over all of them its dense
inverse would take 11 GB. Taobao's log would have true times and purchases, but what is at
hand of it has 815 users, too few to tell models apart, and 1.5 events an item. The file has an
order and no times. See `benchmarks.retrieval` for the rest.
"""

from __future__ import annotations

from benchmarks.baselines import BaselineSettings
from benchmarks.retrieval import Benchmark
from benchmarks.retrieval import Model
from benchmarks.retrieval import main

BENCHMARK = Benchmark(
    name="retailrocket",
    source="retailrocket",
    tie_order="the sessions' files",
    models=(
        Model("two_tower", "retailrocket_two_tower"),
        Model("gru", "retailrocket", ("retrieval.trainer.model.encoder.block=gru",)),
        Model("sequence", "retailrocket"),
    ),
    settings=BaselineSettings(
        decay=0.6,  # the best of 0.4, 0.6 and 0.8 on the validation items
        ease_lambda=50.0,  # EASE's strengths are those of Amazon Beauty
        ease_recent_lambda=200.0,
        ease_items=12_000,
        exclude_seen=False,
        least_items=10,
    ),
)

if __name__ == "__main__":
    main(BENCHMARK)
