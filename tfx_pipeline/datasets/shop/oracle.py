"""Metrics of the best possible model on a simulated shop, and where they come from.

    python -m tfx_pipeline.datasets.shop.oracle DIR [--json]

prints how well clicks on shown things can be foretold, which parts of the
utility say how much, and how well the next choice among all things can be.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfx_pipeline.datasets.shop import utility
from tfx_pipeline.datasets.shop.expectation import LEVELS
from tfx_pipeline.datasets.shop.expectation import expected_choices
from tfx_pipeline.datasets.shop.exposure import rank_of
from tfx_pipeline.datasets.shop.shelf import item_shelf
from tfx_pipeline.datasets.shop.shelf import video_shelf
from tfx_pipeline.datasets.shop.truth import POSITIVE
from tfx_pipeline.datasets.shop.truth import Truth
from tfx_pipeline.datasets.shop.users import Users
from tfx_pipeline.datasets.shop.world import Floats
from tfx_pipeline.datasets.shop.world import Ints

KINDS = tuple(POSITIVE)
_BLOCK = 64
_CUTS = (10, 50, 100)


class Oracle:
    """Answers with the truth what models have to learn.

    Attributes:
        truth: The world, the users, and the state behind the kept pages.
    """

    def __init__(self, directory: str | Path) -> None:
        """Opens the truth beside a log; see `Truth`."""
        self.truth = Truth(directory)
        self._shelves = {
            "item": item_shelf(self.truth.world),
            "video": video_shelf(self.truth.world),
        }

    def clicks(self, kind: str) -> dict[str, Any]:
        """Measures how well choices on shown pages can be foretold, and from what.

        Args:
            kind: `item` (clicks) or `video` (watches).

        Returns:
            `auc` with the truth known; `auc_without` each part; `auc_images`
            of the looks alone for visual users and the others; the `share` of
            each part in the variance of the utility (covariance with the sum),
            over all users, visual ones and the others; rates and calibration.
        """
        seen = self.truth.impressions(kind)
        valid = seen.things >= 0
        chosen = seen.chosen[valid]
        parts = self.truth.parts(kind, seen.page, seen.things)
        visual = (self.truth.users.visual[self.truth.pages["user"][seen.page]] > 0)[:, None]
        groups = {"all": valid, "visual": valid & visual, "not_visual": valid & ~visual}
        best = utility.choice(kind, parts)[valid]
        position = np.broadcast_to(np.arange(valid.shape[1]), valid.shape)[valid]
        looks = self.looks(kind, seen.page, seen.things)
        return {
            "impressions": int(valid.sum()),
            "rate": float(chosen.mean()),
            "expected_rate": float(best.mean()),
            "auc": auc(chosen, best),
            "auc_position": auc(chosen, -position.astype(np.float64)),
            "auc_without": {
                name: auc(chosen, utility.choice(kind, _without(parts, name))[valid])
                for name in utility.PARTS
                if parts[name].any()
            },
            "auc_images": {name: auc(seen.chosen[of], looks[of]) for name, of in groups.items()},
            "share": {name: _shares(parts, of) for name, of in groups.items()},
        }

    def looks(self, kind: str, page: Ints, things: Ints, users: Users | None = None) -> Floats:
        """Returns how the looks of things [n, C] fit the style that is liked on pages [n].

        As the style's part of the utility would be if every user were equally
        visual, so that it can be asked whether it matters to those who are not.
        """
        users = users or self.truth.users
        users = dataclasses.replace(users, visual=np.ones_like(users.visual))
        return self.truth.parts(kind, page, things, users)["style"]

    def ranking(self, kind: str, requests: int = 500) -> dict[str, dict[str, float]]:
        """Measures how well users' last choices rank among everything that is out.

        Args:
            kind: `item` (clicks) or `video` (watches).
            requests: Number of users whose last choice is ranked.

        Returns:
            HR@K, NDCG@10 and MRR for each of `expectation.LEVELS`.
        """
        page, target = self.truth.last_choices(kind, requests)
        result = {}
        for level in LEVELS:
            ranks = [
                rank_of(
                    expected_choices(
                        self.truth, self._shelves[kind], kind, page[s : s + _BLOCK], level
                    ),
                    target[s : s + _BLOCK],
                )
                for s in range(0, len(page), _BLOCK)
            ]
            result[level] = _ranking_metrics(np.concatenate(ranks))
        return result

    def report(self, requests: int = 500) -> dict[str, Any]:
        """Returns everything that is measured, as JSON has it."""
        return {
            kind: {"clicks": self.clicks(kind), "ranking": self.ranking(kind, requests)}
            for kind in KINDS
        }


def auc(chosen: np.ndarray, score: Floats) -> float:
    """Returns the area under the ROC curve; ties count half.

    Args:
        chosen: [n] booleans.
        score: [n] scores.

    Returns:
        The area, NaN unless both classes are there.
    """
    positives = int(chosen.sum())
    if positives in (0, len(chosen)):
        return float("nan")
    _, index, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = np.cumsum(count) - (count - 1) / 2  # mean rank of equal scores, from 1
    total = rank[index][chosen].sum() - positives * (positives + 1) / 2
    return float(total / (positives * (len(chosen) - positives)))


def _without(parts: dict[str, Floats], name: str) -> dict[str, Floats]:
    return {**parts, name: np.full_like(parts[name], parts[name].mean())}


def _shares(parts: dict[str, Floats], of: np.ndarray) -> dict[str, float]:
    """Returns cov(part, U) / var(U) for each part; they sum to one."""
    total = utility.total(parts)[of]
    total = total - total.mean()
    return {
        name: float((values[of] * total).mean() / (total * total).mean())
        for name, values in parts.items()
    }


def _ranking_metrics(rank: Ints) -> dict[str, float]:
    metrics = {f"hr@{cut}": float((rank < cut).mean()) for cut in _CUTS}
    metrics["ndcg@10"] = float(np.where(rank < 10, 1 / np.log2(rank + 2), 0).mean())
    metrics["mrr"] = float((1 / (rank + 1)).mean())
    return metrics


def tables(report: dict[str, Any]) -> str:
    """Renders a report as Markdown tables."""
    lines = ["| | items (clicks) | videos (watches) |", "|---|---|---|"]

    def row(name: str, *path: str) -> None:
        values = []
        for kind in KINDS:
            value: Any = report[kind]
            for key in path:
                value = value.get(key, {}) if isinstance(value, dict) else value
            values.append(f"{value:.3f}" if isinstance(value, float) else "")
        lines.append(f"| {name} | {values[0]} | {values[1]} |")

    row("share of impressions that are chosen", "clicks", "rate")
    row("the same, expected by the oracle", "clicks", "expected_rate")
    row("**oracle AUC**", "clicks", "auc")
    row("AUC of the position alone", "clicks", "auc_position")
    for name in utility.PARTS:
        row(f"oracle AUC without {name}", "clicks", "auc_without", name)
    for group in ("all", "visual", "not_visual"):
        for name in utility.PARTS:
            row(f"utility variance, {group} users: {name}", "clicks", "share", group, name)
        row(f"AUC of looks alone, {group} users", "clicks", "auc_images", group)
    for level in LEVELS:
        for metric in ("hr@10", "hr@50", "ndcg@10"):
            row(f"{metric}, knowing {level}", "ranking", level, metric)
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the report of a log; `argv` are the arguments, the process's by default."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("log_dir", type=Path, help="event log that `prepare_shop` made")
    parser.add_argument("--requests", type=int, default=500, help="last choices to rank")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args(argv)
    report = Oracle(args.log_dir).report(args.requests)
    print(json.dumps(report, indent=2) if args.json else tables(report))


if __name__ == "__main__":
    main()
