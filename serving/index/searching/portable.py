"""ScaNN's tree as plain TensorFlow operations: leaf-contiguous blocks.

The candidates of a leaf lie side by side in blocks of equal size, the last of
each leaf padded. A query scores the leaves' centres, gathers the blocks of the
best leaves, and scores what is in them exactly: a few large operations of
fixed shape, which stock TF Serving runs on CPU and GPU and XLA compiles.

The number of blocks gathered is fixed: enough for the best `leaves_to_search`
leaves of every one of 4,096 candidates asked as queries. Where the best leaves
are small, further ones are searched; the rare query with larger ones than any
of these loses the end of its last leaf. (Enough for the largest leaves there
are would be half as many blocks again, for nothing: they are seldom the best
together.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from serving.index.files import ALWAYS
from serving.index.searching.quantised_vectors import FLOAT32
from serving.index.searching.quantised_vectors import QuantisedVectors
from serving.index.searching.searcher import Searcher
from serving.index.searching.searcher import combine
from serving.index.searching.searcher import hide_later
from serving.index.searching.searcher import mask_columns
from serving.index.searching.searcher import merge_interests
from serving.index.tree.scann_files import Partition

_BLOCK_SIZES = (8, 16, 32, 64, 128, 256, 512)
_SAMPLE = 4_096  # candidates asked as queries


@dataclass(frozen=True)
class Layout:
    """Layout of the candidates in blocks.

    Attributes:
        slots: Slots of a block.
        leaf: [C] int32, the leaf of each block.
        row: [C, slots] int32, the candidate in each slot, -1 in padding.
        slot: [N] int32, the position of each candidate in `row`, flattened.
        probes: Blocks gathered for one query.
    """

    slots: int
    leaf: np.ndarray
    row: np.ndarray
    slot: np.ndarray
    probes: int


def lay_out(leaf: np.ndarray, leaves: int, searched: np.ndarray, at_least: int) -> Layout:
    """Chooses a block size and places the candidates.

    Args:
        leaf: [N] int32, the leaf of each candidate.
        leaves: L.
        searched: [S, l] int, leaves that some queries search; every one of
            these queries gets all the blocks of its leaves.
        at_least: Slots that are gathered at least.
    """
    members = np.bincount(leaf, minlength=leaves)
    costs = []
    for slots in _BLOCK_SIZES:
        blocks = -(-members // slots)
        # A slot costs a gather and a product, a block a place in a sort.
        costs.append(blocks[searched].sum(axis=1).max() * (slots + 1) + 0.3 * blocks.sum())
    slots = _BLOCK_SIZES[int(np.argmin(costs))]
    blocks = -(-members // slots)  # [L]
    total = int(blocks.sum())
    probes = max(int(blocks[searched].sum(axis=1).max()), -(-at_least // slots))
    order = np.argsort(leaf, kind="stable")
    rank = np.arange(len(leaf)) - np.repeat(np.cumsum(members) - members, members)
    first = (np.cumsum(blocks) - blocks) * slots  # [L]
    slot = np.empty(len(leaf), np.int32)
    slot[order] = first[leaf[order]] + rank
    row = np.full(total * slots, -1, np.int32)
    row[slot] = np.arange(len(leaf))
    return Layout(
        slots=slots,
        leaf=np.repeat(np.arange(leaves, dtype=np.int32), blocks),
        row=row.reshape(total, slots),
        slot=slot,
        probes=min(total, probes),
    )


def best_leaves(queries: np.ndarray, centres: np.ndarray, count: int) -> np.ndarray:
    """Returns the leaves that queries search: [S, d] and [L, d] float32 -> [S, count] int."""
    return np.argpartition(-(queries @ centres.T), count - 1, axis=1)[:, :count]


class PortableIndex(Searcher):
    """Searches the leaves of a trained tree.

    Args:
        vectors: [N, d] float32.
        partition: The tree that ScaNN trained over them.
        leaves_to_search: Leaves that a query searches at least; see above.
        k: Results of a query. So many leaves are searched that they hold 2 k in the
            mean; where they hold fewer than k that are not excluded, all candidates
            are scored for each query of the chunk.
        available_from: [N] int64, microseconds, or None.
        chunk_mb: MiB that the search of one part of a batch takes. Parts of 8
            stay in a CPU's cache; a GPU wants large ones.
        vector_type: Type of the stored vectors; see `QuantisedVectors`.

    Raises:
        ValueError: Vectors and tree do not fit.
    """

    def __init__(
        self,
        vectors: np.ndarray,
        partition: Partition,
        leaves_to_search: int,
        k: int,
        available_from: np.ndarray | None = None,
        chunk_mb: int = 8,
        vector_type: str = FLOAT32,
    ) -> None:
        leaves, dim = partition.centres.shape
        if partition.leaf.shape != vectors.shape[:1] or dim != vectors.shape[1]:
            raise ValueError(
                f"The tree is over {len(partition.leaf)} candidates of {dim} dimensions, and the "
                f"vectors are {list(vectors.shape)}: they belong to different indexes."
            )
        leaves_to_search = min(leaves, max(leaves_to_search, -(-2 * k * leaves // len(vectors))))
        sample = vectors[:: -(-len(vectors) // _SAMPLE)]
        searched = best_leaves(sample, partition.centres, leaves_to_search)
        layout = lay_out(partition.leaf, leaves, searched, min(k, len(vectors)))
        cells = layout.probes * layout.slots * (dim + 2)
        budget = chunk_mb * (1 << 18)
        super().__init__("portable_index", len(vectors), k, available_from, cells, budget)
        self.layout = layout
        total = layout.row.shape[0]
        blocks = np.zeros((total * layout.slots, dim), np.float32)
        blocks[layout.slot] = vectors

        def constant(value: np.ndarray, name: str) -> tf.Variable:
            return tf.Variable(value, trainable=False, name=name)

        self.centres = constant(partition.centres, "centres")  # [L, d]
        self.block_leaf = constant(layout.leaf, "block_leaf")  # [C]
        self.blocks = QuantisedVectors(
            blocks.reshape(total, layout.slots, dim), vector_type, "blocks"
        )
        self.slot_row = constant(layout.row.reshape(-1), "slot_row")  # [C * slots]
        self.row_slot = constant(layout.slot, "row_slot")  # [N]
        padding = np.where(layout.row < 0, -np.inf, 0.0).astype(np.float32)
        self.padding = constant(padding, "padding")  # [C, slots]
        if available_from is not None:
            times = np.full(layout.row.size, ALWAYS, np.int64)
            times[layout.slot] = available_from
            self.available_from = constant(times.reshape(layout.row.shape), "available_from")

    def search_chunk(
        self,
        query: tf.Tensor,
        excluded: tf.Tensor,
        request_time: tf.Tensor,
        weight: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Searches one chunk; see `Searcher.search`.

        Each of K interests finds its own best candidates. In a mixture each brings twice as
        many, and what any of them found is scored by all: the best of a mixture may be the very
        best of none.
        """
        if query.shape.rank == 2:
            return self._search_vectors(query, excluded, request_time, self.found)
        batch, interests = tf.shape(query)[0], tf.shape(query)[1]
        most = min(self.size, self.layout.probes * self.layout.slots)
        found = self.found if weight is None else min(most, 2 * self.found)
        rows, scores = self._search_vectors(
            tf.reshape(query, [batch * interests, query.shape[2]]),
            tf.repeat(excluded, interests, axis=0),
            tf.repeat(request_time, interests),
            found,
        )
        wide = [batch, interests * found]
        rows, scores = tf.reshape(rows, wide), tf.reshape(scores, wide)
        if weight is not None:
            mixed = combine(
                tf.einsum("bkd,bmd->bkm", query, self.vectors_at(tf.maximum(rows, 0))), weight
            )
            scores = tf.where(scores == -np.inf, -np.inf, mixed)
        return merge_interests(rows, scores, self.found)

    def vectors_at(self, rows: tf.Tensor) -> tf.Tensor:
        """Looks vectors of candidates up; see `Searcher.vectors_at`."""
        slot = tf.gather(self.row_slot, rows)
        slots = self.layout.slots
        return self.blocks.at(tf.stack([slot // slots, slot % slots], -1))

    def _search_vectors(
        self, query: tf.Tensor, excluded: tf.Tensor, request_time: tf.Tensor, found: int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns rows and scores [B, found]; all candidates are scored where few are left."""
        slot = tf.where(excluded < 0, -1, tf.gather(self.row_slot, tf.maximum(excluded, 0)))
        rows, scores = self._search_leaves(query, slot, request_time, found)
        short = tf.reduce_any(scores[:, self.found - 1] == -np.inf)
        return tf.cond(
            short,
            lambda: self._search_everything_for_each(query, slot, request_time, found),
            lambda: (rows, scores),
        )

    def _search_leaves(
        self, query: tf.Tensor, excluded_slot: tf.Tensor, request_time: tf.Tensor, found: int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        probes, slots = self.layout.probes, self.layout.slots
        leaf_scores = tf.matmul(query, self.centres, transpose_b=True)  # [B, L]
        block_scores = tf.gather(leaf_scores, self.block_leaf, axis=1)  # [B, C]
        _, chosen = tf.math.top_k(block_scores, probes)  # [B, P]
        scores = self.blocks.products(chosen, query) + tf.gather(self.padding, chosen)
        if self.dated:
            times = tf.gather(self.available_from, chosen)
            scores = hide_later(scores, times, request_time[:, None, None])
        scores = tf.reshape(scores, [-1, probes * slots])
        scores = mask_columns(scores, self._columns(chosen, excluded_slot))
        scores, best = tf.math.top_k(scores, found)
        block = tf.gather(chosen, best // slots, batch_dims=1)
        return tf.gather(self.slot_row, block * slots + best % slots), scores

    def _columns(self, chosen: tf.Tensor, slot: tf.Tensor) -> tf.Tensor:
        """Places slots [B, M] among the chosen blocks [B, P]; -1 where a block was not chosen."""
        slots = self.layout.slots
        batch = tf.shape(chosen)[0]
        row = tf.broadcast_to(tf.range(batch)[:, None], tf.shape(chosen))
        order = tf.broadcast_to(tf.range(self.layout.probes)[None], tf.shape(chosen))
        nowhere = tf.fill([batch, self.layout.row.shape[0]], -1)
        chosen_at = tf.stack([row, chosen], -1)
        position = tf.tensor_scatter_nd_update(nowhere, chosen_at, order)  # [B, C]
        named = tf.maximum(slot, 0)
        probe = tf.gather(position, named // slots, batch_dims=1)  # [B, M]
        return tf.where((slot < 0) | (probe < 0), -1, probe * slots + named % slots)

    def _search_everything_for_each(
        self, query: tf.Tensor, excluded_slot: tf.Tensor, request_time: tf.Tensor, found: int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores all candidates, query by query: for a whole chunk they could fill a GPU."""

        def one(given: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, tf.Tensor]:
            one_query, slots, time = (values[None] for values in given)
            rows, scores = self._search_everything(one_query, slots, time, found)
            return rows[0], scores[0]

        result: tuple[tf.Tensor, tf.Tensor] = tf.map_fn(
            one,
            (query, excluded_slot, request_time),
            fn_output_signature=(tf.int32, tf.float32),
            parallel_iterations=1,
        )
        return result

    def _search_everything(
        self, query: tf.Tensor, excluded_slot: tf.Tensor, request_time: tf.Tensor, found: int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        scores = self.blocks.all_products(query) + tf.reshape(self.padding, [1, -1])
        if self.dated:
            times = tf.reshape(self.available_from, [1, -1])
            scores = hide_later(scores, times, request_time[:, None])
        scores, best = tf.math.top_k(mask_columns(scores, excluded_slot), found)
        return tf.gather(self.slot_row, best), scores
