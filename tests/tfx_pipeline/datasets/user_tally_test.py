"""The tally agrees with plain counting, in memory and through files."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tfx_pipeline.datasets import user_tally
from tfx_pipeline.datasets.row_hash import combine
from tfx_pipeline.datasets.user_tally import UserTally


@pytest.mark.parametrize("in_memory", [1 << 20, 100])
def test_tally_agrees_with_counting(monkeypatch: pytest.MonkeyPatch, in_memory: int) -> None:
    monkeypatch.setattr(user_tally, "_IN_MEMORY_BYTES", in_memory)
    rng = np.random.default_rng(0)
    n = 20_000
    users = combine(rng.zipf(1.4, n))
    rows = combine(users, rng.integers(0, 50, n))
    counts = rng.random(n) < 0.7
    with UserTally(heavy_events=100) as tally:
        for start in range(0, n, 999):
            part = slice(start, start + 999)
            numbers = np.arange(n)[part]
            tally.add(users[part], rows[part], numbers, counts[part])
        tally.finish()
    active = Counter(users[counts].tolist())
    everyone = set(users.tolist())
    single = {user for user in everyone if active[user] <= 1}
    assert (tally.events, tally.users, tally.single) == (n, len(everyone), len(single))
    assert {int(users[row]) for row in tally.single_rows} <= single
    assert [count for _, count in tally.heavy] == sorted(
        (count for count in active.values() if count >= 100), reverse=True
    )
    assert all(active[int(users[row])] == count for row, count in tally.heavy)
    assert tally.duplicates == n - len(set(rows.tolist()))
    seen: set[int] = set()
    again = [i for i, row in enumerate(rows.tolist()) if row in seen or seen.add(row)]
    assert tally.duplicate_rows == again[:3]
