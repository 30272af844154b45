"""Neighbour lists by two loops over each user's events, in Python floats."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from collections.abc import Sequence

from serving.sources.config import CountingConfig

Event = tuple[str, str, int]  # entity, type, microseconds
DAY = 86_400_000_000


def count(
    users: Mapping[str, Sequence[Event]], config: CountingConfig
) -> tuple[dict[str, int], dict[str, dict[str, float]]]:
    """Returns counted events by entity, and weights by entity and neighbour, uncut."""
    histories = {}
    for user, events in users.items():
        counted = [e for e in events if "*" in config.event_types or e[1] in config.event_types]
        histories[user] = counted[-config.user_events :]
    newest = max(time for events in histories.values() for _, _, time in events)
    popular = Counter(entity for events in histories.values() for entity, _, _ in events)
    sums: dict[tuple[str, str], float] = Counter()

    def aged(weight: float, time: int) -> float:
        if config.half_life_days is None:
            return weight
        return weight * 0.5 ** ((newest - time) / DAY / config.half_life_days)

    for events in histories.values():
        for i, (a, _, _) in enumerate(events):
            for j in range(i + 1, len(events)):
                b, _, time = events[j]
                if j - i <= config.window:
                    weight = aged((j - i) ** -config.gap_power, time)
                    sums[a, b] += weight
                    sums[b, a] += config.backwards * weight
        last = {entity: time for entity, _, time in events}
        kept = sorted(last, key=lambda one: max(i for i, e in enumerate(events) if e[0] == one))
        kept = kept[-config.cooccurrence_events :]
        for i, a in enumerate(kept):
            for b in kept[i + 1 :]:
                weight = aged(config.cooccurrence, max(last[a], last[b]))
                sums[a, b] += weight
                sums[b, a] += weight
    weights: dict[str, dict[str, float]] = {entity: {} for entity in popular}
    for (a, b), total in sums.items():
        if total and ("*" in config.candidate_types or b.split(":")[0] in config.candidate_types):
            root = math.sqrt((popular[a] + config.damping) * (popular[b] + config.damping))
            weights[a][b] = total / root
    return dict(popular), weights
