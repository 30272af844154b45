"""Timelines as examples: which events and pages each has, and its features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from tfx_pipeline.components.timeline_example_gen import pages as page_rows
from tfx_pipeline.components.timeline_example_gen import popularity
from tfx_pipeline.components.timeline_example_gen.config import MICROSECONDS_A_DAY
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.components.timeline_example_gen.pages import Pages
from tfx_pipeline.components.timeline_example_gen.report import Counts
from tfx_pipeline.components.timeline_example_gen.splits import Cuts
from tfx_pipeline.components.timeline_example_gen.splits import Events
from tfx_pipeline.components.timeline_example_gen.splits import HeldOut
from tfx_pipeline.components.timeline_example_gen.timeline import Timelines
from tfx_pipeline.datasets.catalogue_index import ALWAYS
from tfx_pipeline.datasets.catalogue_index import CatalogueIndex
from tfx_pipeline.datasets.columns import list_offsets
from tfx_pipeline.datasets.row_hash import hash_ids
from tfx_pipeline.examples.encode import Feature
from tfx_pipeline.examples.encode import Stream
from tfx_pipeline.examples.encode import bytes_stream
from tfx_pipeline.examples.encode import dictionary_stream
from tfx_pipeline.examples.encode import float_stream
from tfx_pipeline.examples.encode import int_stream
from transforms import features as f
from transforms.arrow import pa

ACTIVITY_EDGES = (1, 10, 50, 200)
ACTIVITY_NAMES = (f.NO_HISTORY.encode(), b"1-9", b"10-49", b"50-199", b"200+")
AGE_EDGES = tuple(days * MICROSECONDS_A_DAY for days in (1, 7, 30))
AGE_NAMES = (b"<1d", b"1-7d", b"7-30d", b"30d+", b"unknown")


class Bucket(NamedTuple):
    """A sorted bucket and what is derived from it once for all splits."""

    timelines: Timelines
    events: Events
    cuts: Cuts
    pages: Pages
    page_split: np.ndarray  # [P], see `pages.split_of`
    streams: dict[str, Stream]  # values of users and of events, by feature


class Examples(NamedTuple):
    """Events and pages of each example of a split.

    Attributes:
        user: [B] int64.
        start: [B] int64, its first event.
        end: [B] int64, one behind its last event.
        chunk: [B] int64.
        context: [B] int64, leading events that are never targets.
        pages: [Q] int64, pages, ascending.
        page_example: [Q] int64, the example of each page, ascending.
        page_history: [Q] int64, events of the example that came before the page.
    """

    user: np.ndarray
    start: np.ndarray
    end: np.ndarray
    chunk: np.ndarray
    context: np.ndarray
    pages: np.ndarray
    page_example: np.ndarray
    page_history: np.ndarray


def train_examples(bucket: Bucket, config: TimelineConfig) -> Examples:
    """Divides each user's training events into chunks, and the pages among them.

    A chunk after the first begins with `context_events` events of the one
    before. A page belongs to the chunk that holds the event before it.
    """
    most, own = config.max_events_per_example, config.max_events_per_example - config.context_events
    start, end = bucket.events.offsets[:-1], bucket.cuts.train_end
    length = end - start
    pages = np.flatnonzero(bucket.page_split == page_rows.TRAIN)
    page_user, history = bucket.pages.user[pages], bucket.pages.history[pages]
    with_pages = np.bincount(page_user, minlength=len(length)) > 0
    chunks = np.where(length > most, 1 + -(-(length - most) // own), (length > 0) | with_pages)
    user = np.repeat(np.arange(len(length)), chunks)
    first = np.cumsum(chunks) - chunks
    chunk = np.arange(len(user)) - first[user]
    begin = start[user] + chunk * own  # chunk k > 0 has new events from start + most + (k - 1) own
    page_chunk = np.maximum(0, -(-(history - most) // own))
    example = first[page_user] + page_chunk
    return Examples(
        user=user,
        start=begin,
        end=np.minimum(begin + most, end[user]),
        chunk=chunk,
        context=np.where(chunk > 0, config.context_events, 0),
        pages=pages,
        page_example=example,
        page_history=history - page_chunk * own,
    )


def held_out_examples(
    bucket: Bucket, held: HeldOut, split: int, config: TimelineConfig
) -> Examples:
    """Takes the newest events of each history, and the pages of the held-out period."""
    start = np.maximum(held.start, held.end - config.max_events_per_example)
    example_of = np.full(len(bucket.timelines.users), -1)
    example_of[held.user] = np.arange(len(held.user))
    pages = np.flatnonzero(bucket.page_split == split)
    example = example_of[bucket.pages.user[pages]]
    pages, example = pages[example >= 0], example[example >= 0]
    history = bucket.pages.history[pages] - (start - held.start)[example]
    zeros = np.zeros(len(held.user), np.int64)
    return Examples(
        user=held.user,
        start=start,
        end=held.end,
        chunk=zeros,
        context=zeros,
        pages=pages,
        page_example=example,
        page_history=np.clip(history, 0, (held.end - start)[example]),
    )


def limit_impressions(bucket: Bucket, examples: Examples, most: int) -> Examples:
    """Keeps the newest pages of each example as long as they hold at most so many impressions."""
    sizes = np.diff(bucket.pages.offsets)[examples.pages]
    total = np.cumsum(sizes)
    last = np.searchsorted(examples.page_example, examples.page_example, side="right") - 1
    from_here = total[last] - total + sizes
    kept = (from_here <= most) | (np.arange(len(sizes)) == last)
    if kept.all():
        return examples
    return examples._replace(
        pages=examples.pages[kept],
        page_example=examples.page_example[kept],
        page_history=examples.page_history[kept],
    )


def shared_streams(timelines: Timelines, events: Events) -> dict[str, Stream]:
    """Encodes users and events once; the splits take slices."""
    codes = {name: timelines.codes[name][events.row] for name in ("entity", "event", "query")}
    words = timelines.dictionaries
    return {
        f.USER_ID: bytes_stream(timelines.users),
        f.USER_ATTRIBUTES: bytes_stream(timelines.attributes.flatten()),
        f.EVENT_ENTITY: dictionary_stream(codes["entity"], words["entity"]),
        f.EVENT_TYPE: dictionary_stream(codes["event"], words["event"]),
        f.EVENT_QUERY: dictionary_stream(codes["query"], words["query"]),
        f.EVENT_TIMESTAMP: int_stream(timelines.timestamp[events.row]),
        f.EVENT_VALUE: float_stream(timelines.value[events.row]),
    }


def timeline_features(
    bucket: Bucket,
    examples: Examples,
    request_time: np.ndarray,
    request_query: np.ndarray,
    with_labels: bool = False,
) -> list[Feature]:
    """Returns what every timeline has, held out or not.

    Args:
        bucket: The bucket.
        examples: The examples of a split.
        request_time: [B] int64, microseconds.
        request_query: [B] int32, codes of queries, -1 for none.
        with_labels: Whether impressions have their labels, where the bucket has any.
    """
    one = np.arange(len(examples.user))
    history = examples.start, examples.end
    request = request_time, request_query
    return [
        *request_features(bucket.timelines, bucket.streams, examples.user, history, request),
        Feature(f.CHUNK, int_stream(examples.chunk), one, one + 1),
        Feature(f.CONTEXT_LENGTH, int_stream(examples.context), one, one + 1),
        *_page_features(bucket, examples, with_labels),
    ]


def request_features(
    timelines: Timelines,
    streams: Mapping[str, Stream],
    user: np.ndarray,
    history: tuple[np.ndarray, np.ndarray],
    request: tuple[np.ndarray, np.ndarray],
) -> list[Feature]:
    """Returns what requests have: users, histories, times and queries.

    Args:
        timelines: The bucket's.
        streams: `shared_streams` of it.
        user: [B] int64.
        history: [B] int64 each, the first event of each history and one behind its last.
        request: Times, [B] int64, microseconds, and codes of queries, [B] int32, -1 for none.
    """
    one = np.arange(len(user))
    time, query = request
    queries = dictionary_stream(query, timelines.dictionaries["query"])
    attributes = list_offsets(timelines.attributes)
    return [
        Feature(f.USER_ID, streams[f.USER_ID], user, user + 1),
        Feature(
            f.USER_ATTRIBUTES, streams[f.USER_ATTRIBUTES], attributes[user], attributes[user + 1]
        ),
        Feature(f.REQUEST_TIME, int_stream(time), one, one + 1),
        Feature(f.REQUEST_QUERY, queries, one, one + 1),
        *(
            Feature(name, streams[name], *history)
            for name in (
                f.EVENT_ENTITY,
                f.EVENT_TYPE,
                f.EVENT_TIMESTAMP,
                f.EVENT_QUERY,
                f.EVENT_VALUE,
            )
        ),
    ]


def _page_features(bucket: Bucket, examples: Examples, with_labels: bool) -> list[Feature]:
    timelines, pages, chosen = bucket.timelines, bucket.pages, examples.pages
    rows = pages.row[chosen]
    edges = np.searchsorted(examples.page_example, np.arange(len(examples.user) + 1))
    sizes = np.diff(pages.offsets)[chosen]
    impressions = ranges(pages.offsets[:-1][chosen], sizes)
    shown = pages.impression_row[impressions]
    first_page = edges[:-1][examples.page_example]
    page = np.repeat(np.arange(len(chosen)) - first_page, sizes)  # within the example
    shown_edges = np.concatenate([[0], np.cumsum(sizes)])[edges]
    words, codes = timelines.dictionaries, timelines.codes
    by_page = {
        f.PAGE_ID: dictionary_stream(codes["page"][rows], words["page"]),
        f.PAGE_TIMESTAMP: int_stream(timelines.timestamp[rows]),
        f.PAGE_QUERY: dictionary_stream(codes["query"][rows], words["query"]),
        f.PAGE_HISTORY_LENGTH: int_stream(examples.page_history),
    }
    by_impression = {
        f.IMPRESSION_PAGE: int_stream(page),
        f.IMPRESSION_POSITION: int_stream(pages.position[impressions]),
        f.IMPRESSION_ENTITY: dictionary_stream(codes["entity"][shown], words["entity"]),
        f.IMPRESSION_CLICKED: int_stream(pages.clicked[impressions]),
    }
    if with_labels and pages.label is not None:
        by_impression[f.IMPRESSION_EVENTS] = int_stream(pages.label[impressions])
    return [
        Feature(name, stream, offsets[:-1], offsets[1:])
        for streams, offsets in ((by_page, edges), (by_impression, shown_edges))
        for name, stream in streams.items()
    ]


def ranges(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Returns the concatenation of `arange(start, start + size)`."""
    before = np.cumsum(sizes) - sizes
    return np.arange(int(sizes.sum())) + np.repeat(starts - before, sizes)


def target_features(
    bucket: Bucket, held: HeldOut, index: CatalogueIndex, classes: bytes
) -> tuple[list[Feature], Counts]:
    """Returns targets and slices of a held-out split, and counts about them."""
    timelines = bucket.timelines
    rows = bucket.events.row[held.targets]
    codes = timelines.codes["entity"][rows]
    words = timelines.dictionaries
    distinct, inverse = np.unique(codes, return_inverse=True)
    hashes = hash_ids(words["entity"].take(pa.array(distinct)))
    known, available = (values[inverse] for values in index.find(hashes))
    popular = popularity.classify(classes, hashes)[inverse]
    time = timelines.timestamp[rows]
    age = age_class(time, available)
    activity = np.searchsorted(ACTIVITY_EDGES, held.end - held.start, side="right")
    streams = {
        f.TARGET_ENTITY: dictionary_stream(codes, words["entity"]),
        f.TARGET_TYPE: dictionary_stream(timelines.codes["event"][rows], words["event"]),
        f.TARGET_TIMESTAMP: int_stream(time),
        f.SLICE_TARGET_POPULARITY: dictionary_stream(popular, pa.array(popularity.NAMES)),
        f.SLICE_TARGET_AGE: dictionary_stream(age, pa.array(AGE_NAMES)),
    }
    features = [
        Feature(name, stream, held.offsets[:-1], held.offsets[1:])
        for name, stream in streams.items()
    ]
    one = np.arange(len(held.user))
    names = dictionary_stream(activity, pa.array(ACTIVITY_NAMES))
    features.append(Feature(f.SLICE_ACTIVITY, names, one, one + 1))
    first_time = np.repeat(time[held.offsets[:-1]], np.diff(held.offsets))
    return features, {
        "count": len(rows),
        "not_in_catalogue": int((~known).sum()),
        "not_yet_available_at_request": int((available > first_time).sum()),
        "seen_before": _seen_before(bucket, held),
    }


def age_class(time: np.ndarray, available: np.ndarray) -> np.ndarray:
    """Returns [n] int64, which of `AGE_NAMES` entities have at a time.

    Args:
        time: [n] int64, microseconds.
        available: [n] int64, since when they are available; `ALWAYS` is unknown.
    """
    age = np.searchsorted(AGE_EDGES, time - np.maximum(available, 0), side="right")
    return np.where(available == ALWAYS, len(AGE_NAMES) - 1, age)


def _seen_before(bucket: Bucket, held: HeldOut) -> int:
    """Counts targets whose entity is in the user's history already."""
    entity = bucket.timelines.codes["entity"][bucket.events.row]
    key = bucket.events.user.astype(np.int64) << 32 | entity
    end = np.zeros(len(bucket.timelines.users), np.int64)
    end[held.user] = held.end
    history = np.arange(len(key)) < end[bucket.events.user]
    return int(np.isin(key[held.targets], key[history]).sum())
