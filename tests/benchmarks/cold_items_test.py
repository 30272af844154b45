"""Cold items lose what comes before the last share of each user's events, and nothing else does."""

import numpy as np

from benchmarks.cold_items import is_cold
from benchmarks.cold_items import of_cold_items
from benchmarks.cold_items import without_known
from transforms.arrow import pa

SHARE = 0.1


def events_of(users, items, seed=0):
    """Every user with every item, in an order of the user's own; users are mixed."""
    random = np.random.default_rng(seed)
    rows = [(user, int(item)) for user in range(users) for item in random.permutation(items)]
    rows = [rows[place] + (place,) for place in random.permutation(len(rows))]
    return pa.table(
        {
            "user_id": [f"u{user}" for user, _, _ in rows],
            "entity_id": [str(item) for _, item, _ in rows],
            "event": ["rate"] * len(rows),
            "timestamp": [time for _, _, time in rows],
            "ordinal": [0] * len(rows),
            "page_id": pa.nulls(len(rows), pa.string()),
        }
    )


def test_a_tenth_of_items_is_cold():
    found = np.mean([is_cold(str(item)) for item in range(4_000)])
    assert 0.08 < found < 0.12
    assert of_cold_items(events_of(2, 50)).sum() == 2 * sum(is_cold(str(n)) for n in range(50))


def test_cold_items_are_in_the_last_share_alone():
    events = events_of(20, 60)
    left = without_known(events, SHARE)

    def by_user(table):
        rows = sorted(table.to_pylist(), key=lambda row: row["timestamp"])
        return {
            user: [row["entity_id"] for row in rows if row["user_id"] == user]
            for user in {row["user_id"] for row in rows}
        }

    before, after = by_user(events), by_user(left)
    assert before.keys() == after.keys() and len(left) < len(events)
    asked = 0
    for user, items in after.items():
        test = round(SHARE * len(items))
        assert not [item for item in items[:-test] if is_cold(item)]
        asked += sum(map(is_cold, items[-test:]))
        # All else is there, in its order, and so is the end, cold or not.
        warm = [item for item in before[user] if not is_cold(item)]
        assert [item for item in items if not is_cold(item)] == warm
        assert items[-test:] == before[user][-test:]
    assert asked
    assert without_known(left, SHARE).equals(left)
