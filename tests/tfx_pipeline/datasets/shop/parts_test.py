"""Pieces of the shop: configuration, memories, words, users, plans."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from tfx_pipeline.datasets.shop import ShopConfig
from tfx_pipeline.datasets.shop import generate
from tfx_pipeline.datasets.shop import text
from tfx_pipeline.datasets.shop import words
from tfx_pipeline.datasets.shop.catalogue import draw_world
from tfx_pipeline.datasets.shop.config import DAY
from tfx_pipeline.datasets.shop.config import SESSION_GAP
from tfx_pipeline.datasets.shop.policy import choose
from tfx_pipeline.datasets.shop.sessions import draw_spells
from tfx_pipeline.datasets.shop.sessions import plan_sessions
from tfx_pipeline.datasets.shop.state import Memory
from tfx_pipeline.datasets.shop.users import INTEREST_STOP
from tfx_pipeline.datasets.shop.users import MAX_INTERESTS
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
    assert (config.n_items, config.n_videos) == (20_000, 6_666)
    assert (ShopConfig(items=300, videos=50).n_items, ShopConfig(videos=50).n_videos) == (300, 50)
    assert ShopConfig().start_time == 1_704_067_200_000_000


def test_bad_configurations_say_what_to_do() -> None:
    with pytest.raises(ValidationError, match="the nearest is `users`"):
        ShopConfig(user=3)  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="Lower `sessions_max` or raise `days`"):
        ShopConfig(days=10, sessions_max=250)


def test_a_preset_gives_way_to_what_is_set() -> None:
    config = ShopConfig.model_validate({"preset": "lifelong", "truth_users": 7})
    assert (config.days, config.truth_users, config.sessions_max) == (730, 7, 5_000)
    assert ShopConfig.model_validate_json(config.to_json()) == config
    assert ShopConfig().days == 60 < ShopConfig(preset="lifelong", days=300).days
    with pytest.raises(ValidationError, match="standard"):
        ShopConfig(preset="long")  # type: ignore[arg-type]


def test_memory_forgets_the_oldest_and_fades() -> None:
    memory = Memory(3, 2)
    time = np.zeros(4, np.int64)
    user, things = np.array([0, 0, 0, 2]), np.array([7, 8, 9, 5])
    memory.add(user, things, np.array([1.0, 2.0, 3.0, 4.0]), time)
    all_users, now = np.arange(3), np.zeros(3, np.int64)
    assert memory.things(all_users, now).tolist() == [[9, 8], [-1, -1], [5, -1]]
    things, fresh = memory.at(np.array([0, 2]), np.array([0, 0]))
    assert things.tolist() == [[9, 8], [5, -1]]
    assert fresh.tolist() == [[3.0, 2.0], [4.0, 0.0]]
    _, later = memory.at(np.array([0]), np.array([5 * DAY]))
    assert later == pytest.approx(np.array([[3.0, 2.0]]) / np.e)
    memory.forget(np.array([0]))
    assert memory.things(all_users, now).tolist() == [[-1, -1], [-1, -1], [5, -1]]


def test_memory_counts_what_happens_from_its_own_time_on() -> None:
    memory, user = Memory(1, 3), np.array([0])
    memory.add(user, np.array([7]), np.array([1.0]), np.array([100]))
    for time, things, strength in ((99, -1, 0.0), (100, 7, 1.0)):
        found, strengths = memory.at(user, np.array([time]))
        assert found.tolist() == [[things, -1, -1]]
        assert strengths.tolist() == [[strength, 0.0, 0.0]]
        assert memory.things(user, np.array([time])).tolist() == found.tolist()


def test_names_are_distinct_and_vocabulary_is_sound() -> None:
    names = [words.coined_name(number) for number in range(70_000)]
    assert len(set(names)) == len(names)
    assert all(len(of) == words.WORDS_PER_LEAF for of in words.LEAF_WORDS)
    told = [word for of in words.LEAF_WORDS for word in of]
    assert len(set(told)) == len(told) and not set(told) & set(words.USES)


def test_queries_by_hand() -> None:
    queries = text.query_texts(
        np.array([True, False, True, True]),
        leaf=np.array([0, 1, 47, 6]),
        word=np.array([1, 0, 2, text.NAVIGATED]),
        use=np.array([2, 0, -1, -1]),
        brand=np.array([-1, 3, 5, -1]),
    )
    brand = words.coined_name(5)
    assert queries.to_pylist() == ["party gown", None, f"{brand} lead", "category=sneakers"]
    places = [leaf for _, leaf in words.LEAVES]
    assert len(set(places)) == len(places)


def test_titles_speak_of_the_item_with_gaps(world: World) -> None:
    rows = np.arange(600)
    titles = text.item_titles(np.random.default_rng(0), world, rows)
    leaf = [set(words.LEAF_WORDS[world.item_leaf[i]]) & set(titles[i].split()) for i in rows]
    use = [words.USES[world.item_use[i]] in titles[i].split() for i in rows]
    assert 0.9 < np.mean([bool(found) for found in leaf]) < 0.99
    assert 0.6 < np.mean(use) < 0.8


def test_titles_alone_tell_the_material(world: World) -> None:
    rows = np.arange(900)
    titles = text.item_titles(np.random.default_rng(0), world, rows)
    told = [set(words.MATERIALS) & set(title.split()) for title in titles]
    assert all(
        of <= {words.MATERIALS[world.item_material[i]]} for i, of in zip(rows, told, strict=True)
    )
    assert 0.75 < np.mean([bool(of) for of in told]) < 0.85
    attributes = text.item_attributes(np.random.default_rng(0), world, rows)
    assert not set(words.MATERIALS) & {a.split("=")[1] for of in attributes for a in of}
    # Neither do categories: half of the materials are in each leaf, evenly.
    leaf, material = world.item_leaf, world.item_material
    assert all(len(set(material[leaf == one])) >= 5 for one in np.unique(leaf) if one < 3)


def test_some_titles_hint_weakly_at_the_style(world: World) -> None:
    rows = np.arange(900)
    titles = text.item_titles(np.random.default_rng(0), world, rows)
    word = np.array(
        [next((i for i, w in enumerate(words.STYLES) if w in t.split()), -1) for t in titles]
    )
    assert 0.25 < (word >= 0).mean() < 0.35
    style = np.asarray(world.item_style)[word >= 0]
    fit = style @ np.asarray(world.style_word_vector).T
    own = fit[np.arange(len(fit)), word[word >= 0]]
    assert own.mean() > fit.mean() + 0.4  # said of what fits ...
    assert (own[:, None] >= fit).all(axis=1).mean() < 0.5  # ... but seldom of what fits best


@pytest.fixture(scope="module")
def config() -> ShopConfig:
    return ShopConfig(users=4_000, items=500, sessions_max=200)


def test_users_are_varied_and_tell_something(config: ShopConfig) -> None:
    world = draw_world(config)
    users = draw_users(np.random.default_rng(0), world, config, 4_000)
    assert 0.27 < (users.visual == 0).mean() < 0.33
    count = (users.interest_start < config.span).sum(axis=1)
    assert set(count) == set(range(1, 13))
    assert count.mean() == pytest.approx(5, abs=0.2)
    more = np.bincount(count)[2:] / np.bincount(count)[1:-1]
    assert more.mean() == pytest.approx(1 - INTEREST_STOP, abs=0.06)  # geometric
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


def test_interests_are_active_for_ten_days_and_dormant_for_thirty(config: ShopConfig) -> None:
    users, visits = 60, 6_000
    user = np.repeat(np.arange(users), visits)
    start = np.tile(np.arange(visits) * DAY // 4, users)
    awake = draw_spells(np.random.default_rng(0), user, start)
    assert awake.shape == (users * visits, MAX_INTERESTS)
    assert awake.mean() == pytest.approx(0.25, abs=0.02)
    lives = awake.reshape(users, visits, MAX_INTERESTS).transpose(0, 2, 1).reshape(-1, visits)
    ends = (~lives[:, 1:] & lives[:, :-1]).sum()
    assert lives.sum() / 4 / ends == pytest.approx(10, rel=0.05)
    assert (~lives).sum() / 4 / (lives[:, 1:] & ~lives[:, :-1]).sum() == pytest.approx(30, rel=0.05)


def test_sessions_return_to_the_interests_that_are_active() -> None:
    config = ShopConfig(users=400, items=500, sessions_max=200, sessions_scale=60)
    world = draw_world(config)
    users = draw_users(np.random.default_rng(0), world, config, 400)
    plan = plan_sessions(np.random.default_rng(1), world, users, config)
    same, known = ((of[1:] == of[:-1]) for of in (plan.interest, plan.user))
    gap = np.diff(plan.start) / DAY
    soon, late = known & (gap < 1), known & (gap > 10)
    assert same[soon].mean() > 1.25 * same[late].mean()
    chosen = plan.awake[np.arange(len(plan.user)), plan.interest]
    assert chosen.mean() > 1.6 * plan.awake.mean()


def test_some_users_come_once_and_some_live_here() -> None:
    config = ShopConfig(preset="lifelong", users=20_000, items=500)
    standard = ShopConfig(users=20_000, items=500)
    world = draw_world(standard)
    once = draw_users(np.random.default_rng(0), world, standard, 20_000).sessions == 1
    assert 0.1 < once.mean() < 0.3
    sessions = draw_users(np.random.default_rng(0), world, config, 20_000).sessions
    behaviours = 4.5 * sessions  # of a session, and less than the statistics count
    assert (behaviours > 10_000).mean() > 0.01
    assert np.median(behaviours) < 500


def test_blocks_are_cut_by_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "SESSIONS_PER_BLOCK", 10)
    assert generate.user_blocks(np.array([4, 6, 1, 25, 3, 7, 1])) == [
        (0, 2), (2, 3), (3, 4), (4, 6), (6, 7),
    ]  # fmt: skip
    assert generate.user_blocks(np.array([99])) == [(0, 1)]


def test_choice_prefers_high_scores_and_never_what_is_missing() -> None:
    pool = np.tile(np.array([4, -1, 6, 7]), (2_000, 1))
    score = np.tile(np.array([0.0, 9.0, 2.0, 0.0]), (2_000, 1))
    shown = choose(np.random.default_rng(0), pool, score, 4)
    assert (shown[:, 3] == -1).all() and (shown[:, :3] >= 0).all()
    first = np.mean(shown[:, 0] == 6)
    assert first == pytest.approx(np.exp(2) / (np.exp(2) + 2), abs=0.03)
