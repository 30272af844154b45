"""The log of the simulated shop: reproducible, well-formed and consistent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tfx_pipeline.datasets.event_log import EventLog
from tfx_pipeline.datasets.shop import VERSION
from tfx_pipeline.datasets.shop import ShopConfig
from tfx_pipeline.datasets.shop import generate
from tfx_pipeline.datasets.shop import prepare_shop
from tfx_pipeline.datasets.shop import utility
from tfx_pipeline.datasets.shop import words
from tfx_pipeline.datasets.shop.config import DAY
from tfx_pipeline.datasets.shop.oracle import auc
from tfx_pipeline.datasets.shop.pages import Pages
from tfx_pipeline.datasets.shop.truth import Truth
from tfx_pipeline.datasets.shop.world import World
from tfx_pipeline.datasets.validate import validate_event_log

TINY = ShopConfig(users=40, items=200, days=20, sessions_max=40, image_size=16)


def _files(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def test_same_bytes_for_any_number_of_workers(tmp_path: Path) -> None:
    prepare_shop(tmp_path / "one", TINY, workers=1)
    prepare_shop(tmp_path / "two", TINY, workers=2)
    one, two = _files(tmp_path / "one"), _files(tmp_path / "two")
    assert list(one) == list(two)
    assert [name for name in one if one[name] != two[name]] == []
    assert len([name for name in one if name.startswith("events/")]) == 2


def test_same_bytes_without_vector_instructions(tmp_path: Path) -> None:
    prepare_shop(tmp_path / "here", TINY, workers=1)
    code = (
        "import sys; from pathlib import Path; from tfx_pipeline.datasets.shop import *; "
        "prepare_shop(Path(sys.argv[1]), ShopConfig.model_validate_json(sys.argv[2]), workers=1)"
    )
    plain = "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "plain"), TINY.to_json()],
        env={**os.environ, "NPY_DISABLE_CPU_FEATURES": plain},
        check=True,
    )
    assert _files(tmp_path / "here") == _files(tmp_path / "plain")


def test_seed_changes_the_log_and_images_do_not_change_the_events(tmp_path: Path) -> None:
    plain = TINY.model_copy(update={"images": False})
    prepare_shop(tmp_path / "plain", plain, workers=1)
    prepare_shop(tmp_path / "images", TINY, workers=1)
    prepare_shop(tmp_path / "seed", plain.model_copy(update={"seed": 1}), workers=1)
    logs = {name: EventLog(tmp_path / name) for name in ("plain", "images", "seed")}
    tables = {name: log.read("events") for name, log in logs.items()}
    assert tables["plain"].equals(tables["images"])
    assert not tables["plain"].equals(tables["seed"])
    assert logs["plain"].read("catalogue").column("image").null_count == 266
    assert logs["images"].read("catalogue").column("image").null_count == 0


def test_a_block_is_simulated_at_a_time_and_the_log_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is held at once is bounded by sessions, not by users or by how long they stay."""
    monkeypatch.setattr(generate, "SESSIONS_PER_BLOCK", 30)
    held = []

    class Watched(generate.Simulation):
        def run(self) -> Pages:
            held.append((len(self.users.join), len(self.plan.user), len(self.plan.time)))
            return super().run()

    monkeypatch.setattr(generate, "Simulation", Watched)
    prepare_shop(tmp_path / "log", TINY.model_copy(update={"images": False}), workers=1)
    users, sessions, steps = np.array(held).T
    assert users.sum() == 40 and len(held) > 8
    assert (sessions[users > 1] <= 30).all() and (steps <= 10 * sessions).all()
    assert [p for p in validate_event_log(tmp_path / "log") if p.severity == "error"] == []
    events = EventLog(tmp_path / "log").read("events").to_pandas()
    assert events.ordinal.is_unique and events.user_id.nunique() == 40
    assert events.session_id.nunique() == sessions.sum()
    assert (events.groupby("page_id").user_id.nunique() == 1).all()
    truth = Truth(tmp_path / "log")
    assert len(truth.pages["user"]) == steps.sum() and len(truth.users.join) == 40
    seen = truth.impressions("item")
    chosen = utility.choice("item", truth.parts("item", seen.page, seen.things))
    assert auc(seen.chosen[seen.things >= 0], chosen[seen.things >= 0]) > 0.7


def test_log_is_valid_and_says_its_version(shop: Path, events: pd.DataFrame) -> None:
    assert [p for p in validate_event_log(shop) if p.severity == "error"] == []
    manifest = EventLog(shop).manifest
    assert (manifest.name, manifest.version, manifest.time) == ("shop", VERSION, "real")
    assert manifest.entities == {"item": 900, "video": 300}
    assert manifest.event_types == ["buy", "cart", "click", "impression", "watch"]
    assert manifest.events == len(events)
    assert manifest.notes["config"]["users"] == 600


def test_an_event_log_is_not_overwritten_unless_asked(shop: Path) -> None:
    with pytest.raises(FileExistsError, match="exists already"):
        prepare_shop(shop, TINY, workers=1)


def test_nothing_happens_before_it_is_available(
    events: pd.DataFrame, catalogue: pd.DataFrame
) -> None:
    merged = events.merge(catalogue, on=["entity_type", "entity_id"], how="left")
    assert merged.available_from.notna().all()
    assert (merged.timestamp >= merged.available_from).all()


def test_new_items_come_all_along_and_are_clicked(
    events: pd.DataFrame, catalogue: pd.DataFrame
) -> None:
    start, end = events.timestamp.min(), events.timestamp.max()
    items = catalogue[catalogue.entity_type == "item"]
    weeks = (items.available_from[items.available_from > start] - start) // (7 * DAY)
    assert set(weeks) == set(range(9))
    clicks = events[events.event == "click"].merge(items, on="entity_id")
    fresh = (clicks.timestamp - clicks.available_from) < 7 * DAY
    assert 0.01 < fresh.mean() < 0.3
    assert end - start < 60 * DAY


def test_only_what_was_shown_is_chosen(events: pd.DataFrame) -> None:
    key = ["user_id", "page_id", "entity_type", "entity_id", "position", "session_id"]
    of = {name: set(map(tuple, rows[key].to_numpy())) for name, rows in events.groupby("event")}
    counts = events.groupby("event").size()
    assert all(len(keys) == counts[name] for name, keys in of.items())  # each once
    assert of["buy"] < of["cart"] < of["click"] < of["impression"]
    assert of["watch"] < of["impression"]
    first = events.sort_values("timestamp", kind="stable").drop_duplicates(key)
    assert (first.event == "impression").all()


def test_pages_show_distinct_things_of_one_kind_at_one_time(events: pd.DataFrame) -> None:
    shown = events[events.event == "impression"].groupby("page_id")
    assert (shown[["user_id", "session_id", "entity_type", "timestamp"]].nunique() == 1).all(None)
    assert (shown.entity_id.nunique() == shown.size()).all()
    size = shown.size()
    assert (shown.position.max() + 1 == size).all() and (shown.position.min() == 0).all()
    kinds = shown.entity_type.first()
    for kind, places in (("item", 10), ("video", 6)):
        assert size[kinds == kind].max() == places
        assert (size[kinds == kind] == places).mean() > 0.9


def test_columns_hold_what_applies(events: pd.DataFrame, catalogue: pd.DataFrame) -> None:
    assert events[["session_id", "page_id", "position"]].notna().all(None)
    valued = events.event.isin(["buy", "watch"])
    assert (events.value.notna() == valued).all()
    assert events.value[events.event == "watch"].between(0.02, 1).all()
    bought = events[events.event == "buy"].merge(catalogue, on=["entity_type", "entity_id"])
    assert (bought.value == bought.price).all()
    queries = events.loc[events.entity_type == "video", "query"]
    assert queries.isna().all()
    asked = events.loc[events.entity_type == "item", "query"]
    gone_to = asked.str.startswith("category=", na=False)
    assert 0.1 < gone_to.mean() < 0.4
    assert 0.2 < (asked.notna() & ~gone_to).mean() < 0.6
    assert (events.groupby("page_id")["query"].nunique(dropna=False) == 1).all()


def test_the_category_navigated_to_is_logged_and_shown(
    events: pd.DataFrame, catalogue: pd.DataFrame
) -> None:
    shown = events[(events.event == "impression") & (events.entity_type == "item")]
    items = catalogue[catalogue.entity_type == "item"].set_index("entity_id")
    leaf = items.categories.str[1][shown.entity_id].to_numpy()
    place = shown["query"].str.removeprefix("category=").to_numpy()
    gone_to = shown["query"].str.startswith("category=", na=False).to_numpy()
    assert set(place[gone_to]) <= {leaf for _, leaf in words.LEAVES}
    shuffled = np.random.default_rng(0).permutation(place[gone_to])
    assert (leaf == place)[gone_to].mean() > 0.3 > 5 * (leaf[gone_to] == shuffled).mean()
    # Typed queries name it by other words, and pages of the feed say nothing.
    assert not shown["query"].str.contains("=", na=False)[~gone_to].any()


def test_carts_and_purchases_are_about_as_rare_as_in_public_logs(events: pd.DataFrame) -> None:
    """Of 100 views on Taobao about 6 go into the cart and 2 are bought."""
    count = events.event.value_counts()
    assert 0.04 < count["cart"] / count["click"] < 0.1
    assert 0.015 < count["buy"] / count["click"] < 0.04
    sessions = events.groupby("user_id").session_id.nunique()
    assert 0.1 < (sessions == 1).mean() < 0.35


def test_ids_say_nothing_of_what_they_name(world: World) -> None:
    for kind in ("item", "video"):
        ids = np.asarray(getattr(world, f"{kind}_id"))
        for name in ("popularity", "quality", "launch", "leaf"):
            values = np.asarray(getattr(world, f"{kind}_{name}"))
            values = values[0] if values.ndim > 1 else values
            assert abs(np.corrcoef(ids, values)[0, 1]) < 4 / np.sqrt(len(ids)), (kind, name)


def test_ordinals_are_unique_and_follow_each_user_in_time(events: pd.DataFrame) -> None:
    assert events.ordinal.is_unique
    ordered = events.sort_values("ordinal")
    assert ordered.groupby("user_id").timestamp.is_monotonic_increasing.all()
    sessions = events.groupby("session_id").timestamp.agg(["min", "max"])
    sessions["user"] = events.groupby("session_id").user_id.first()
    sessions = sessions.sort_values(["user", "min"])
    same = sessions.user.to_numpy()[1:] == sessions.user.to_numpy()[:-1]
    assert (sessions["min"].to_numpy()[1:] > sessions["max"].to_numpy()[:-1])[same].all()


def test_popularity_and_activity_follow_power_laws(events: pd.DataFrame) -> None:
    clicks = events[events.event == "click"]
    counts = np.sort(clicks.groupby("entity_id").size().to_numpy())[::-1]
    rank = np.arange(1, len(counts) + 1)
    middle = slice(5, 400)
    slope, _ = np.polyfit(np.log(rank[middle]), np.log(counts[middle]), 1)
    fit = np.corrcoef(np.log(rank[middle]), np.log(counts[middle]))[0, 1] ** 2
    assert -1.3 < slope < -0.4 and fit > 0.95
    assert counts[: len(counts) // 5].sum() > 0.45 * counts.sum()
    sessions = np.sort(events.groupby("user_id").session_id.nunique())[::-1]
    top = sessions[: len(sessions) // 10]
    tail, _ = np.polyfit(np.log(top), np.log(np.arange(1, len(top) + 1)), 1)
    assert -2.5 < tail < -0.8


def test_popularity_drifts(world: World) -> None:
    popularity = np.asarray(world.item_popularity)
    to_next = np.corrcoef(popularity[0], popularity[1])[0, 1]
    to_last = np.corrcoef(popularity[0], popularity[-1])[0, 1]
    assert to_next > 0.85 and to_last < to_next - 0.1


def test_videos_show_items_of_a_theme(catalogue: pd.DataFrame, world: World) -> None:
    videos = catalogue[catalogue.entity_type == "video"].set_index("entity_id")
    items = catalogue[catalogue.entity_type == "item"].set_index("entity_id")
    shown = videos.related_ids.explode().str.removeprefix("item:")
    assert set(shown) <= set(items.index)
    assert set(videos.related_ids.str.len()) == {1, 2, 3, 4, 5}
    assert (world.video_launch <= 0).mean() == pytest.approx(0.5, abs=0.1)
    latest = items.available_from[shown].groupby(shown.index.to_numpy()).max()
    assert (videos.available_from[latest.index] >= latest).all()
    pairs = [(row[0], other) for row in world.video_items for other in row[1:] if other >= 0]
    one, two = (np.asarray(world.item_topic)[list(side)] for side in zip(*pairs, strict=True))
    rng = np.random.default_rng(0)
    assert (one * two).sum(1).mean() > (one * rng.permutation(two)).sum(1).mean() + 0.5
