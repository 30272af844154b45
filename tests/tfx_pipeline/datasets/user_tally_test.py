"""The tally agrees with plain counting, in memory and through files."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tfx_pipeline.datasets import user_tally
from tfx_pipeline.datasets.row_hash import combine
from tfx_pipeline.datasets.user_tally import Held
from tfx_pipeline.datasets.user_tally import UserTally


@pytest.mark.parametrize("in_memory", [1 << 20, 100])
def test_tally_agrees_with_counting(monkeypatch: pytest.MonkeyPatch, in_memory: int) -> None:
    monkeypatch.setattr(user_tally, "_IN_MEMORY_BYTES", in_memory)
    rng = np.random.default_rng(0)
    n = 20_000
    users = combine(rng.zipf(1.4, n))
    times = rng.integers(0, 1_000, n)
    places = combine(users, rng.integers(0, 50, n))
    events = combine(places, rng.integers(0, 2, n))
    counts = rng.random(n) < 0.7
    targets = counts & (rng.random(n) < 0.5)
    splits = [Held(3), Held(0, 2, 600, 800), Held(0, 2, shares=(0.2, 0.1))]
    with UserTally(heavy_events=100) as tally:
        for start in range(0, n, 999):
            part = slice(start, start + 999)
            columns = (users, times, events, places, np.arange(n), counts, targets)
            tally.add(*(column[part] for column in columns))
        tally.finish(splits)
    assert tally.events == n
    assert tally.duplicates == n - len(set(events.tolist()))
    again = _not_first(events)
    assert tally.duplicate_rows == np.flatnonzero(again)[:3].tolist()
    kept = np.flatnonzero(~again)
    users, times, places, counts, targets = (
        column[kept] for column in (users, times, places, counts, targets)
    )
    repeats = _not_first(places)
    assert tally.repeats == repeats.sum()
    assert tally.repeat_rows == kept[repeats][:3].tolist()
    active = Counter(users[counts].tolist())
    everyone = set(users.tolist())
    single = {user for user in everyone if active[user] <= 1}
    assert (tally.users, tally.single) == (len(everyone), len(single))
    user_of = dict(zip(kept.tolist(), users.tolist(), strict=True))
    assert {user_of[row] for row in tally.single_rows} <= single
    assert [count for _, count in tally.heavy] == sorted(
        (count for count in active.values() if count >= 100), reverse=True
    )
    assert all(active[user_of[row]] == count for row, count in tally.heavy)
    aimed = Counter(users[targets].tolist())
    last_out = sum(count >= 3 for count in aimed.values())
    held = []
    for start, end in ((600, 800), (800, 1_000)):
        before = Counter(users[counts & (times < start)].tolist())
        inside = set(users[targets & (times >= start) & (times < end)].tolist())
        held.append(sum(before[user] >= 2 for user in inside))
    assert tally.held == [
        (last_out, last_out),
        tuple(held),
        _shared_out(users, times, counts, targets),
    ]


def _shared_out(
    users: np.ndarray, times: np.ndarray, counts: np.ndarray, targets: np.ndarray
) -> tuple[int, int]:
    """Users with two events before a fifth of their rows, or before the tenth after it."""
    rows: dict[int, list[int]] = {}
    for row in np.argsort(times, kind="stable").tolist():
        rows.setdefault(int(users[row]), []).append(row)
    found = [0, 0]
    for mine in rows.values():
        test = len(mine) - round(len(mine) * 0.1)
        validation = test - round(len(mine) * 0.2)
        for split, (begin, end) in enumerate([(validation, test), (test, len(mine))]):
            found[split] += counts[mine[:begin]].sum() >= 2 and targets[mine[begin:end]].any()
    return found[0], found[1]


def _not_first(values: np.ndarray) -> np.ndarray:
    seen: set[int] = set()
    return np.array([value in seen or bool(seen.add(value)) for value in values.tolist()])
