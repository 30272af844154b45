"""Youshu: which book lists readers save, by the lists that they saved and the books that they read.

    python -m benchmarks.gmn_youshu                         # does what is missing
    python -m benchmarks.gmn_youshu --only gmn --seeds 1
    python -m benchmarks.gmn_youshu --only gmn --set model.query.preferences=8 --tune

The given split of 2,959 users' saved lists: all 4,771 lists are ranked, those of the training part
excluded; recall is hits over held-out lists. See `benchmarks.gmn`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from benchmarks.gmn import Benchmark
from benchmarks.gmn import main

if TYPE_CHECKING:
    from benchmarks.two_kinds import Task

TRAINER: dict[str, Any] = {
    "model": {
        "loss": "full_softmax",
        "dim": 128,
        "normalize": True,
        "temperature": 0.1,
        "candidate": {"features": ["related"], "id_dropout": 0.3, "max_related": 512},
        "query": {
            "window": 200,
            "hidden_units": [],
            "dropout": 0.5,
            "item_dropout": 0.0,
            "use_order": False,
            "use_event_types": False,
            "use_time": False,
            "use_user_attributes": False,
        },
    },
    "input": {"batch_size": 1024, "pool": 1024},
    "optimizer": {"learning_rate": 0.003},
    "epochs": 5,
    "steps_per_epoch": 0,
}


def read(log_dir: Path, candidates: str) -> Task:
    """Reads the event log of Youshu."""
    import models  # noqa: F401  (before TensorFlow)
    from benchmarks.two_kinds import Task
    from benchmarks.two_kinds import read_parts

    data, held_out = read_parts(log_dir, candidates)
    return Task(data, held_out, few=4)


BENCHMARK = Benchmark(
    name="gmn_youshu",
    source="youshu",
    read=read,
    k=20,
    chosen_by="recall@20",
    trainer=TRAINER,
    gmn={
        "model.start": "graph",
        "model.query.draw": "sampled",
        "model.query.neighbours": 40,
        "model.query.training_neighbours": 40,
        "model.query.neighbour_dropout": 0.5,
    },
    counted={
        "popularity": {},
        "neighbours": {"number": 100},
        "ease": {"regularisation": 200.0},
        "ease_both": {"regularisation": 200.0, "weight": 0.6},
    },
    lightgcn={
        "dim": 64,
        "layers": 2,
        "temperature": 0.1,
        "learning_rate": 0.01,
        "batch_size": 1024,
        "epochs": 10,
    },
    candidates=("bundle",),
)

if __name__ == "__main__":
    main(BENCHMARK)
