"""Figures of a log of behaviour, by which logs can be compared: how much, how often, of what."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from tfx_pipeline.datasets.event_log import CATALOGUE_TABLE
from tfx_pipeline.datasets.event_log import EVENTS_TABLE
from tfx_pipeline.datasets.event_log import IMPRESSION
from tfx_pipeline.datasets.event_log import EventLog
from transforms.arrow import read_table

MANY = 10_000  # behaviours of a lifelong user
POSITIONS = (1, 2, 5, 10)  # of which the rate of clicks is told
_ENOUGH = 20  # behaviours of a user whose categories are counted
_PAUSE = 30 * 60 * 1_000_000  # microseconds without behaviour that end a session
_COLUMNS = ("user_id", "entity_type", "entity_id", "event", "timestamp", "ordinal")
_PAGE_COLUMNS = ("session_id", "page_id", "position")


def read_log(path: Path) -> pd.DataFrame:
    """Reads an event log for `figures`.

    Args:
        path: Its directory.

    Returns:
        Its events in each user's order, with `thing` (a number for type and id), `category`
        (a number for its most special one, -1 for none and for videos), and `session_id`
        where the log has sessions, or else times, from which 30 minutes of pause cut them.
    """
    log = EventLog(path)
    table = log.read(EVENTS_TABLE, [*_COLUMNS, *_PAGE_COLUMNS])
    events = table.to_pandas(strings_to_categorical=True)
    events = events.sort_values(["user_id", "timestamp", "ordinal"], ignore_index=True)
    if events.session_id.isna().all() and log.manifest.time == "real":
        new = events.user_id.ne(events.user_id.shift()) | (events.timestamp.diff() > _PAUSE)
        events["session_id"] = new.cumsum()
    things = pd.MultiIndex.from_frame(events[["entity_type", "entity_id"]].astype(str))
    events["thing"], names = things.factorize()
    catalogue = log.read(CATALOGUE_TABLE, ["entity_type", "entity_id", "categories"]).to_pandas()
    special = catalogue.set_index(["entity_type", "entity_id"]).categories.str[-1]
    categories, _ = special.reindex(names).factorize()
    # A video's category is its department alone.
    events["category"] = np.where(events.entity_type == "video", -1, categories[events.thing])
    return events


def read_trivago(path: Path) -> pd.DataFrame:
    """Reads the hotel searches of the RecSys Challenge 2019 for `figures`.

    Args:
        path: Its Parquet file, a row an action.

    Returns:
        Behaviours towards hotels, and what was shown where one was clicked out of a list.
    """
    actions = read_table(path).to_pandas()
    hotel = actions.action_type.str.startswith("interaction item") & actions.reference.str.isdigit()
    lists = actions[(actions.action_type == "clickout item") & actions.impressions.notna()]
    shown = lists.assign(
        reference=lists.impressions.str.split("|"), page_id=lists.index.astype(str)
    )
    shown = shown.explode("reference")
    shown["position"] = shown.groupby("page_id").cumcount()
    clicked = shown[shown.reference == lists.reference.reindex(shown.index)]
    parts = {IMPRESSION: shown, "click": clicked, "look": actions[hotel]}
    events = pd.concat([part.assign(event=event) for event, part in parts.items()])
    events["thing"] = events.reference.factorize()[0]
    events["entity_type"] = "item"
    return events.sort_values(["user_id", "timestamp", "step"], kind="stable", ignore_index=True)


def figures(events: pd.DataFrame) -> dict[str, float]:
    """Returns the figures of a log: those that it has the columns for.

    Args:
        events: What `read_log` or `read_trivago` returns.

    Returns:
        Numbers by name; those that no user has enough behaviour for are left out.
        Impressions are no behaviour.
    """
    behaviours = events[events.event != IMPRESSION]
    found = _activity(behaviours) | _popularity(behaviours) | _types(behaviours)
    sessions = behaviours.session_id.notna().any()
    found |= _sessions(behaviours) if sessions else {}
    if "category" in behaviours and (behaviours.category >= 0).any():
        known = behaviours[behaviours.category >= 0]
        found |= _categories(known) | (_returns(known) if sessions else {})
    if (events.event == IMPRESSION).any():
        found |= _pages(events)
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}


def _activity(behaviours: pd.DataFrame) -> dict[str, float]:
    each = behaviours.groupby("user_id", observed=True).size()
    return {
        "users": len(each),
        "things": behaviours.thing.nunique(),
        "behaviours": len(behaviours),
        "a_user": each.mean(),
        "median": each.median(),
        "most": each.max(),
        "beyond_10000": (each > MANY).mean(),
        "repeats": behaviours.duplicated(["user_id", "thing"]).mean(),
    }


def _popularity(behaviours: pd.DataFrame) -> dict[str, float]:
    """Gini's coefficient over the things that have any behaviour, and what the top ones take."""
    counts = np.sort(behaviours.thing.value_counts().to_numpy())
    rank = np.arange(1, len(counts) + 1)
    top = counts[-max(1, len(counts) // 100) :].sum() / counts.sum()
    gini = 2 * (rank * counts).sum() / (len(counts) * counts.sum()) - (len(counts) + 1) / len(
        counts
    )
    return {"gini": gini, "top_1_percent": top}


def _types(behaviours: pd.DataFrame) -> dict[str, float]:
    """Carts, favourites and purchases in a hundred views, where those are told apart."""
    count = behaviours.event.value_counts()
    views = count.get("pv", count.get("click", 0))
    named = {"carts": "cart", "favourites": "fav", "buys": "buy"}
    return {
        name: 100 * count[event] / views for name, event in named.items() if count.get(event, 0)
    }


def _sessions(behaviours: pd.DataFrame) -> dict[str, float]:
    sessions = behaviours.groupby("user_id", observed=True).session_id.nunique()
    return {
        "sessions_a_user": sessions.mean(),
        "once": (sessions == 1).mean(),
        "a_session": len(behaviours) / sessions.sum(),
    }


def _categories(behaviours: pd.DataFrame) -> dict[str, float]:
    """Among how many categories users divide what they do: counted, and exp(entropy)."""
    pairs = behaviours.groupby(["user_id", "category"], observed=True).size()
    total = pairs.groupby(level=0, observed=True).transform("sum")
    pairs, total = pairs[total >= _ENOUGH], total[total >= _ENOUGH]
    share = pairs / total
    entropy = -(share * np.log(share)).groupby(level=0, observed=True).sum()
    return {
        "categories": behaviours.category.nunique(),
        "categories_a_user": pairs.groupby(level=0, observed=True).size().mean(),
        "effective": np.exp(entropy).mean(),
    }


def _returns(behaviours: pd.DataFrame) -> dict[str, float]:
    """Share of sessions with a category of the user's next session, and of another one.

    The nearer the two are, the less interests come and go.
    """
    of_session = behaviours.groupby(["user_id", "session_id"], observed=True, sort=False)
    sets = of_session.category.agg(frozenset)
    users = sets.index.get_level_values(0).to_numpy()
    starts = np.flatnonzero(np.append(True, users[1:] != users[:-1]))
    size = np.diff(np.append(starts, len(users)))
    start, size, row = np.repeat(starts, size), np.repeat(size, size), np.arange(len(users))
    step = 1 + np.floor(np.random.default_rng(0).random(len(row)) * (size - 1)).astype(int)
    other = start + (row - start + step) % size
    follows = row + 1 < start + size

    def share(one: np.ndarray, two: np.ndarray) -> float:
        pairs = zip(sets.iloc[one], sets.iloc[two], strict=True)
        common = [not a.isdisjoint(b) for a, b in pairs]
        return sum(common) / len(common) if common else np.nan

    return {
        "same_next": share(row[follows], row[follows] + 1),
        "same_other": share(row[size > 1], other[size > 1]),
    }


def _pages(events: pd.DataFrame) -> dict[str, float]:
    """Lengths of pages of items, and the click rate of each position."""
    shown = events[(events.event == IMPRESSION) & (events.entity_type == "item")]
    clicked = events[(events.event == "click") & events.page_id.isin(shown.page_id.unique())]
    pages = shown.page_id.nunique()
    seen, hits = shown.position.value_counts(), clicked.position.value_counts()
    found = {"pages": pages, "shown": len(shown) / pages, "clicks": len(clicked) / pages}
    return found | {f"position_{p}": hits.get(p - 1, 0) / seen[p - 1] for p in POSITIONS}
