"""An independent computation of every metric, by the definitions, one user at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Sequence

from tests.tfx_pipeline.evaluation.lists import User


def expected(
    users: Sequence[User],
    ks: Sequence[int],
    list_k: int,
    candidates: int,
    counts: dict[str, float],
    targets_of: Callable[[User], Sequence[str]] = lambda user: user.targets,
    popular: Callable[[User], Sequence[str]] = lambda user: (),
    neighbours: Callable[[User], Sequence[str]] = lambda user: (),
) -> dict[str, float]:
    """Every metric over `users`, of whom only `targets_of` count; beside what else is listed."""
    asked = [(user, set(targets_of(user))) for user in users]
    evaluated = [(user, targets) for user, targets in asked if targets]
    metrics = {
        "users": float(len(evaluated)),
        "users_without_target": float(len(asked) - len(evaluated)),
    }

    def rank(prefix: str, listed: Callable[[User], Sequence[str]], k: int) -> None:
        pairs = [(listed(user)[:k], targets) for user, targets in evaluated]
        figures = {
            "hr": [float(any(t in targets for t in items)) for items, targets in pairs],
            "recall": [len({*items} & targets) / min(k, len(targets)) for items, targets in pairs],
            "mrr": [_reciprocal(items, targets) for items, targets in pairs],
            "ndcg": [_ndcg(items, targets, k) for items, targets in pairs],
        }
        for name, values in figures.items():
            metrics[f"{prefix}{name}@{k}"] = sum(values) / len(values)

    if evaluated:
        for k in ks:
            rank("", lambda user: user.recommended, k)
            rank("most_popular/", popular, k)
            rank("neighbours/", neighbours, k)
        metrics["over_neighbours/hr@10"] = metrics["hr@10"] - metrics["neighbours/hr@10"]
        total = sum(len(targets) for _, targets in evaluated)
        repeated = sum(t in user.history for user, targets in evaluated for t in targets)
        metrics["repeat_share"] = repeated / total
    shown = [(user, item) for user, _ in asked for item in user.recommended[:list_k]]
    if shown:
        metrics[f"coverage@{list_k}"] = len({item for _, item in shown}) / candidates
        logs = [math.log10(1 + counts.get(item, 0.0)) for _, item in shown]
        metrics[f"popularity@{list_k}"] = sum(logs) / len(logs)
        metrics[f"seen@{list_k}"] = sum(i in u.history for u, i in shown) / len(shown)
    return metrics


def _ndcg(items: Sequence[str], targets: set[str], k: int) -> float:
    gain = sum(1 / math.log2(place + 2) for place, item in enumerate(items) if item in targets)
    return gain / sum(1 / math.log2(place + 2) for place in range(min(k, len(targets))))


def _reciprocal(items: Sequence[str], targets: set[str]) -> float:
    for place, item in enumerate(items):
        if item in targets:
            return 1 / (place + 1)
    return 0.0
