"""Page views made by hand, as serialised page examples, and rankers that score them."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from tests.helpers.examples import example
from tests.helpers.rankers import ITEMS
from tests.helpers.rankers import export_ranker
from tests.helpers.rankers import small_data
from tests.helpers.timelines import DAY
from tests.helpers.timelines import timeline
from transforms import features as f


@dataclass(frozen=True)
class PageView:
    """One page view: what was shown to whom, and which events followed (bit h is head h)."""

    user: str
    candidates: Sequence[str]
    labels: Sequence[int]
    positions: Sequence[int] = ()
    history: Sequence[str] = ()
    query: str = ""
    history_slice: str = "1-9"
    popularity: Sequence[str] = ()
    age: Sequence[str] = ()

    def serialised(self) -> bytes:
        events = len(self.history)
        return example(
            **{
                f.USER_ID: self.user,
                f.USER_ATTRIBUTES: ["group=1"],
                f.EVENT_ENTITY: list(self.history),
                f.EVENT_TYPE: ["watch"] * events,
                f.EVENT_TIMESTAMP: [DAY] * events,
                f.EVENT_QUERY: [""] * events,
                f.EVENT_VALUE: [0.0] * events,
                f.REQUEST_TIME: 9 * DAY,
                f.REQUEST_QUERY: self.query,
                f.CANDIDATE_ENTITY: list(self.candidates),
                f.CANDIDATE_POSITION: list(self.positions),
                f.LABEL_EVENTS: list(self.labels),
                f.SLICE_HISTORY: self.history_slice,
                f.SLICE_QUERY: "with" if self.query else "without",
                f.SLICE_CANDIDATE_POPULARITY: list(self.popularity),
                f.SLICE_CANDIDATE_AGE: list(self.age),
            }
        )


def random_page_views(count: int, users: int, seed: int) -> list[PageView]:
    """Pages of 1 to 8 candidates with repeated items; every third user has no positive."""
    generator = np.random.default_rng(seed)
    pages = []
    for _ in range(count):
        user = int(generator.integers(users))
        width = int(generator.integers(1, 9)) if generator.random() < 0.9 else 1
        items = generator.integers(0, ITEMS + 3, width)  # the last are not in the catalogue
        clicked = generator.random(width) < (0.0 if user % 3 == 0 else 0.3)
        bought = clicked & (generator.random(width) < 0.4)
        history = generator.integers(0, ITEMS, generator.integers(0, 7))
        pages.append(
            PageView(
                user=f"u{user}",
                candidates=[f"item:{item}" for item in items],
                labels=(clicked + 2 * bought).tolist(),
                positions=(generator.permutation(20)[:width]).tolist(),
                history=[f"item:{item}" for item in history],
                query="grey thing" if generator.random() < 0.5 else "",
                history_slice="0" if not len(history) else "1-3" if len(history) < 4 else "4-9",
                popularity=[["head", "tail", "unseen"][item % 3] for item in items],
                age=[["new", "old"][item % 2] for item in items],
            )
        )
    return pages


def train_timelines(seed: int) -> list[bytes]:
    """Training timelines whose pages the users clicked on."""
    generator = np.random.default_rng(seed)
    timelines = []
    for user in range(30):
        shown = generator.integers(0, ITEMS, 12)
        clicked = generator.random(12) < 0.3
        bought = clicked & (generator.random(12) < 0.5)
        events = [("watch", f"item:{item}", DAY) for item in generator.integers(0, ITEMS, 5)]
        timelines.append(
            timeline(
                f"u{user}",
                events,
                **{
                    f.USER_ATTRIBUTES: ["group=1"],
                    f.PAGE_ID: ["a", "b"],
                    f.PAGE_TIMESTAMP: [2 * DAY, 3 * DAY],
                    f.PAGE_QUERY: ["", "grey thing"],
                    f.PAGE_HISTORY_LENGTH: [5, 5],
                    f.IMPRESSION_PAGE: [0] * 6 + [1] * 6,
                    f.IMPRESSION_POSITION: [*range(6), *range(6)],
                    f.IMPRESSION_ENTITY: [f"item:{item}" for item in shown],
                    f.IMPRESSION_CLICKED: clicked.astype(int).tolist(),
                    f.IMPRESSION_EVENTS: (clicked + 2 * bought).tolist(),
                },
            )
        )
    return timelines


def save_rounded_ranker(scratch: Path, path: Path, events: Sequence[str]) -> None:
    """Exports a DIN with random weights and rounds its scores, so that many are equal."""
    data = small_data(scratch, train_timelines(seed=1))
    label = {"source": "impressions", "events": list(events)}
    export_ranker(data, scratch / "exported", scale=0.5, label=label)
    rounded = tf.Module()
    rounded.ranker = tf.saved_model.load(str(scratch / "exported"))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serving_default(examples):
        scores = rounded.ranker.signatures["serving_default"](examples=examples)
        return {name: tf.round(values * 32.0) / 32.0 for name, values in scores.items()}

    tf.saved_model.save(rounded, str(path), signatures={"serving_default": serving_default})


def save_table_ranker(path: Path, scores: Mapping[str, float], **heads: float) -> None:
    """Saves a ranker that scores an item as a table says; a further head is that times a factor."""
    module = tf.Module()
    module.table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(
            tf.constant(list(scores)), tf.constant(list(scores.values()), tf.float32)
        ),
        0.0,
    )

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serving_default(examples):
        spec = {f.CANDIDATE_ENTITY: tf.io.RaggedFeature(tf.string)}
        found = module.table.lookup(
            tf.io.parse_example(examples, spec)[f.CANDIDATE_ENTITY].to_tensor()
        )
        return {"scores": found} | {name: found * factor for name, factor in heads.items()}

    tf.saved_model.save(module, str(path), signatures={"serving_default": serving_default})
