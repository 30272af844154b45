"""Time and memory of search and attention over long histories: exact, hashed, by cells and codes.

    python -m benchmarks.lifelong                       # does what is missing
    python -m benchmarks.lifelong --lengths 1000 --candidates 1 --repetitions 3

One request with a history of `length` events and so many candidates, from ids to what of the
history goes with each candidate. 100,000 items of 1,000 clusters have 4 channels of 64 numbers;
four fifths of events and candidates are of 20 clusters. Each of 4 heads finds 50. No weight is
trained: a head compares items by a random projection, the same for keys and queries. Rows:

- `exact_published`: the channels of all events are projected and fused for the request.
- `exact_folded`: tables of items hold keys and values, with all projections folded in.
- `twin`, `eta`, `sdim`: as `models/lifelong`, on a table of fused items.
- `codes`: SEMINAR's search of the whole history by codes, then attention by folded keys and values.
- `seminar`: as `models/seminar` with `coarse: {cells: 1024, events: 512, more_events: 8}`, whose
  heads attend to all of the list. Variants: `seminar_256_events` and `seminar_4096_events` in
  place of 512, `seminar_top_k`, whose heads find 50 each in the list, and `seminar_codes`, which
  find them by codes.
- `call`: returns the candidates' vectors alone, which says what a call costs in itself.

`ms_per_request` is the median CPU time on one thread, which other work on the machine stretches
less than wall time; rows take turns, two calls each, of which the second is measured.
`over_published` is the median of its ratio to `exact_published` of the same turn, `over_folded` to
`exact_folded`. `bytes_per_event` is what the search reads of an event; what it reads of the
shortlist alone is divided by the length. `error` is the length of the difference from the exact
output, relative to its own; `eta` and `sdim`, which have other aims, have none. `recall` is the
share of the events that `exact_published` finds which are in SEMINAR's list.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import asdict
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any
from typing import Literal

import numpy as np

import models  # noqa: F401  (chooses Keras 2)
from benchmarks.clustered_points import CENTRES
from benchmarks.clustered_points import make_centres
from benchmarks.results import Results
from benchmarks.results_table import render

if TYPE_CHECKING:
    import tensorflow as tf

NAME = "lifelong"
ITEMS, CHANNELS, DIM = 100_000, 4, 64
HEADS, TOP_K = 4, 50
MORE_EVENTS = 8  # for each candidate beside the first
POINTS = 40_000  # items that cells and codebooks are fitted on
SUB_VECTORS, CENTROIDS = 8, 256
NOISE = 0.6  # of items about their clusters, in each channel
SHARPNESS = 2.0  # of the attention
INTERESTS, OF_INTERESTS = 20, 0.8  # clusters of a user, and the share of events that are of these
MEASURED = (
    "ms_per_request",
    "over_published",
    "over_folded",
    "bytes_per_event",
    "error",
    "recall",
)
Search = Callable[["tf.Tensor", "tf.Tensor"], "tf.Tensor"]


@dataclass(frozen=True)
class Shortlist:
    """The list of a row of SEMINAR: cells, events of one candidate, and what finds in it."""

    cells: int = 1_024
    events: int = 512
    find: Literal["all", "top_k", "codes"] = "all"

    def length(self, events: int, candidates: int) -> int:
        """Returns how many of so many events are in it."""
        return min(self.events + MORE_EVENTS * (candidates - 1), events)


SHORTLISTS = {
    "seminar": Shortlist(),
    "seminar_256_events": Shortlist(events=256),
    "seminar_4096_events": Shortlist(events=4_096),
    "seminar_top_k": Shortlist(find="top_k"),
    "seminar_codes": Shortlist(find="codes"),
}


class Catalogue:
    """Clustered items with random projections, and requests for them."""

    def __init__(self, seed: int = 0) -> None:
        rng = self.rng = np.random.default_rng(seed)
        centres = [make_centres(rng)[:, :DIM] for _ in range(CHANNELS)]
        self.cluster = rng.integers(0, CENTRES, ITEMS)
        noise = rng.normal(size=(CHANNELS, ITEMS, DIM))
        points = np.stack([one[self.cluster] for one in centres]) + NOISE * noise
        self.channels = (points / np.sqrt(1.0 + NOISE**2)).astype(np.float32)  # [M, V, d]

    def request(self, length: int, candidates: int) -> tuple[np.ndarray, np.ndarray]:
        """Draws a history [1, L] and candidates [C], int64."""
        rng = self.rng
        own = np.flatnonzero(np.isin(self.cluster, rng.integers(0, CENTRES, INTERESTS)))

        def draw(number: int) -> np.ndarray:
            anything = rng.integers(0, ITEMS, number)
            return np.where(rng.random(number) < OF_INTERESTS, rng.choice(own, number), anything)

        return draw(length)[None], draw(candidates)


def searches(catalogue: Catalogue) -> tuple[dict[str, Search], dict[str, Search]]:
    """Makes what is measured.

    Returns:
        The rows, from the ids of events [1, L] and candidates [C] to [C, d] float32; and what of
        the history is read, as positions: each head's by `exact_published`, and SEMINAR's lists.
    """
    import tensorflow as tf

    from models.layers.coarse_cells import CoarseCells
    from models.layers.multi_head_target_attention import MultiHeadTargetAttention
    from models.layers.multi_head_target_attention import best_events
    from models.layers.product_quantisation import ProductQuantiser
    from models.layers.product_quantisation import look_up_scores
    from models.layers.sign_hash import BucketPooling
    from models.layers.sign_hash import SignHash

    tf.keras.utils.set_random_seed(0)
    channels = [tf.constant(one) for one in catalogue.channels]
    projections = [tf.keras.layers.Dense(DIM, use_bias=False) for _ in channels]

    def fuse(parts: list[tf.Tensor]) -> tf.Tensor:
        given = zip(projections, parts, strict=True)
        return tf.add_n([project(part) for project, part in given]) / CHANNELS**0.5

    items = fuse(channels)  # [V, d]
    attention, hashes = MultiHeadTargetAttention(HEADS, TOP_K), SignHash(64)
    pooling = BucketPooling()
    attention(items[:1], items[None, :1], tf.ones([1, 1]), tf.zeros([1], tf.int64))
    attention.query.kernel.assign(attention.key.kernel * SHARPNESS)
    keys, values = attention.key(items), attention.value(items)
    fitted = {
        cells: CoarseCells(ITEMS, DIM, HEADS, cells, 1)
        for cells in {given.cells for given in SHORTLISTS.values()}
    }
    for cells in fitted.values():
        cells.fit(items.numpy(), attention.key.kernel.numpy())
    quantiser = ProductQuantiser(CHANNELS, DIM, SUB_VECTORS, CENTROIDS)
    quantiser.fit([one[:POINTS] for one in catalogue.channels])
    parts = [quantiser.encode(one, at) for at, one in enumerate(channels)]
    codes = tf.stack(parts, axis=1)  # [V, M, B]

    def row(candidates: tf.Tensor) -> tf.Tensor:
        return tf.zeros([tf.size(candidates)], tf.int64)

    def attend(
        events: tf.Tensor, candidates: tf.Tensor, vectors: tf.Tensor, **more: Any
    ) -> tf.Tensor:
        mask, asked = tf.ones(tf.shape(events)), tf.gather(items, candidates)
        return attention(asked, vectors, mask, row(candidates), **more)

    def published(events: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
        return attend(events, candidates, fuse([tf.gather(one, events) for one in channels]))

    def split(vectors: tf.Tensor) -> tf.Tensor:
        return tf.transpose(tf.reshape(vectors, [-1, HEADS, DIM // HEADS]), [1, 0, 2])  # [H, n, c]

    def folded(events: tf.Tensor, candidates: tf.Tensor, search: Any = None) -> tf.Tensor:
        query = split(attention.query(tf.gather(items, candidates))) / (DIM / HEADS) ** 0.5
        if search is None:
            key = split(tf.gather(keys, events[0]))
            search = tf.matmul(query, key, transpose_b=True)[None]
        found, _ = best_events(search, tf.ones(tf.shape(events)), TOP_K)  # [1, H, C, K]
        index = (
            tf.gather(events[0], found[0]) * HEADS + tf.range(HEADS, dtype=tf.int64)[:, None, None]
        )
        key, value = (
            tf.gather(tf.reshape(table, [-1, DIM // HEADS]), index) for table in (keys, values)
        )
        weights = tf.nn.softmax(tf.einsum("hcd,hckd->hck", query, key))
        read = tf.einsum("hck,hckd->chd", weights, value)
        return attention.output_projection(tf.reshape(read, [-1, DIM]))

    def twin(events: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
        return attend(events, candidates, tf.gather(items, events))

    def eta(events: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
        vectors = tf.gather(items, events)
        search = hashes.similarity(tf.gather(items, candidates), vectors, row(candidates))
        return attend(events, candidates, vectors, search=search)

    def sdim(events: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
        mask, vectors = tf.ones(tf.shape(events)), tf.gather(items, events)
        return pooling(tf.gather(items, candidates), vectors, mask, row(candidates))

    def by_codes(events: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
        vectors = attention.search_vectors(tf.gather(items, candidates)) / CHANNELS**0.5
        vectors = tf.stack([vectors @ tf.transpose(p.kernel) for p in projections], axis=2)
        tables = tf.reshape(quantiser.tables(vectors), [1, -1, CHANNELS, SUB_VECTORS, CENTROIDS])
        scores = look_up_scores(tables, tf.gather(codes, events))  # [1, C H, L]
        scores = tf.reshape(scores, [1, -1, HEADS, tf.shape(events)[1]])
        return tf.transpose(scores, [0, 2, 1, 3])

    def codes_alone(events: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
        return folded(events, candidates, by_codes(events, candidates))

    def exact_positions(events: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
        query = split(attention.query(tf.gather(items, candidates)))
        scores = tf.matmul(query, split(tf.gather(keys, events[0])), transpose_b=True)
        return best_events(scores[None], tf.ones(tf.shape(events)), TOP_K)[0]

    def shortlist(given: Shortlist) -> Search:
        cells = CoarseCells(ITEMS, DIM, HEADS, given.cells, given.events, MORE_EVENTS)
        cells.set_weights(fitted[given.cells].get_weights())

        def find(events: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
            queries = attention.queries(tf.gather(items, candidates))
            return cells(queries, row(candidates), events, tf.ones(tf.shape(events)))[0]

        return find

    def seminar(given: Shortlist) -> Search:
        find = shortlist(given)

        def search(events: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
            few = tf.gather(events, find(events, candidates), batch_dims=1)
            scores = by_codes(few, candidates) if given.find == "codes" else None
            whole = given.find == "all"
            return attend(few, candidates, tf.gather(items, few), search=scores, whole=whole)

        return search

    made = {
        "call": lambda events, candidates: tf.gather(items, candidates),
        "exact_published": published,
        "exact_folded": folded,
        "twin": twin,
        "eta": eta,
        "sdim": sdim,
        "codes": codes_alone,
        **{name: seminar(given) for name, given in SHORTLISTS.items()},
    }
    spec = [tf.TensorSpec([1, None], tf.int64), tf.TensorSpec([None], tf.int64)]
    lists = {name: shortlist(given) for name, given in SHORTLISTS.items()}
    lists["exact_published"] = exact_positions

    def traced(given: dict[str, Search]) -> dict[str, Search]:
        return {name: tf.function(one, spec, autograph=False) for name, one in given.items()}

    return traced(made), traced(lists)


def bytes_per_event(model: str, length: int, candidates: int) -> float:
    """Returns the bytes that a search reads of an event, on average over the history."""
    vector, code = 4 * DIM, CHANNELS * SUB_VECTORS
    if given := SHORTLISTS.get(model):
        of_list = code + vector if given.find == "codes" else vector
        return 2 + of_list * given.length(length, candidates) / length
    return {"call": 0, "exact_published": CHANNELS * vector, "codes": code}.get(model, vector)


def measure(
    made: Mapping[str, Search],
    lists: Mapping[str, Search],
    events: np.ndarray,
    candidates: np.ndarray,
    repetitions: int,
) -> dict[str, dict[str, float]]:
    """Measures all searches on one request, taking turns; see `searches`."""
    exact = made["exact_published"](events, candidates).numpy()
    seconds: dict[str, list[float]] = {name: [] for name in made}
    found = {name: search(events, candidates).numpy() for name, search in made.items()}
    for _ in range(repetitions):
        for name, search in made.items():
            search(events, candidates)  # so that what others have read is out of the caches
            start = time.process_time()
            search(events, candidates)
            seconds[name].append(time.process_time() - start)
    best = lists["exact_published"](events, candidates).numpy()
    values = {}
    for name, mine in seconds.items():
        error = np.linalg.norm(found[name] - exact) / np.linalg.norm(exact)
        values[name] = {
            "ms_per_request": 1e3 * statistics.median(mine),
            "over_published": _ratio(mine, seconds["exact_published"]),
            "over_folded": _ratio(mine, seconds["exact_folded"]),
            "bytes_per_event": bytes_per_event(name, events.shape[1], len(candidates)),
        } | ({} if name in ("call", "eta", "sdim") else {"error": float(error)})
        if name in SHORTLISTS:
            read = np.isin(best, lists[name](events, candidates).numpy())
            values[name]["recall"] = float(read.mean())
    return values


def _ratio(mine: list[float], others: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(mine, others, strict=True))


def main() -> None:
    """Measures what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--candidates", type=int, nargs="+", default=[1, 100])
    parser.add_argument("--repetitions", type=int, default=11)
    parser.add_argument("--fresh", action="store_true", help="forget earlier runs")
    options = parser.parse_args()
    results = Results(NAME, f"python -m benchmarks.{NAME}", options.fresh)
    settings = {
        "shortlists": {name: asdict(given) for name, given in SHORTLISTS.items()},
        "more_events": MORE_EVENTS,
        "repetitions": options.repetitions,
    }

    import tensorflow as tf  # noqa: I001

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    catalogue = Catalogue()
    made, lists = searches(catalogue)
    for length in options.lengths:
        for number in options.candidates:
            key = {"length": length, "candidates": number}
            if all(results.find({"model": name} | key, 0, settings) for name in made):
                continue
            started, load = time.perf_counter(), os.getloadavg()[0]
            events, candidates = catalogue.request(length, number)
            values = measure(made, lists, events, candidates, options.repetitions)
            seconds = (time.perf_counter() - started) / len(made)
            for name, value in values.items():
                value["load"] = load
                results.measure({"model": name} | key, 0, value.copy, settings, seconds)
    print(render(results.path, ("model", *key, *MEASURED)))


if __name__ == "__main__":
    main()
