"""Recommendations for a user of an event log, with titles, as a terminal shows them."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from serving.client import Event
from serving.client import Recommendation
from serving.client import RecommenderClient
from serving.client import ServingError
from serving.client import wait_until_ready
from transforms.arrow import pa
from transforms.arrow import parquet_dataset
from transforms.arrow import pc

_EVENT_COLUMNS = ["entity_type", "entity_id", "event", "timestamp", "ordinal"]
_TITLE_WIDTH = 44


@dataclass(frozen=True)
class HistoryRow:
    """Something that the user did lately."""

    entity: str
    title: str
    event: str
    timestamp: int


@dataclass(frozen=True)
class RecommendationRow:
    """One recommendation; ranks begin at 1."""

    rank: int
    entity: str
    title: str
    score: float


@dataclass(frozen=True)
class UserRecommendations:
    """A user's recent history beside what a server recommends.

    Attributes:
        user: the user's id.
        events: length of the whole history that was sent.
        history: its last events, newest first.
        recommendations: best first.
        model: the model that answered.
        version: its version.
        asked: how many recommendations were asked for.
    """

    user: str
    events: int
    history: tuple[HistoryRow, ...]
    recommendations: tuple[RecommendationRow, ...]
    model: str
    version: int
    asked: int


def recommend_for_user(
    user: str,
    k: int,
    log_dir: Path,
    base_path: Path | None = None,
    *,
    address: str = "127.0.0.1:8500",
    model: str = "recommender",
    recent: int = 10,
    request_time: int | None = None,
    wait: float = 0.0,
    say: Callable[[str], None] | None = None,
    **client_options: Any,
) -> UserRecommendations:
    """Asks a server what a user of an event log should see next.

    Args:
        user: the user's id in the log.
        k: how many recommendations.
        log_dir: the event log.
        base_path: the pushed versions; the titles come from the index of the
            version that answers, and otherwise from the log's catalogue.
        address: `host:port` of the server.
        model: what the server calls the model.
        recent: how many events of the history to return.
        request_time: microseconds; by default just after the user's last event,
            for a log may be of long ago.
        wait: seconds to wait for a server that is still starting or loading.
        say: takes what is waited for.
        **client_options: settings of `RecommenderClient`.

    Raises:
        FileNotFoundError: the log has no events.
        ValueError: the log does not know the user.
        ConnectionError: the server cannot be reached, or refuses the request.
    """
    history = read_history(Path(log_dir), user)
    attributes = _read_attributes(Path(log_dir), user)
    if not history and attributes is None:
        raise ValueError(
            f"Expected a user of the event log {log_dir}. Received: `{user}`, who has no events "
            f"there. Its users are for instance {_some_users(Path(log_dir))}."
        )
    if request_time is None:
        request_time = history[-1].timestamp + 1 if history else 0
    try:
        with RecommenderClient(address, model, **client_options) as client:
            if wait > 0:
                wait_until_ready(client, wait, say)
            answer = client.recommend(
                history, k, user_attributes=attributes or (), request_time=request_time
            )
    except ServingError as error:
        raise ConnectionError(str(error)) from error
    return _with_titles(user, k, history, recent, answer, Path(log_dir), base_path)


def read_history(log_dir: Path, user: str) -> list[Event]:
    """Reads what a user did, oldest first; impressions are not in it.

    Raises:
        FileNotFoundError: the log has no events.
    """
    events = _dataset(log_dir, "events")
    if events is None:
        raise FileNotFoundError(
            f"Expected an event log with events/*.parquet at {log_dir}. Received: none. Make one "
            "with `vitrine data prepare`."
        )
    mine = (pc.field("user_id") == user) & (pc.field("event") != "impression")
    table = events.to_table(columns=_EVENT_COLUMNS, filter=mine)
    table = table.sort_by([("timestamp", "ascending"), ("ordinal", "ascending")])
    times = table["timestamp"]
    if pa.types.is_timestamp(times.type):
        times = times.cast(pa.timestamp("us")).cast(pa.int64())
    entities = pc.binary_join_element_wise(table["entity_type"], table["entity_id"], ":")
    columns = (entities.to_pylist(), table["event"].to_pylist(), times.to_pylist())
    return [Event(*row) for row in zip(*columns, strict=True)]


def format_recommendations(result: UserRecommendations) -> str:
    """Returns recent history and recommendations as two columns of text."""
    left = [f"{row.event:<10.10} {_short(row.title)}" for row in result.history]
    right = [
        f"{row.rank:>3}  {row.score:>8.3f}  {_short(row.title)}" for row in result.recommendations
    ]
    width = max([len(line) for line in left] + [len("Recent history")])
    lines = [
        f"User {result.user}, {result.events} events; answered by {result.model} version "
        f"{result.version}",
        "",
        f"{'Recent history':<{width}}   Recommended",
    ]
    lines += [f"{a:<{width}}   {b}".rstrip() for a, b in zip_longest(left, right, fillvalue="")]
    if not right:
        lines.append("Nothing to recommend: everything is excluded or not yet available.")
    elif len(right) < result.asked:
        lines += [
            "",
            f"{len(right)} of {result.asked}: the served version returns no more at a time "
            "(`index.k` of its run), or everything else is excluded or not yet available.",
        ]
    return "\n".join(lines)


def _with_titles(
    user: str,
    asked: int,
    history: list[Event],
    recent: int,
    answer: Recommendation,
    log_dir: Path,
    base_path: Path | None,
) -> UserRecommendations:
    last = history[: -recent - 1 : -1] if recent else []
    titles = _titles({*answer.ids, *(event.id for event in last)}, log_dir, base_path, answer)
    return UserRecommendations(
        user,
        len(history),
        tuple(HistoryRow(e.id, titles.get(e.id, e.id), e.event, e.timestamp) for e in last),
        tuple(
            RecommendationRow(rank, name, titles.get(name, name), float(score))
            for rank, (name, score) in enumerate(zip(answer.ids, answer.scores, strict=True), 1)
        ),
        answer.model,
        answer.version,
        asked,
    )


def _titles(
    wanted: set[str], log_dir: Path, base_path: Path | None, answer: Recommendation
) -> dict[str, str]:
    """Finds titles in the index of the version that answered, then in the log."""
    titles: dict[str, str] = {}
    if base_path is not None:
        path = Path(base_path, str(answer.version), "index", "candidates.parquet")
        if path.exists():
            mine = pc.field("id").isin(sorted(wanted))
            table = parquet_dataset([path]).to_table(columns=["id", "title"], filter=mine)
            titles = _named(table["id"], table["title"])
    catalogue = _dataset(log_dir, "catalogue")
    missing = wanted - titles.keys()
    if catalogue is None or "title" not in catalogue.schema.names or not missing:
        return titles
    ids = sorted({name.partition(":")[2] for name in missing})
    columns = ["entity_type", "entity_id", "title"]
    table = catalogue.to_table(columns=columns, filter=pc.field("entity_id").isin(ids))
    names = pc.binary_join_element_wise(table["entity_type"], table["entity_id"], ":")
    return {**_named(names, table["title"]), **titles}


def _named(ids: Any, titles: Any) -> dict[str, str]:
    pairs: Iterable[tuple[str, str | None]] = zip(ids.to_pylist(), titles.to_pylist(), strict=True)
    return {name: title for name, title in pairs if title}


def _read_attributes(log_dir: Path, user: str) -> tuple[str, ...] | None:
    """Returns the attributes of a user, `None` when the table does not list them."""
    users = _dataset(log_dir, "users")
    if users is None or "attributes" not in users.schema.names:
        return None
    table = users.to_table(columns=["attributes"], filter=pc.field("user_id") == user)
    rows = table["attributes"].to_pylist()
    return tuple(rows[0] or ()) if rows else None


def _some_users(log_dir: Path) -> list[str]:
    events = _dataset(log_dir, "events")
    if events is None:
        return []
    users: list[str] = events.head(10_000, columns=["user_id"])["user_id"].unique().to_pylist()
    return users[:3]


def _dataset(log_dir: Path, table: str) -> Any:
    files = sorted(Path(log_dir, table).rglob("*.parquet"))
    return parquet_dataset(files) if files else None


def _short(title: str) -> str:
    return title if len(title) <= _TITLE_WIDTH else title[: _TITLE_WIDTH - 1] + "…"
