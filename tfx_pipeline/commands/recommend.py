"""`vitrine recommend`: ask a server, print titles beside what the user did lately."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import click

from models.families import Stage
from serving.cascade import Cascade
from serving.cascade import CascadeAnswer
from serving.cascade.answer import join
from serving.client import Event
from serving.client import RecommenderClient
from serving.client import Request
from serving.client import ServingError
from serving.client import wait_until_ready
from serving.publishing.servable_file import SERVABLE
from tfx_pipeline.commands.finished_run import find_run
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.datasets.user_history import read_attributes
from tfx_pipeline.datasets.user_history import read_history
from tfx_pipeline.datasets.user_history import read_index_titles
from tfx_pipeline.datasets.user_history import read_titles
from tfx_pipeline.datasets.user_history import some_users
from transforms.storage import place

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
    """One recommendation.

    Attributes:
        rank: Its rank, from 1.
        entity: The item, `type:id`.
        title: Its title.
        score: The retrieval model's score.
        ranking_score: The ranker's; None where no ranker answered.
    """

    rank: int
    entity: str
    title: str
    score: float
    ranking_score: float | None = None


@dataclass(frozen=True)
class UserRecommendations:
    """A user's recent history beside what a server recommends.

    Attributes:
        user: The user's id; None is somebody new.
        events: Length of the whole history that was sent.
        history: Its last events, newest first.
        recommendations: Best first.
        model: The retrieval model that answered.
        version: Its version.
        remark: Why there are fewer recommendations than were asked for, if there are, and
            why they are not ranked, if a ranker was asked and did not answer.
        ranker: The ranker that answered, with its version; "" if none did.
    """

    user: str | None
    events: int
    history: tuple[HistoryRow, ...]
    recommendations: tuple[RecommendationRow, ...]
    model: str
    version: int
    remark: str = ""
    ranker: str = ""


def recommend_to(
    user: str | None,
    k: int,
    run_dir: Path | None,
    address: str,
    name: str | None,
    timeout: float,
    ranker_dir: Path | None = None,
    ranker_address: str | None = None,
    retrieval_weight: float = 0.0,
) -> str:
    """Asks a server for recommendations for a user of a run's event log.

    Args:
        user: The user's id in the log; None is somebody new.
        k: How many recommendations.
        run_dir: The run that pushed what is served; the newest one when None.
        address: `host:port` of the server.
        name: What the server calls the model; the run's name when None.
        timeout: Seconds to wait for a server that is still starting or loading,
            and then for its answer.
        ranker_dir: The run whose ranker puts the recommendations in order; when None
            `run_dir`'s own, if that has one.
        ranker_address: `host:port` of the ranker's server; the same one when None.
        retrieval_weight: How much the retrieval's score counts; see `serving.cascade`.

    Returns:
        The user's recent history beside the recommendations.

    Raises:
        ValueError: There is no such run, it has no ranker, or the log does not know the user.
        ConnectionError: The server cannot be reached or refuses the request.
    """
    config = find_run(run_dir)
    _require_stage(config, "retrieval", "--run")
    config = config.model_copy(update={"name": name or config.name})
    ranked_by = config
    if ranker_dir:
        ranked_by = find_run(ranker_dir)
        _require_stage(ranked_by, "ranking", "--ranker")
    ranker = ranked_by.model_name("ranking") if "ranking" in ranked_by.stages else None
    answer = recommend_for_user(
        user,
        k,
        place(config.log_dir),
        place(config.push_dir_of("retrieval")),
        address=address,
        model=config.name,
        ranker=ranker,
        ranker_address=ranker_address,
        retrieval_weight=retrieval_weight,
        wait=timeout,
        say=lambda line: click.echo(line, err=True),
        timeout=timeout,
    )
    return format_recommendations(answer)


def _require_stage(config: PipelineConfig, stage: Stage, option: str) -> None:
    if stage not in config.stages:
        raise ValueError(
            f"{config.run_dir} is a run without the stage `{stage}`. Name one that has it with "
            f"`{option}`."
        )


def recommend_for_user(
    user: str | None,
    k: int,
    log_dir: Path,
    base_path: Path | None = None,
    *,
    address: str = "127.0.0.1:8500",
    model: str = "recommender",
    ranker: str | None = None,
    ranker_address: str | None = None,
    retrieval_weight: float = 0.0,
    recent: int = 10,
    request_time: int | None = None,
    wait: float = 0.0,
    say: Callable[[str], None] | None = None,
    **client_options: Any,
) -> UserRecommendations:
    """Asks a server what a user of an event log should see next.

    Args:
        user: The user's id in the log; None is somebody new, of whom nothing is known.
        k: How many recommendations.
        log_dir: The event log.
        base_path: The pushed versions; the titles come from the index of the
            version that answers, and otherwise from the log's catalogue.
        address: `host:port` of the server.
        model: What the server calls the retrieval model.
        ranker: What the ranker that puts the recommendations in order is called, if any.
        ranker_address: `host:port` of its server; the same one when None.
        retrieval_weight: How much the retrieval's score counts beside the ranker's.
        recent: How many events of the history to return.
        request_time: Microseconds; by default just after the user's last event,
            for a log may be of long ago.
        wait: Seconds to wait for a server that is still starting or loading; a ranker
            without a version is not waited for.
        say: Takes what is waited for.
        **client_options: Settings of `RecommenderClient`.

    Raises:
        FileNotFoundError: The log has no events.
        ValueError: The log does not know the user.
        ConnectionError: The server cannot be reached, or refuses the request.
    """
    history = [] if user is None else read_history(log_dir, user)
    attributes = None if user is None else read_attributes(log_dir, user)
    if user is not None and not history and attributes is None:
        raise ValueError(
            f"Expected a user of the event log `{log_dir}`. Received: `{user}`, who has no events "
            f"there. Its users are for instance {', '.join(some_users(log_dir))}. Leave the user "
            "out to ask for somebody new."
        )
    if request_time is None:
        request_time = history[-1].timestamp + 1 if history else 0
    request = Request(history, user_attributes=tuple(attributes or ()), request_time=request_time)
    try:
        with RecommenderClient(address, model, **client_options) as retriever:
            if wait > 0:
                wait_until_ready(retriever, wait, say)
            if ranker is None:
                fetched = retriever.recommend_batch([request], k)
                (answer,) = join(fetched, [], None, k)
            else:
                second_address = ranker_address or address
                with RecommenderClient(second_address, ranker, **client_options) as second:
                    if wait > 0 and _may_become_ready(second):
                        with suppress(ServingError):  # the answer will say why
                            wait_until_ready(second, wait, say)
                    cascade = Cascade(retriever, second, retrieval_weight=retrieval_weight)
                    (answer,) = cascade.recommend_batch([request], k)
    except ServingError as error:
        raise ConnectionError(str(error)) from error
    last = history[: -recent - 1 : -1] if recent else []
    return _with_titles(user, len(history), last, answer, k, log_dir, base_path)


def _may_become_ready(ranker: RecommenderClient) -> bool:
    """Returns False where a server has no version to load, as when a gate refused the ranker."""
    try:
        return any(version.state != "END" for version in ranker.model_status())
    except ServingError:  # nobody is there yet, or the wait will see what is wrong
        return True


def format_recommendations(result: UserRecommendations) -> str:
    """Returns recent history and recommendations as two columns of text."""
    left = [f"{row.event:<10.10} {_short(row.title)}" for row in result.history]
    right = [
        f"{row.rank:>3}  {_scores(row)}  {_short(row.title)}" for row in result.recommendations
    ]
    ranker = f", ranked by {result.ranker}" if result.ranker else ""
    columns = " (scores of the ranker and of the retrieval)" if result.ranker else ""
    width = max([len(line) for line in left] + [len("Recent history")])
    who = "Somebody new" if result.user is None else f"User {result.user}, {result.events} events"
    lines = [
        f"{who}; answered by {result.model} version {result.version}{ranker}",
        "",
        f"{'Recent history':<{width}}   Recommended{columns}",
    ]
    lines += [f"{a:<{width}}   {b}".rstrip() for a, b in zip_longest(left, right, fillvalue="")]
    return "\n".join([*lines, *filter(None, [result.remark])])


def _scores(row: RecommendationRow) -> str:
    ranked = "" if row.ranking_score is None else f"{row.ranking_score:>8.3f}  "
    return f"{ranked}{row.score:>8.3f}"


def _with_titles(
    user: str | None,
    events: int,
    last: list[Event],
    answer: CascadeAnswer,
    k: int,
    log_dir: Path,
    base_path: Path | None,
) -> UserRecommendations:
    fetched, ranking = answer.retrieval, answer.ranking
    version = None if base_path is None else base_path / str(fetched.version)
    titles = _titles({*answer.ids, *(event.id for event in last)}, log_dir, version)
    unranked = f"Not ranked: {answer.reason}" if answer.is_fallback else ""
    return UserRecommendations(
        user,
        events,
        tuple(HistoryRow(e.id, titles.get(e.id, e.id), e.event, e.timestamp) for e in last),
        tuple(
            RecommendationRow(rank, name, titles.get(name, name), score, ranking_score)
            for rank, (name, score, ranking_score) in enumerate(answer.items, 1)
        ),
        fetched.model,
        fetched.version,
        "\n".join(filter(None, [_why_fewer(k, len(answer), version), unranked])),
        f"{ranking.model} version {ranking.version}" if ranking else "",
    )


def _why_fewer(asked: int, received: int, version: Path | None) -> str:
    """Says why there are fewer recommendations than were asked for; "" when there are not."""
    if received >= asked:
        return ""
    servable = version / SERVABLE if version else None
    most = None
    if servable is not None and servable.is_file():
        most = json.loads(servable.read_text(encoding="utf-8")).get("k")
    if received and received == most:
        return (
            f"Asked for {asked:,}, received {received:,}: that is all that this servable returns. "
            "Raise `retrieval.index.k` and run again for more."
        )
    if received:
        return (
            f"Asked for {asked:,}, received {received:,}: everything else is excluded or not yet "
            "available, or the servable returns no more (`retrieval.index.k`)."
        )
    return "Nothing to recommend: everything is excluded or not yet available."


def _titles(wanted: set[str], log_dir: Path, version: Path | None) -> dict[str, str]:
    """Finds titles in the index of the version that answered, then in the log."""
    titles: dict[str, str] = {}
    path = version / "index" / "candidates.parquet" if version else None
    if path is not None and path.exists():
        titles = read_index_titles(path, wanted)
    return {**read_titles(log_dir, wanted - titles.keys()), **titles}


def _short(title: str) -> str:
    return title if len(title) <= _TITLE_WIDTH else title[: _TITLE_WIDTH - 1] + "…"
