"""Answers of a cascade."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from serving.client.errors import ServingError
from serving.client.types import Ranking
from serving.client.types import Recommendation


class RankedItem(NamedTuple):
    """One recommendation.

    Attributes:
        id: the item, `type:id`.
        retrieval_score: the retrieval model's score.
        ranking_score: the score of the ranker's first head; `None` without a ranking.
    """

    id: str
    retrieval_score: float
    ranking_score: float | None


@dataclass(frozen=True)
class CascadeAnswer:
    """Ranked recommendations for one user.

    Attributes:
        items: best first by the ranker, or by both scores where the cascade weighs the
            retrieval's, too; by the retrieval alone where the ranker did not answer.
        retrieval: all that was fetched, with the version that answered.
        ranking: the ranker's order of all of it, with every head; `None` where it did not
            answer, or nothing was fetched.
        error: why the ranker did not answer; `None` if it did.
    """

    items: tuple[RankedItem, ...]
    retrieval: Recommendation
    ranking: Ranking | None
    error: ServingError | None = None

    @property
    def ids(self) -> tuple[str, ...]:
        """The items' ids, best first."""
        return tuple(item.id for item in self.items)

    @property
    def is_fallback(self) -> bool:
        """True if this is the retrieval's order because the ranker did not answer."""
        return self.error is not None

    @property
    def reason(self) -> str:
        """Reason why the ranker did not answer; empty if it did."""
        return "" if self.error is None else str(self.error)

    def __len__(self) -> int:
        return len(self.items)


def join(
    fetched: Sequence[Recommendation],
    rankings: Sequence[Ranking],
    error: ServingError | None,
    k: int,
    retrieval_weight: float = 0.0,
) -> list[CascadeAnswer]:
    """Returns the best k of each row with both scores.

    Args:
        fetched: what was fetched, B rows.
        rankings: their order by the ranker, B rows; none if it did not answer.
        error: why it did not.
        k: how many items of each row to keep.
        retrieval_weight: how much the retrieval's score counts; see `CascadeBase`.
    """
    found = []
    for row, retrieval in enumerate(fetched):
        ranking = rankings[row] if rankings else None
        scores = dict(zip(retrieval.ids, retrieval.scores.tolist(), strict=True))
        if ranking is None:
            items = [RankedItem(name, score, None) for name, score in scores.items()]
        else:
            ranked = zip(ranking.ids, ranking.scores.tolist(), strict=True)
            items = [RankedItem(name, scores[name], score) for name, score in ranked]
            if retrieval_weight:
                retrieved = [scores[name] for name in ranking.ids]
                joint = joint_scores(ranking.scores, retrieved, retrieval_weight)
                items = [items[position] for position in np.argsort(-joint, kind="stable")]
        found.append(CascadeAnswer(tuple(items[:k]), retrieval, ranking, error))
    return found


def joint_scores(
    ranking: npt.ArrayLike, retrieval: npt.ArrayLike, retrieval_weight: float
) -> npt.NDArray[np.float64]:
    """Returns log(p / (1 - p)) + w * retrieval score, by which a cascade orders.

    Args:
        ranking: [..., n], probabilities p of the ranker.
        retrieval: [..., n], scores of the retrieval.
        retrieval_weight: w, not negative.

    Returns:
        [..., n].
    """
    p = np.clip(np.asarray(ranking, np.float64), 1e-12, 1.0 - 1e-12)
    score: npt.NDArray[np.float64] = np.log(p / (1.0 - p))
    return score + retrieval_weight * np.asarray(retrieval, np.float64)
