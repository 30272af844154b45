"""Page examples worked out row by row, in plain Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from tests.tfx_pipeline.components.timeline_example_gen.logs import DAY
from tests.tfx_pipeline.components.timeline_example_gen.logs import Row
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig

Page = dict[str, Any]
FOREVER = 10**9


def pages(
    events: Sequence[Row],
    catalogue: Sequence[Row],
    config: TimelineConfig,
    starts: tuple[int, int] = (0, 0),
) -> dict[str, list[Page]]:
    """Returns pages by split: of `train` id, time, history, candidates and labels alone."""
    users: dict[str, list[Row]] = {}
    for number, row in enumerate(events):
        users.setdefault(row["user_id"], []).append(row | {"number": number})
    lives = {user: _in_order(rows) for user, rows in users.items()}
    cuts = {user: _cuts(life, config, starts) for user, life in lives.items()}
    popularity = _popularity(lives, cuts, config)
    available = {_name(row): row.get("available_from") for row in reversed(catalogue)}
    found: dict[str, list[Page]] = {"train": [], "validation_pages": [], "test_pages": []}
    for user, life in lives.items():
        for page in _pages_of(user, life, catalogue, config):
            last = page.pop("last")
            behind = sum(last >= cut for cut in cuts[user])
            split = list(found)[behind]
            if split == "train":
                found[split].append(page)
                continue
            del page["id"]
            page["slice/candidate_popularity"] = [
                popularity.get(name, "unseen") for name in page["candidate/entity"]
            ]
            page["slice/candidate_age"] = [
                _age(available.get(name), page["request/time"][0])
                for name in page["candidate/entity"]
            ]
            found[split].append(page)
    return found


def _in_order(rows: list[Row]) -> list[Row]:
    seen, kept = set(), []
    for row in sorted(rows, key=lambda r: (r["timestamp"], r["ordinal"], r["number"])):
        key = (row["timestamp"], row["ordinal"], _name(row), row["event"])
        if key not in seen:
            kept.append(row)
        seen.add(key)
    return kept


def _cuts(life: list[Row], config: TimelineConfig, starts: tuple[int, int]) -> tuple[int, int]:
    if config.split == "time-cut":
        return tuple(sum(row["timestamp"] < start for row in life) for start in starts)  # type: ignore[return-value]
    if config.split == "leave-share-out":
        test = round(len(life) * config.test_share)
        validation = round(len(life) * config.validation_share)
        return len(life) - test - validation, len(life) - test
    events = [i for i, row in enumerate(life) if _may_be_target(row, config)]
    return (events[-2], events[-1]) if len(events) >= 3 else (FOREVER, FOREVER)


def _pages_of(
    user: str, life: list[Row], catalogue: Sequence[Row], config: TimelineConfig
) -> list[Page]:
    label = config.label
    assert label is not None
    if label.source == "impressions":
        return [_page_of_impressions(user, life, part, config) for part in _parts(life)]
    found = []
    first = {_name(row): row for row in reversed(catalogue)}
    items = {name: row for name, row in first.items() if row["entity_type"] == "item"}
    number = 0
    for index, row in enumerate(life):
        if row["event"] == "impression":
            continue
        number += 1
        if "*" not in label.events and row["event"] not in label.events:
            continue
        value = row.get("value") or 0.0
        if label.source == "values" and value == 0:
            continue
        names, labels = [_name(row)], [1]
        if label.source == "values":
            labels = [int(value >= label.at_least)]
        else:
            if names[0] not in items:
                continue
            since = {name: _available_from(row) for name, row in items.items()}
            there = [name for name in items if since[name] <= row["timestamp"]] or list(items)
            there.sort(key=lambda name: (since[name], _hash(name)))
            drawn = [there[i] for i in _draws(user, number - 1, label.negatives, len(there))]
            labels += [int(name == names[0]) for name in drawn]
            names += drawn
        page = _example(user, life, index, names, [-1] * len(names), labels, config)
        found.append(page | {"last": index})
    return found


def _parts(life: list[Row]) -> list[dict[str, Any]]:
    """Pages with the rows of their impressions, and of events while they were the last."""
    latest: dict[str, dict[str, Any]] = {}
    parts = []
    for index, row in enumerate(life):
        name = row.get("page_id")
        part = latest.get(name)  # type: ignore[arg-type]
        if row["event"] == "impression":
            if part is None or row["timestamp"] - life[part["shown"][-1]]["timestamp"] > DAY:
                part = latest[name] = {"id": name, "shown": [], "events": []}  # type: ignore[index]
                parts.append(part)
            part["shown"].append(index)
        elif part is not None:
            part["events"].append(index)
    return parts


def _page_of_impressions(
    user: str, life: list[Row], part: dict[str, Any], config: TimelineConfig
) -> Page:
    assert config.label is not None
    shown = sorted(
        part["shown"], key=lambda i: FOREVER if (p := life[i].get("position")) is None else p
    )
    positions, labels = [], []
    for rank, index in enumerate(shown):
        position = life[index].get("position")
        positions.append(rank if position is None else position)
        after = {
            life[i]["event"]
            for i in part["events"]
            if i > index and _name(life[i]) == _name(life[index])
        }
        heads = (
            [bool(after)]
            if "*" in config.label.events
            else [h in after for h in config.label.events]
        )
        labels.append(sum(2**bit for bit, there in enumerate(heads) if there))
    names = [_name(life[i]) for i in shown]
    page = _example(user, life, part["shown"][0], names, positions, labels, config)
    return page | {"id": part["id"], "last": max(part["shown"] + part["events"])}


def _example(
    user: str,
    life: list[Row],
    index: int,
    names: list[str],
    positions: list[int],
    labels: list[int],
    config: TimelineConfig,
) -> Page:
    assert config.label is not None
    row, most = life[index], config.label.width
    before = [r for r in life[:index] if r["event"] != "impression"]
    newest = before[-config.label.max_history :]
    return {
        "id": row.get("page_id"),
        "user_id": [user],
        "user/attributes": [f"name={user}"],
        "event/entity": [_name(r) for r in newest],
        "event/type": [r["event"] for r in newest],
        "event/timestamp": [r["timestamp"] for r in newest],
        "event/query": [r.get("query") or "" for r in newest],
        "event/value": [r.get("value") or 0.0 for r in newest],
        "request/time": [row["timestamp"]],
        "request/query": [row.get("query") or ""],
        "candidate/entity": names[:most],
        "candidate/position": positions[:most],
        "label/events": labels[:most],
        "slice/history": [_activity(len(before))],
        "slice/query": ["with" if row.get("query") else "without"],
    }


def _activity(events: int) -> str:
    for least, name in ((200, "200+"), (50, "50-199"), (10, "10-49"), (1, "1-9")):
        if events >= least:
            return name
    return "0"


def _age(available: int | None, now: int) -> str:
    if available is None:
        return "unknown"
    days = (now - available) / DAY
    return "<1d" if days < 1 else "1-7d" if days < 7 else "7-30d" if days < 30 else "30d+"


def _may_be_target(row: Row, config: TimelineConfig) -> bool:
    listed = "*" in config.candidate_types or row["entity_type"] in config.candidate_types
    return row["event"] != "impression" and listed


def _popularity(
    lives: dict[str, list[Row]], cuts: dict[str, tuple[int, int]], config: TimelineConfig
) -> dict[str, str]:
    counts = Counter(
        _name(row)
        for user, life in lives.items()
        for row in life[: cuts[user][0]]
        if _may_be_target(row, config)
    )
    total, covered, classes = sum(counts.values()), 0, {}
    for name in sorted(counts, key=lambda name: (-counts[name], _hash(name))):
        classes[name] = (
            "head" if covered < 0.5 * total else "torso" if covered < 0.8 * total else "tail"
        )
        covered += counts[name]
    return classes


def _available_from(row: Row) -> int:
    moment = row.get("available_from")
    return -FOREVER if moment is None else moment


def _name(row: Row) -> str:
    return f"{row['entity_type']}:{row['entity_id']}"


def _hash(name: str) -> int:
    return int(pd.util.hash_array(np.array([name.encode()], object), categorize=False)[0])


def _draws(user: str, number: int, count: int, size: int) -> list[int]:
    event = _mix(_mix(_hash(user)) ^ number)
    return [
        (_mix((event + 0x9E3779B97F4A7C15 * draw) % 2**64) >> 32) * size >> 32
        for draw in range(1, count + 1)
    ]


def _mix(value: int) -> int:
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ value >> 27) * 0x94D049BB133111EB % 2**64
    return value ^ value >> 31
