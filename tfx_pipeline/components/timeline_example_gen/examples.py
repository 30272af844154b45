"""Which events and pages each example of a split has."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tfx_pipeline.components.timeline_example_gen import pages as page_rows
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.components.timeline_example_gen.encode import Stream
from tfx_pipeline.components.timeline_example_gen.pages import Pages
from tfx_pipeline.components.timeline_example_gen.splits import Cuts
from tfx_pipeline.components.timeline_example_gen.splits import Events
from tfx_pipeline.components.timeline_example_gen.splits import HeldOut
from tfx_pipeline.components.timeline_example_gen.timeline import Timelines


class Bucket(NamedTuple):
    """A sorted bucket and what is derived from it once for all splits."""

    timelines: Timelines
    events: Events
    cuts: Cuts
    pages: Pages
    page_split: np.ndarray  # [P], see `pages.split_of`
    streams: dict[str, Stream]  # values of users and of events, by feature


class Examples(NamedTuple):
    """Which events and pages each example of a split has.

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
