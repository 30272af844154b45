"""ScaNN's own answers on a CPU host, without TensorFlow: embeddings in, candidates out."""

from __future__ import annotations

import math
from collections.abc import Collection
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from serving.index import files
from serving.index.queries import combine
from serving.index.tree import scann_search
from serving.index.tree.scann_files import load_searcher
from transforms.availability import not_yet_available

_WIDER = 4  # times as many candidates, where too few of them may be shown


class ScannRecommender:
    """Searches the index of a pushed version with ScaNN itself.

    The query embeddings are those of the same version's `embed_query`. Candidates are found
    by ScaNN and scored exactly; what is excluded or not available yet makes room for the next.

    Args:
        path: A pushed version, or an index directory.

    Raises:
        FileNotFoundError: There is no index.
        IndexIntegrityError: Its files are not what its description says.
    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        inside = path / files.INDEX_DIR
        self.index = files.open_index(inside if (inside / files.INDEX).is_file() else path)
        self._searcher = load_searcher(self.index.scann_dir)
        self._rows = self.index.rows()
        self._ids = list(self._rows)  # in the order of the rows
        self._available_from = self.index.available_from()

    def recommend(
        self,
        queries: np.ndarray,
        k: int,
        exclude_ids: Sequence[Collection[str]] = (),
        request_time: int | None = None,
        weight: np.ndarray | None = None,
    ) -> list[list[tuple[str, float]]]:
        """Finds the k best candidates of each query.

        Args:
            queries: [B, d] float32, or [B, K, d] for several interests.
            k: Candidates wanted.
            exclude_ids: For each query the ids (`type:id`) that are not shown; none when empty.
            request_time: Microseconds; candidates that are available later are not
                shown. None shows all, as do 0 and less.
            weight: [B, K] float32, the interests' weights in a mixture; None takes
                the best of them.

        Returns:
            For each query ids and scores, best first; fewer than k where there are no more.

        Raises:
            ValueError: `exclude_ids` is not a list for each query.
        """
        if exclude_ids and (
            len(exclude_ids) != len(queries) or any(isinstance(one, str) for one in exclude_ids)
        ):
            raise ValueError(
                f"Expected a list of ids for each of {len(queries)} queries. "
                f"Received: {exclude_ids!r}."
            )
        hidden = [
            [self._rows[name] for name in names if name in self._rows] for names in exclude_ids
        ] or [[]] * len(queries)
        tuned = self.index.info["search"]
        usual = tuned.get("recall_at") or k  # what leaves and depth were tuned for
        wanted = max(usual, k + max(map(len, hidden), default=0))
        while True:
            wanted = min(self.index.size, wanted)
            leaves = self._leaves(wanted / usual)
            depth = max(wanted, math.ceil((tuned["reorder"] or 0) * wanted / usual))
            rows = scann_search.search(
                self._searcher, queries, wanted, depth, leaves, weight, self.index.vectors
            )
            scores = self._scores(queries, rows, weight)  # [B, wanted]
            if self._available_from is not None:
                later = not_yet_available(self._available_from[rows], request_time or 0)
                scores = np.where(later, -np.inf, scores)
            for row, names in enumerate(hidden):
                scores[row, np.isin(rows[row], names)] = -np.inf
            if (np.isfinite(scores).sum(axis=1) >= k).all() or wanted == self.index.size:
                return [self._best(*pair, k) for pair in zip(rows, scores, strict=True)]
            wanted *= _WIDER

    def _leaves(self, times: float) -> int | None:
        """Returns the leaves for so many times the usual candidates; None without a tree."""
        searched = self.index.info["search"]["leaves_to_search"]
        if searched is None:
            return None
        return min(self.index.info["build"]["leaves"], math.ceil(searched * times))

    def _scores(
        self, queries: np.ndarray, rows: np.ndarray, weight: np.ndarray | None
    ) -> np.ndarray:
        """Scores rows [B, n] exactly; -inf where the row is -1."""
        vectors = np.asarray(self.index.vectors[np.maximum(rows, 0)])  # [B, n, d]
        if queries.ndim == 2:
            queries = queries[:, None]
        scores = combine(np.einsum("bkd,bnd->bkn", queries, vectors), weight)
        return np.where(rows < 0, -np.inf, scores)

    def _best(self, rows: np.ndarray, scores: np.ndarray, k: int) -> list[tuple[str, float]]:
        order = np.argsort(-scores, kind="stable")[:k]
        return [(self._ids[rows[i]], float(scores[i])) for i in order if scores[i] > -np.inf]
