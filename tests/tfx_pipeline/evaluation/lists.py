"""Users whose recommended lists are given by hand, as timelines and as a SavedModel."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from tests.helpers.examples import example
from tests.helpers.servables import describe_servable
from transforms import features as f


@dataclass(frozen=True)
class User:
    """One user: what they did, what is held out, and of which slices that is."""

    name: str
    history: Sequence[str] = ()
    targets: Sequence[str] = ()
    popularity: Sequence[str] = ()
    activity: str = "1-9"
    time: int = 10_000
    recommended: Sequence[str] = field(default=(), compare=False)

    def serialised(self) -> bytes:
        columns = {
            f.USER_ID: self.name,
            f.EVENT_ENTITY: list(self.history),
            f.EVENT_TYPE: ["watch"] * len(self.history),
            f.EVENT_TIMESTAMP: list(range(len(self.history))),
            f.REQUEST_TIME: self.time,
            f.SLICE_ACTIVITY: self.activity,
        }
        if self.targets:
            columns |= {
                f.TARGET_ENTITY: list(self.targets),
                f.SLICE_TARGET_POPULARITY: list(self.popularity),
            }
        return example(**columns)


def random_users(count: int, items: int, k: int, seed: int) -> list[User]:
    """Users with 0 to 4 targets, half of them recommended, and lists of 0 to k items."""
    generator = np.random.default_rng(seed)
    names = np.array([f"movie:{i}" for i in range(items)])
    groups = np.array(["head", "torso", "tail", "unseen"])
    users = []
    for index in range(count):
        listed = names[generator.permutation(items)[: generator.integers(0, k + 1)]]
        pool = np.concatenate([listed[:3], names[generator.integers(0, items, 4)]])
        targets = generator.choice(pool, generator.integers(0, 5))
        users.append(
            User(
                name=f"u{index}",
                history=names[generator.integers(0, items, generator.integers(0, 8))].tolist(),
                targets=targets.tolist(),
                popularity=[str(groups[int(t.partition(":")[2]) % 4]) for t in targets],
                activity=["1-9", "10-49"][index % 2],
                recommended=listed.tolist(),
                time=int(generator.integers(1, 100)),
            )
        )
    return users


def write_split(directory: Path, split: str, users: Sequence[User]) -> None:
    """Writes timelines as a split of an Examples artifact."""
    path = directory / f"Split-{split}"
    path.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(path / "data-00000-of-00001.gz"), "GZIP") as writer:
        for user in users:
            writer.write(user.serialised())


class ListModel(tf.Module):
    """Answers each user with the list that it was given."""

    def __init__(self, lists: Mapping[str, Sequence[str]], k: int) -> None:
        super().__init__()
        padded = [[*items[:k], *[""] * (k - len(items))] for items in lists.values()]
        self.rows = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                tf.constant(list(lists), tf.string), tf.range(len(lists))
            ),
            -1,
        )
        self.classes = tf.constant(padded, tf.string, [len(lists), k])
        self.k = k

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serving_default(self, examples):
        spec = {f.USER_ID: tf.io.FixedLenFeature([], tf.string)}
        classes = tf.gather(
            self.classes, self.rows.lookup(tf.io.parse_example(examples, spec)[f.USER_ID])
        )
        order = -tf.range(self.k, dtype=tf.float32)[None]
        return {"classes": classes, "scores": tf.where(classes == "", -np.inf, order)}


def write_candidates(path: Path, available_from: Mapping[str, int]) -> None:
    """Writes ids and when they are available, as an index holds them."""
    moments = [moment or None for moment in available_from.values()]
    columns = {"id": list(available_from), "available_from": pa.array(moments, pa.int64())}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def save_list_model(
    path: Path, lists: Mapping[str, Sequence[str]], k: int, candidates: int = 0
) -> None:
    """Saves a `ListModel` with the files that make it a servable."""
    model = ListModel(lists, k)
    tf.saved_model.save(model, str(path), signatures={"serving_default": model.serving_default})
    servable = {"candidates": candidates or 1, "exclude_seen": [], "backend": "exact", "k": k}
    describe_servable(path, **servable)
    write_candidates(path / "index" / "candidates.parquet", {"movie:1": 0})
    for name in ("vectors.npy", "index.json"):
        (path / "index" / name).write_bytes(b"{}")
