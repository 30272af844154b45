"""Pieces of the shop: configuration, memories, words, users, plans."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from tfx_pipeline.datasets.shop import ShopConfig
from tfx_pipeline.datasets.shop import text
from tfx_pipeline.datasets.shop import words
from tfx_pipeline.datasets.shop.catalogue import draw_world
from tfx_pipeline.datasets.shop.config import DAY
from tfx_pipeline.datasets.shop.config import SESSION_GAP
from tfx_pipeline.datasets.shop.policy import choose
from tfx_pipeline.datasets.shop.sessions import plan_sessions
from tfx_pipeline.datasets.shop.state import Memory
from tfx_pipeline.datasets.shop.users import draw_users
from tfx_pipeline.datasets.shop.world import World


def test_shards_cover_all_users_and_stay_small() -> None:
    for users in (1, 2, 999, 4_096, 100_000, 1_000_001):
        shards = ShopConfig(users=users).user_shards()
        assert shards[0][0] == 0 and shards[-1][1] == users
        assert all(a[1] == b[0] for a, b in zip(shards, shards[1:], strict=False))
        assert all(0 < last - first <= 4_096 for first, last in shards)


def test_sizes_follow_the_users_unless_given() -> None:
    config = ShopConfig(users=10_000)
    assert (config.n_items, config.n_videos) == (6_000, 2_000)
    assert (ShopConfig(items=300, videos=50).n_items, ShopConfig(videos=50).n_videos) == (300, 50)
    assert ShopConfig().start_time == 1_704_067_200_000_000


def test_bad_configurations_say_what_to_do() -> None:
    with pytest.raises(ValidationError, match="the nearest is `users`"):
        ShopConfig(user=3)  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="Lower `sessions_max` or raise `days`"):
        ShopConfig(days=10, sessions_max=250)


def test_memory_forgets_the_oldest_and_fades() -> None:
    memory = Memory(3, 2)
    time = np.zeros(4, np.int64)
    user, things = np.array([0, 0, 0, 2]), np.array([7, 8, 9, 5])
    memory.add(user, things, np.array([1.0, 2.0, 3.0, 4.0]), time)
    assert memory.things.tolist() == [[9, 8], [-1, -1], [5, -1]]
    fresh = memory.strength(np.array([0, 2]), np.array([0, 0]))
    assert fresh.tolist() == [[3.0, 2.0], [4.0, 0.0]]
    later = memory.strength(np.array([0]), np.array([5 * DAY]))
    assert later == pytest.approx(np.array([[3.0, 2.0]]) / np.e)
    memory.forget(np.array([0]))
    assert memory.things.tolist() == [[-1, -1], [-1, -1], [5, -1]]


def test_names_are_distinct_and_vocabulary_is_sound() -> None:
    names = [words.coined_name(number) for number in range(70_000)]
    assert len(set(names)) == len(names)
    assert all(len(of) == words.WORDS_PER_LEAF for of in words.LEAF_WORDS)
    told = [word for of in words.LEAF_WORDS for word in of]
    assert len(set(told)) == len(told) and not set(told) & set(words.USES)


def test_queries_by_hand() -> None:
    queries = text.query_texts(
        np.array([True, False, True]),
        leaf=np.array([0, 1, 47]),
        word=np.array([1, 0, 2]),
        use=np.array([2, 0, -1]),
        brand=np.array([-1, 3, 5]),
    )
    assert queries.to_pylist() == ["party gown", None, f"{words.coined_name(5)} lead"]


def test_titles_speak_of_the_item_with_gaps(world: World) -> None:
    rows = np.arange(600)
    titles = text.item_titles(np.random.default_rng(0), world, rows)
    leaf = [set(words.LEAF_WORDS[world.item_leaf[i]]) & set(titles[i].split()) for i in rows]
    use = [words.USES[world.item_use[i]] in titles[i].split() for i in rows]
    assert 0.9 < np.mean([bool(found) for found in leaf]) < 0.99
    assert 0.6 < np.mean(use) < 0.8


@pytest.fixture(scope="module")
def config() -> ShopConfig:
    return ShopConfig(users=4_000, items=500, sessions_max=200)


def test_users_are_varied_and_tell_something(config: ShopConfig) -> None:
    world = draw_world(config)
    users = draw_users(np.random.default_rng(0), world, config, 4_000)
    assert 0.27 < (users.visual == 0).mean() < 0.33
    count = (users.interest_start < config.span).sum(axis=1)
    assert set(count) == {1, 2, 3, 4}
    assert (users.interest_start[:, 0] <= users.join).all()
    fresh = (users.interest_start > users.join[:, None]) & (users.interest_start < config.span)
    assert 0.05 < fresh.mean() < 0.3
    age, leaf = users.attributes[:, 0], users.interest_leaf[:, 0]
    assert (age < 0).mean() == pytest.approx(0.1, abs=0.03)
    table = np.zeros((len(words.AGES), len(words.LEAVES)))
    np.add.at(table, (age[age >= 0], leaf[age >= 0]), 1)
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / table.sum()
    assert ((table - expected) ** 2 / expected).sum() > 2 * table.size


def test_sessions_keep_their_distance_and_the_span(config: ShopConfig) -> None:
    world = draw_world(config)
    users = draw_users(np.random.default_rng(0), world, config, 500)
    plan = plan_sessions(np.random.default_rng(1), world, users, config)
    assert (np.bincount(plan.user) == users.sessions).all()
    same = np.diff(plan.user) == 0
    assert (np.diff(plan.start)[same] > 0.5 * SESSION_GAP).all()
    assert (plan.start >= users.join[plan.user]).all()
    assert plan.time.max() < config.span
    assert (np.diff(plan.time)[np.diff(plan.session) == 0] > 0).all()
    begun = users.interest_start[plan.user, plan.interest]
    assert (begun <= plan.start).all()


def test_choice_prefers_high_scores_and_never_what_is_missing() -> None:
    pool = np.tile(np.array([4, -1, 6, 7]), (2_000, 1))
    score = np.tile(np.array([0.0, 9.0, 2.0, 0.0]), (2_000, 1))
    shown = choose(np.random.default_rng(0), pool, score, 4)
    assert (shown[:, 3] == -1).all() and (shown[:, :3] >= 0).all()
    first = np.mean(shown[:, 0] == 6)
    assert first == pytest.approx(np.exp(2) / (np.exp(2) + 2), abs=0.03)
