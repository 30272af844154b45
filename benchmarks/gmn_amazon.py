"""Amazon: what users review in one of two shops, by what they reviewed there and in the other.

    python -m benchmarks.gmn_amazon                         # does what is missing
    python -m benchmarks.gmn_amazon --candidates clothing --only gmn pooled --seeds 1

Electronics and Clothing, reviewed by the same 15,761 users, each shop's items being candidates in
turn. All of them are ranked for the one of the given test part, what the user has excluded.
`tune` is one item of the training part of every third user, if another user has it, too. There
are no times, no links and no content; what the catalogue says of an item is in which doubling
the number of its reviews in the training part is. See `benchmarks.gmn`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from benchmarks.gmn import Benchmark
from benchmarks.gmn import main

if TYPE_CHECKING:
    from scipy import sparse

    from benchmarks.two_kinds import Task

TRAINER: dict[str, Any] = {
    "model": {
        "loss": {"name": "sampled_softmax", "negatives": 2048},
        "dim": 64,
        "normalize": False,
        "temperature": 1.0,
        "candidate": {"features": ["categories"], "id_dropout": 0.5},
        "query": {
            "window": 60,
            "hidden_units": [],
            "dropout": 0.5,
            "item_dropout": 0.5,
            "use_order": False,
            "use_event_types": False,
            "use_time": False,
            "use_user_attributes": False,
        },
    },
    "input": {"batch_size": 2048, "pool": 1024},
    "optimizer": {"learning_rate": 0.002},
    "epochs": 3,
    "steps_per_epoch": 0,
}


def hold_out(edges: sparse.csr_matrix, seed: int = 0) -> tuple[sparse.csr_matrix, ...]:
    """Takes one edge of every third user, of entities that another user has, too.

    Args:
        edges: [users, C].
        seed: Of which it is.

    Returns:
        The rest, and what was taken, [users, C] each.
    """
    import numpy as np

    from benchmarks.two_kinds import matrix

    generator = np.random.default_rng(seed)
    user, entity = edges.nonzero()
    shared = np.asarray(edges.sum(axis=0)).ravel() > 1
    order = generator.permutation(len(user))
    order = order[shared[entity[order]] & (user[order] % 3 == 0)]
    _, first = np.unique(user[order], return_index=True)
    chosen = np.zeros(len(user), bool)
    chosen[order[first]] = True
    rest, taken = (matrix(user[kept], entity[kept], edges.shape) for kept in (~chosen, chosen))
    return rest, taken


def read(log_dir: Path, candidates: str) -> Task:
    """Reads the event log, with one of its shops' items as candidates."""
    from scipy import sparse

    import models  # noqa: F401  (before TensorFlow)
    from benchmarks.two_kinds import Task
    from benchmarks.two_kinds import read_parts

    data, held_out = read_parts(log_dir, candidates)
    rest, tune = hold_out(data.candidates)
    described = reviewed(sparse.hstack([rest, data.others]))
    data = replace(data, candidates=rest, described=described)
    return Task(data, {"tune": tune} | held_out, few=4)


def reviewed(edges: sparse.spmatrix) -> sparse.csr_matrix:
    """Describes entities by the doubling that their number of edges is in, [entities, doublings].

    Args:
        edges: [users, entities].
    """
    import numpy as np

    from benchmarks.two_kinds import matrix

    doubling = np.log2(1.0 + np.asarray(edges.sum(axis=0)).ravel()).astype(np.int64)
    return matrix(np.arange(len(doubling)), doubling, (len(doubling), 1 + doubling.max()))


BENCHMARK = Benchmark(
    name="gmn_amazon",
    source="amazon-electronics-clothing",
    read=read,
    k=50,
    chosen_by="auc",
    trainer=TRAINER,
    gmn={
        "model.start": "graph",
        "model.query.draw": "sampled",
        "model.query.neighbours": 20,
        "model.query.neighbour_dropout": 0.2,
    },
    counted={
        "popularity": {},
        "neighbours": {"number": 200},
        "neighbours_both": {"number": 200, "weight": 0.5},
    },
    lightgcn={
        "dim": 64,
        "layers": 2,
        "temperature": 0.1,
        "learning_rate": 0.01,
        "batch_size": 4096,
        "epochs": 3,
    },
    candidates=("electronics", "clothing"),
)

if __name__ == "__main__":
    main(BENCHMARK)
