"""The simulated shop: which videos users watch and items they click, by both, in turn candidates.

    python -m benchmarks.gmn_shop                           # does what is missing
    python -m benchmarks.gmn_shop --candidates video --only gmn pooled --seeds 1

A shop of 2,000 users and 60 days. What a user watches or clicks for the first time in the last ten
days is held out: that of every third user as `tune`, that of the others as `test`. All candidates
are ranked, those that the user had before excluded. An edge is the first event of a user with
an entity, at its time. Videos are linked to the items that they show, and all are described by
categories, attributes and words of titles; images are left out. See `benchmarks.gmn`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from benchmarks.gmn import Benchmark
from benchmarks.gmn import main

if TYPE_CHECKING:
    import numpy as np
    from scipy import sparse

    from benchmarks.two_kinds import Task
    from transforms.arrow import pa

HELD_OUT_DAYS = 10
EVENTS = ("watch", "click")
TYPES = ("video", "item")
TRAINER: dict[str, Any] = {
    "model": {
        "loss": {"name": "sampled_softmax", "negatives": 1024},
        "dim": 32,
        "normalize": True,
        "temperature": 0.1,
        "candidate": {"features": ["categories", "related"], "id_dropout": 0.1},
        "query": {
            "window": 60,
            "heads": 4,
            "hidden_units": [64],
            "dropout": 0.2,
            "item_dropout": 0.2,
            "use_event_types": False,
            "use_time": True,
            "use_user_attributes": False,
        },
    },
    "input": {"batch_size": 512, "pool": 1024},
    "optimizer": {"learning_rate": 0.003},
    "epochs": 4,
    "steps_per_epoch": 0,
}


def read(log_dir: Path, candidates: str) -> Task:
    """Reads the event log, with entities of a type as candidates."""
    import numpy as np
    from scipy import sparse

    import models  # noqa: F401  (before TensorFlow)
    from benchmarks.two_kinds import Task
    from benchmarks.two_kinds import TwoKinds
    from tfx_pipeline.datasets.event_log import EventLog
    from transforms.arrow import pa
    from transforms.arrow import pc

    log = EventLog(log_dir)
    rows, events = log.read("catalogue"), log.read("events")
    events = events.filter(pc.is_in(events.column("event"), pa.array(EVENTS)))
    order = np.argsort(_is_other(rows, candidates), kind="stable")  # candidates first
    rows = rows.take(pa.array(order))
    size = int(np.count_nonzero(~_is_other(rows, candidates)))
    users = pc.unique(events.column("user_id"))
    user = np.asarray(pc.index_in(events.column("user_id"), users))
    entity = np.asarray(pc.index_in(_keys(events), _keys(rows)))
    second = np.asarray(events.column("timestamp")) / 1e6
    cut = second.max() - HELD_OUT_DAYS * 86_400
    first = _first(user, entity, second, (len(users), len(order)))
    before, after = first.copy(), first[:, :size].tocsr()
    before.data[before.data >= cut] = 0.0
    before.eliminate_zeros()
    after.data[:] = after.data >= cut
    after.eliminate_zeros()
    is_tune = sparse.diags((np.arange(len(users)) % 3 == 0).astype(np.float32))
    held_out = {"tune": (is_tune @ after).tocsr(), "test": (after - is_tune @ after).tocsr()}
    for edges in held_out.values():
        edges.eliminate_zeros()
    ones = before.copy().astype(np.float32)
    ones.data[:] = 1.0
    data = TwoKinds(
        ones[:, :size].tocsr(),
        ones[:, size:].tocsr(),
        _links(rows, size),
        _described(rows),
        before,
        float(cut),
    )
    return Task(data, held_out, few=5)


def _is_other(rows: pa.Table, candidates: str) -> np.ndarray:
    import numpy as np

    return np.asarray(rows.column("entity_type")) != candidates


def _keys(rows: pa.Table) -> pa.Array:
    """Returns `type:id` of each row."""
    from transforms.arrow import pc

    typed, ids = (rows.column(name).combine_chunks() for name in ("entity_type", "entity_id"))
    return pc.binary_join_element_wise(typed, ids, ":")


def _first(
    user: np.ndarray, entity: np.ndarray, second: np.ndarray, shape: tuple[int, int]
) -> sparse.csr_matrix:
    """Returns when each user's first event with each entity was, float64."""
    import numpy as np
    from scipy import sparse

    order = np.argsort(second, kind="stable")
    pairs = user[order].astype(np.int64) * shape[1] + entity[order]
    _, at = np.unique(pairs, return_index=True)
    chosen = order[at]
    return sparse.csr_matrix((second[chosen], (user[chosen], entity[chosen])), shape)


def _links(rows: pa.Table, size: int) -> sparse.csr_matrix:
    """Returns which candidates and others are linked, whichever says so: [C, O]."""
    import numpy as np

    from benchmarks.two_kinds import matrix
    from transforms.arrow import pc

    related = rows.column("related_ids").combine_chunks()
    lengths = np.asarray(pc.fill_null(pc.list_value_length(related), 0))
    owner = np.repeat(np.arange(rows.num_rows), lengths)
    linked = np.asarray(pc.index_in(related.flatten(), _keys(rows)))
    left, right = np.minimum(owner, linked), np.maximum(owner, linked)
    return matrix(left, right - size, (size, rows.num_rows - size))


def _described(rows: pa.Table) -> sparse.csr_matrix:
    """Returns the categories, attributes and words of titles of each row: [rows, tokens]."""
    import numpy as np

    from benchmarks.two_kinds import matrix

    tokens = [
        [*(row["categories"] or ()), *(row["attributes"] or ()), *(row["title"] or "").split()]
        for row in rows.select(["categories", "attributes", "title"]).to_pylist()
    ]
    owner = np.repeat(np.arange(len(tokens)), [len(words) for words in tokens])
    names, token = np.unique([word for words in tokens for word in words], return_inverse=True)
    return matrix(owner, token, (len(tokens), len(names)))


BENCHMARK = Benchmark(
    name="gmn_shop",
    source="shop",
    read=read,
    k=50,
    chosen_by="auc",
    trainer=TRAINER,
    gmn={"model.query.neighbours": 30},
    counted={
        "popularity": {},
        "neighbours": {"number": 100},
        "neighbours_both": {"number": 100, "weight": 0.5},
        "ease": {"regularisation": 200.0},
        "ease_both": {"regularisation": 200.0, "weight": 0.5},
    },
    lightgcn={
        "dim": 32,
        "layers": 2,
        "temperature": 0.1,
        "learning_rate": 0.01,
        "batch_size": 2048,
        "epochs": 5,
    },
    candidates=TYPES,
    options={"users": 2000, "images": False},
)

if __name__ == "__main__":
    main(BENCHMARK)
