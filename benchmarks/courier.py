"""Image features on the simulated shop, whose styles sway some users.

    python -m benchmarks.courier

`style` is the truth that images are drawn from. The ranker reads ids, categories, attributes,
prices and titles as well. The test are the pages of the last five days, and `auc_cold` is of
candidates that training met at most ten times. See `benchmarks.courier_table` for the rest.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.courier_features import Vectors
from benchmarks.courier_table import CourierBenchmark
from benchmarks.courier_table import main
from benchmarks.environment import prepare_log
from transforms.arrow import pa


def prepare(log_dir: Path, users: int) -> None:
    """Prepares the shop with pictures of its items."""
    prepare_log(log_dir, "shop", users=users)


def styles(log_dir: Path) -> Vectors:
    """Reads the styles that pictures of items are drawn from."""
    world = log_dir / "truth" / "world"
    names, values = (
        np.load(world / f"item_{name}.npy", allow_pickle=False) for name in ("id", "style")
    )
    ids = [str(one) for one in names.tolist()]
    return Vectors(pa.table({"entity_type": ["item"] * len(ids), "entity_id": ids}), values)


BENCHMARK = CourierBenchmark(
    name="courier_shop",
    module="courier",
    prepare=prepare,
    log={
        "target_events": ["click", "cart", "buy"],
        "candidate_types": ["item"],
        "timeline": {
            "split": "time-cut",
            "validation_days": 5,
            "test_days": 5,
            "label": {"source": "impressions"},
        },
    },
    features=("categories", "attributes", "title", "price"),
    ranker={
        "model": {
            "family": "din",
            "use_time": True,
            "window": 20,
            "candidate": {"id_dropout": 0.6},
        },
        "label": {"source": "impressions"},
        "candidate_types": ["item"],
        "input": {"batch_size": 128},
        "optimizer": {"learning_rate": 0.003},
        "epochs": 3,
        "validation": {"monitor": "auc", "patience": 1},
        "tensorboard": False,
        "checkpoints": False,
    },
    trained={"channels": [48, 96, 160]},
    backbone_training={"steps_per_epoch": 100},  # of 300,000 images each
    clusters=1_000,
    rare=10,
    truth=("style", styles),
    users=10_000,
    log_dir="shop-courier",
)

if __name__ == "__main__":
    main(BENCHMARK)
