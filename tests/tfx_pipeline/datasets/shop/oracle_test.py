"""The truth beside the log: how much of what users do it explains, and why."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from tfx_pipeline.datasets.shop import ShopConfig
from tfx_pipeline.datasets.shop import policy
from tfx_pipeline.datasets.shop import prepare_shop
from tfx_pipeline.datasets.shop import utility
from tfx_pipeline.datasets.shop.config import DAY
from tfx_pipeline.datasets.shop.expectation import LEVELS
from tfx_pipeline.datasets.shop.exposure import draw_probability
from tfx_pipeline.datasets.shop.exposure import rank_of
from tfx_pipeline.datasets.shop.exposure import seen_probability
from tfx_pipeline.datasets.shop.lifts import item_to_video
from tfx_pipeline.datasets.shop.lifts import video_to_item
from tfx_pipeline.datasets.shop.oracle import Oracle
from tfx_pipeline.datasets.shop.oracle import auc
from tfx_pipeline.datasets.shop.oracle import main
from tfx_pipeline.datasets.shop.oracle import tables
from tfx_pipeline.datasets.shop.pages import MEMORY_SLOTS
from tfx_pipeline.datasets.shop.shelf import item_shelf
from tfx_pipeline.datasets.shop.shelf import video_shelf
from tfx_pipeline.datasets.shop.truth import Truth


@pytest.mark.parametrize("kind", ["item", "video"])
def test_click_auc_and_image_share_are_moderate(oracle: Oracle, kind: str) -> None:
    report = oracle.clicks(kind)
    assert 0.75 < report["auc"] < 0.85
    assert 0.08 < report["rate"] < 0.25
    assert sum(report["share"]["all"].values()) == pytest.approx(1)
    assert 0.1 < report["share"]["all"]["style"] < 0.35  # a minority
    assert report["share"]["not_visual"]["style"] == 0
    parts = ("topic", "style", *(("material",) if kind == "item" else ()))
    assert all(report["auc_without"][part] < report["auc"] - 0.004 for part in parts)
    assert report["auc_without"]["style"] > 0.7


@pytest.mark.parametrize("kind", ["item", "video"])
def test_probabilities_are_calibrated(oracle: Oracle, kind: str) -> None:
    seen = oracle.truth.impressions(kind)
    valid = seen.things >= 0
    expected = utility.choice(kind, oracle.truth.parts(kind, seen.page, seen.things))[valid]
    chosen = seen.chosen[valid]
    order = np.argsort(expected)
    for part in np.array_split(order, 10):
        deviation = np.sqrt((expected[part] * (1 - expected[part])).sum()) / len(part)
        assert abs(chosen[part].mean() - expected[part].mean()) < 4.5 * deviation


def test_looks_matter_to_visual_users_alone(oracle: Oracle) -> None:
    looks = oracle.clicks("item")["auc_images"]
    assert looks["visual"] > 0.58
    assert looks["not_visual"] == pytest.approx(0.5, abs=0.02)


def test_the_image_signal_goes_when_visual_tastes_are_shuffled(oracle: Oracle) -> None:
    truth = oracle.truth
    seen = truth.impressions("item")
    valid = (seen.things >= 0) & (truth.users.visual[truth.pages["user"][seen.page]] > 0)[:, None]
    other = np.random.default_rng(0).permutation(len(truth.users.visual))
    shuffled = dataclasses.replace(
        truth.users,
        visual=truth.users.visual[other],
        style_from=truth.users.style_from[other],
        style_to=truth.users.style_to[other],
    )
    looks = oracle.looks("item", seen.page, seen.things, shuffled)
    assert auc(seen.chosen[valid], looks[valid]) == pytest.approx(0.5, abs=0.02)


def test_how_visual_a_user_is_tells_how_much_looks_sway_the_clicks(oracle: Oracle) -> None:
    truth = oracle.truth
    seen = truth.impressions("item")
    valid = seen.things >= 0
    user = np.broadcast_to(truth.pages["user"][seen.page][:, None], valid.shape)[valid]
    looks = oracle.looks("item", seen.page, seen.things)[valid]
    chosen = seen.chosen[valid]
    lift = np.bincount(user, (chosen - chosen.mean()) * looks) / np.maximum(np.bincount(user), 1)
    visual = truth.users.visual[: len(lift)]
    many = np.bincount(user) > 200
    true = np.corrcoef(visual[many], lift[many])[0, 1]
    rng = np.random.default_rng(0)
    chance = [np.corrcoef(rng.permutation(visual[many]), lift[many])[0, 1] for _ in range(20)]
    assert true > 0.5 and np.abs(chance).max() < 0.4


def test_users_like_materials(oracle: Oracle) -> None:
    truth = oracle.truth
    seen = truth.impressions("item")
    valid, user = seen.things >= 0, truth.pages["user"][seen.page]
    taste = truth.users.material_taste[user[:, None], truth.world.item_material[seen.things]]
    lift = taste[valid & seen.chosen].mean() - taste[valid & ~seen.chosen].mean()
    assert lift > 0.15
    other = np.random.default_rng(0).permutation(truth.users.material_taste)
    taste = other[user[:, None], truth.world.item_material[seen.things]]
    assert abs(taste[valid & seen.chosen].mean() - taste[valid & ~seen.chosen].mean()) < 0.08


def test_the_mind_holds_what_has_happened_by_then(oracle: Oracle) -> None:
    """A click or purchase that is stamped after the next page has no part in that page."""
    truth = oracle.truth
    log = truth.events.select(["event", "page_row", "thing", "timestamp"]).to_pandas()
    log["user"] = truth.pages["user"][log.page_row]
    log["time"] = log.timestamp - truth.config.start_time
    clicks = {user: rows for user, rows in log[log.event == "click"].groupby("user")}
    pages = np.flatnonzero(truth.pages["entry"] == policy.VIDEO)
    checked = 0
    for page in pages[:3_000]:
        rows = clicks.get(truth.pages["user"][page])
        if rows is None or len(rows) > MEMORY_SLOTS:
            continue  # some are forgotten
        before = rows[rows.time <= truth.pages["time"][page]]
        held = truth.pages["clicked_item"][page]
        assert sorted(held[held >= 0]) == sorted(before.thing)
        checked += len(before)
    assert checked > 500
    buys = log[log.event == "buy"]
    user, time = truth.pages["user"], truth.pages["time"]
    first = ~buys.duplicated(["user", "thing"])
    later = 0
    for page, thing, at in buys.loc[first, ["page_row", "thing", "time"]].to_numpy():
        following = page + 1
        if following == len(user) or user[following] != user[page]:
            continue
        if truth.pages["entry"][following] == policy.VIDEO:
            continue
        mine = truth.pages["memory_item"][following] == thing
        put_off = (truth.pages["memory_strength"][following][mine] < -3).any()
        if time[following] < at:
            assert not put_off
            later += 1
    assert later > 20


def test_since_looks_back_in_the_log(oracle: Oracle) -> None:
    truth = oracle.truth
    log = truth.events.select(["event", "page_row", "thing", "timestamp"]).to_pandas()
    log["user"], log["time"] = truth.pages["user"][log.page_row], log.timestamp
    rng = np.random.default_rng(0)
    pages = rng.choice(np.flatnonzero(truth.pages["user"] < 60), 200)
    things = rng.integers(0, 40, (200, 3))
    clicks = log[(log.event == "click") & (log.thing < 40)]
    things[:100, 0] = clicks.sample(100, random_state=0).thing
    pages[:100] = clicks.sample(100, random_state=0).page_row + 1
    found = truth.since("click", pages, things)
    for page, row, days in zip(pages, things, found, strict=True):
        now = truth.pages["time"][page] + truth.config.start_time
        for thing, value in zip(row, days, strict=True):
            mine = clicks[(clicks.user == truth.pages["user"][page]) & (clicks.thing == thing)]
            past = mine.time[mine.time <= now]
            expected = (now - past.max()) / DAY if len(past) else np.inf
            assert value == pytest.approx(expected, abs=1e-7)
    assert np.isfinite(found).sum() > 50


def test_clicking_raises_the_interest_in_videos_that_show_it(oracle: Oracle) -> None:
    lift = item_to_video(oracle.truth)
    assert lift.impressions > 300 and lift.share > 0.02  # the policy shows them
    assert lift.ratio > 1.4


def test_watching_raises_the_interest_in_what_was_shown(oracle: Oracle) -> None:
    truth = oracle.truth
    log = truth.events.select(["event", "entity_type", "page_row", "thing"]).to_pandas()
    log["user"] = truth.pages["user"][log.page_row]
    # Pages lie in the order of users and time: the next row is the next page.
    page, video = log.loc[log.event == "watch", ["page_row", "thing"]].to_numpy().T
    entry, user = truth.pages["entry"], truth.pages["user"]
    page, video = page[page + 1 < len(user)], video[page + 1 < len(user)]
    follows = (user[page + 1] == user[page]) & (entry[page + 1] != policy.VIDEO)
    first_item = truth.world.video_items[video[follows], 0]
    held = (truth.pages["memory_item"][page[follows] + 1] == first_item[:, None]).any(1)
    assert held.mean() > 0.95  # all but those whose watch comes after the page
    lift = video_to_item(truth)
    assert lift.impressions > 500
    assert lift.ratio > 1.4


def test_knowing_more_ranks_better(oracle: Oracle) -> None:
    for kind in ("item", "video"):
        ranking = oracle.ranking(kind, 120)
        quality = [ranking[level]["hr@50"] for level in LEVELS]
        assert list(ranking) == list(LEVELS)
        assert quality[0] + 0.1 < quality[2] < quality[3]
        assert all(0 <= value <= 1 for row in ranking.values() for value in row.values())


def _request(n: int, time: int) -> policy.Request:
    entry = np.full(n, policy.SEARCH)
    leaf, use = np.full((n, 6), 3), np.full((n, 6), 2)
    memory = np.full((n, 24), -1)
    memory[:, :2] = [5, 9]
    return policy.Request(entry, np.full(n, time), leaf, use, np.full(n, -1), memory)


def test_draw_probability_is_the_pools_frequency(oracle: Oracle) -> None:
    shelf, n = item_shelf(oracle.truth.world), 20_000
    time = 20 * 86_400_000_000
    # Pools of one candidate: no repeats are taken out.
    pool = policy.draw_pool(np.random.default_rng(0), shelf, _request(n, time), 1)
    frequency = np.bincount(pool[pool >= 0], minlength=len(shelf.leaf)) / n
    probability = draw_probability(shelf, _request(1, time))[0]
    assert np.abs(frequency - probability).max() < 5 * np.sqrt(probability.max() / n)
    assert frequency.sum() == pytest.approx(probability.sum(), abs=0.02)
    assert np.corrcoef(frequency, probability)[0, 1] > 0.98
    assert (probability[shelf.launch > time] == 0).all()


def test_videos_are_drawn_by_the_items_they_show(oracle: Oracle) -> None:
    shelf, n, time = video_shelf(oracle.truth.world), 20_000, 20 * DAY
    shown = np.asarray(oracle.truth.world.video_items[:, 0])
    old = shelf.launch <= 0

    def request(rows: int) -> policy.Request:
        nothing = np.full((rows, 6), -1)
        memory = np.tile(np.concatenate([shown[old][:6], [-1, -1]]), (rows, 1))
        entry, when = np.full(rows, policy.VIDEO), np.full(rows, time)
        return policy.Request(entry, when, nothing, nothing, np.full(rows, -1), memory)

    pool = policy.draw_pool(np.random.default_rng(0), shelf, request(n), 1)
    frequency = np.bincount(pool[pool >= 0], minlength=len(shelf.leaf)) / n
    probability = draw_probability(shelf, request(1))[0]
    assert np.abs(frequency - probability).max() < 5 * np.sqrt(probability.max() / n)
    reminded = np.isin(oracle.truth.world.video_items, shown[old][:6]).any(axis=1) & old
    nothing = dataclasses.replace(request(1), memory=np.full((1, 8), -1))
    without = draw_probability(shelf, nothing)[0]
    assert probability[reminded].sum() > without[reminded].sum() + 0.05


def test_seen_probability_is_close_to_the_policys_frequency(oracle: Oracle) -> None:
    shelf, n = item_shelf(oracle.truth.world), 6_000
    time = 20 * 86_400_000_000
    request, rng = _request(n, time), np.random.default_rng(0)
    topic = np.random.default_rng(1).standard_normal((1, len(shelf.leaf)))
    pool = policy.draw_pool(rng, shelf, request, 40)
    score = policy.ranker_score(shelf, request, topic[0][pool], pool)
    shown = policy.choose(rng, pool, score, 10)
    looks = utility.attention("item", np.arange(10))
    frequency = np.zeros(len(shelf.leaf))
    np.add.at(frequency, shown[shown >= 0], np.broadcast_to(looks, shown.shape)[shown >= 0] / n)
    one = _request(1, time)
    things = np.arange(len(shelf.leaf))[None]
    score = policy.ranker_score(shelf, one, topic, things)
    expected = seen_probability(draw_probability(shelf, one), score, 40, looks)[0]
    assert np.corrcoef(frequency, expected)[0, 1] > 0.98
    assert expected.sum() == pytest.approx(frequency.sum(), rel=0.15)


def test_auc_and_rank_by_hand() -> None:
    chosen = np.array([True, False, True, False])
    assert auc(chosen, np.array([0.9, 0.8, 0.3, 0.1])) == 0.75
    assert auc(chosen, np.array([0.5, 0.5, 0.5, 0.5])) == 0.5
    assert auc(chosen, np.array([0.7, 0.7, 0.9, 0.1])) == 0.875
    assert np.isnan(auc(np.array([True, True]), np.array([1.0, 2.0])))
    scores = np.array([[0.1, 0.5, 0.3], [1.0, 1.0, 1.0]])
    assert rank_of(scores, np.array([2, 0])).tolist() == [1, 1]


def test_report_is_a_table_or_json(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(shop), "--requests", "10", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert {"auc", "share", "auc_images"} <= set(report["item"]["clicks"])
    assert {"hr@10", "hr@50", "ndcg@10", "mrr"} <= set(report["video"]["ranking"]["intent"])
    assert f"| **oracle AUC** | {report['item']['clicks']['auc']:.3f} |" in tables(report)


def test_without_truth_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="not the truth of a simulated shop"):
        Truth(tmp_path)
    config = ShopConfig(users=5, items=200, images=False, truth_users=0)
    prepare_shop(tmp_path / "log", config, workers=1)
    with pytest.raises(FileNotFoundError, match="truth_users=0"):
        Truth(tmp_path / "log")
