"""`vitrine export` over tiny towers: what it writes, and what it embeds again."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from click.testing import CliRunner

from serving.publishing.publish import publish
from tests.helpers.recorded_runs import Step
from tests.helpers.recorded_runs import record_run
from tests.helpers.servables import write_tiny_servable
from tests.helpers.towers import TinyTowers
from tests.helpers.towers import save_towers
from tests.tfx_pipeline.components.timeline_example_gen.logs import DAY
from tests.tfx_pipeline.components.timeline_example_gen.logs import START
from tests.tfx_pipeline.components.timeline_example_gen.logs import event
from tests.tfx_pipeline.components.timeline_example_gen.logs import write_log
from tfx_pipeline.cli import cli
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.evaluation.embeddings.vectors import read_embeddings
from tfx_pipeline.export.files import ITEMS
from tfx_pipeline.export.files import USERS
from tfx_pipeline.export.files import open_export
from tfx_pipeline.export.files import similarity
from tfx_pipeline.export.rows import whole_timelines

IDS = [f"item:{i}" for i in range(6)]
CATALOGUE = [
    *({"entity_type": "item", "entity_id": str(i), "title": f"Item {i}"} for i in range(6)),
    {"entity_type": "video", "entity_id": "0", "title": "No candidate"},
]
PEOPLE = [{"user_id": "u1", "attributes": ["town=ghent"]}]


def events(days: int) -> list[dict[str, Any]]:
    """Every user but the last does something on day 0; on later days one of them each."""
    first = [event(f"u{user}", f"item:{user}", START + user) for user in range(4)]
    first.append(event("u4", "item:1", START + 9, "impression", page_id="p"))
    later = [
        event(f"u{day % 4}", f"item:{day % 6}", START + day * DAY, "buy")
        for day in range(1, days + 1)
    ]
    return first + later


def oracle(towers: TinyTowers, rows: Sequence[dict[str, Any]], user: str) -> np.ndarray:
    """Embeds a user's request at the time of the newest event by the dense signature."""
    mine = sorted((row for row in rows if row["user_id"] == user), key=lambda r: r["timestamp"])
    done = [row for row in mine if row["event"] != "impression"]
    told = ["town=ghent"] if user == "u1" else []
    answer = towers.embed_query(
        history_ids=tf.constant(
            [[f"{row['entity_type']}:{row['entity_id']}" for row in done]], tf.string
        ),
        history_events=tf.constant([[row["event"] for row in done]], tf.string),
        history_timestamps=tf.constant([[row["timestamp"] for row in done]], tf.int64),
        history_length=tf.constant([len(done)], tf.int64),
        request_time=tf.constant([(done or mine)[-1]["timestamp"]], tf.int64),
        query=tf.constant([""]),
        user_attributes=tf.constant([told], tf.string),
        user_attributes_length=tf.constant([len(told)], tf.int64),
    )
    return {name: value.numpy()[0] for name, value in answer.items()}


class Shop:
    """A run with a pushed model, and an event log that grows."""

    def __init__(self, root: Path, **towers: Any) -> None:
        self.root = root
        self.run = root / "run"
        self.days = 0
        self.push(**towers)
        config = f"name: tiny\nlog_dir: {root / 'log'}\nrun_dir: {self.run}\n"
        (self.run / "config.yaml").write_text(f"{config}candidate_types: [item]\n")
        self.log(events(0))

    def push(self, **towers: Any) -> None:
        """Pushes another model."""
        where = self.root / f"model-{towers}"
        servable = write_tiny_servable(where, IDS, **towers)
        (self.run / "pushed/retrieval").mkdir(parents=True, exist_ok=True)
        publish(self.run / "pushed/retrieval", servable, lambda version: None)
        self.towers = TinyTowers(**towers)

    def log(self, rows: list[dict[str, Any]], catalogue: Any = CATALOGUE) -> None:
        """Replaces the event log."""

        shutil.rmtree(self.root / "log", ignore_errors=True)
        self.rows = rows
        write_log(self.root / "log", rows, catalogue, PEOPLE)

    def export(self, *options: str, out: str = "out") -> tuple[dict[str, Any], str]:
        """Runs the command; returns the tables' counts and what was said."""
        arguments = ["export", str(self.run), "--out", str(self.root / out), *options]
        done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return open_export(self.root / out).manifest["tables"], done.output

    def table(self, which: Any, out: str = "out") -> pa.Table:
        return open_export(self.root / out).read(which)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(tmp_path_factory.mktemp("shop"))


def counts(told: dict[str, Any], table: str) -> tuple[int, ...]:
    return tuple(told[table][name] for name in ("rows", "embedded", "kept", "dropped"))


def assert_equal(one: pa.Table, other: pa.Table) -> None:
    """Names and hashes are the same; vectors are, but for rounding in batches of other sizes."""
    assert one.drop(["embedding"]).equals(other.drop(["embedding"]))
    vectors = [np.stack(table["embedding"].to_pylist()) for table in (one, other)]
    np.testing.assert_allclose(*vectors, atol=1e-6)


def test_every_user_and_candidate_has_its_embedding(shop: Shop) -> None:
    shop.log(events(3))
    told, output = shop.export(out="first")
    assert counts(told, "users") == (5, 5, 0, 0) and counts(told, "items") == (6, 6, 0, 0)
    assert "users   5: 5 embedded, 0 kept, 0 dropped" in output
    users, items = (shop.table(which, "first") for which in (USERS, ITEMS))
    assert users["user_id"].to_pylist() == [f"u{i}" for i in range(5)]
    assert users.schema.field("embedding").type == pa.list_(pa.float32(), 16)
    expected = [oracle(shop.towers, shop.rows, f"u{i}")["embedding"] for i in range(5)]
    np.testing.assert_allclose(np.stack(users["embedding"].to_pylist()), expected, atol=1e-6)
    newest = [START + DAY * 0, START + DAY, START + 2 * DAY, START + 3 * DAY, START + 9]
    assert users["timestamp"].to_pylist() == newest
    assert items["entity_id"].to_pylist() == [str(i) for i in range(6)]
    assert set(items["entity_type"].to_pylist()) == {"item"}  # a video is no candidate here
    vectors = shop.towers.vectors(tf.constant(IDS)).numpy()
    np.testing.assert_allclose(np.stack(items["embedding"].to_pylist()), vectors, atol=1e-6)
    assert set(items["model_version"].to_pylist()) == {"1"}
    manifest = json.loads((shop.root / "first" / "manifest.json").read_text())
    assert manifest["model"]["name"] == "tiny" and manifest["model"]["version"] == "1"
    told_type = told["users"]["columns"]["embedding"]  # Arrow 14 changed the name of elements
    assert re.fullmatch(r"fixed_size_list<(item|element): float>\[16\]", told_type)
    assert sorted(p.name for p in (shop.root / "first").iterdir()) == [
        "items", "manifest.json", "users"
    ]  # fmt: skip
    judged = read_embeddings(shop.root / "first")  # as `vitrine benchmark-embeddings` does
    assert judged.items.keys.tolist() == [f"item:{i}" for i in range(6)]
    np.testing.assert_allclose(judged.items.vectors[:, 0], vectors, atol=1e-6)
    np.testing.assert_allclose(judged.users.vectors[:, 0], expected, atol=1e-6)


def test_only_what_changed_is_embedded_again(shop: Shop) -> None:
    shop.log(events(0))
    shop.export()
    shop.log(events(2), [*CATALOGUE[:5], {**CATALOGUE[5], "title": "New name"}, CATALOGUE[6]])
    told, _ = shop.export()
    assert counts(told, "users") == (5, 2, 3, 0)  # u1 and u2 did something
    assert counts(told, "items") == (6, 1, 5, 0)
    rows = [row for row in events(3) if row["user_id"] != "u0"]  # u0 has left
    shop.log([*rows, event("u9", "item:3", START + 4 * DAY)], CATALOGUE[1:])
    told, _ = shop.export()
    assert counts(told, "users") == (5, 2, 3, 1)  # u3 and u9; u0 is dropped
    assert counts(told, "items") == (5, 1, 4, 1)  # item 5 has its old title again
    shop.export(out="whole")
    for which in (USERS, ITEMS):
        assert_equal(shop.table(which), shop.table(which, "whole"))
    told, _ = shop.export()
    assert counts(told, "users") == (5, 0, 5, 0) and counts(told, "items") == (5, 0, 5, 0)
    told, _ = shop.export("--full")
    assert counts(told, "users") == (5, 5, 0, 0)


def test_an_export_elsewhere_is_gone_on_from_and_stays(shop: Shop) -> None:
    shop.log(events(0))
    shop.export(out="monday")
    shop.log(events(1))
    told, _ = shop.export("--earlier", str(shop.root / "monday"), out="tuesday")
    assert counts(told, "users") == (5, 1, 4, 0)
    assert shop.table(USERS, "monday")["timestamp"].to_pylist()[1] == START + 1


def test_another_model_embeds_everything_again(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.export()
    shop.push(seed=3)
    told, output = shop.export("--version", "1")
    assert counts(told, "users") == (5, 0, 5, 0)
    told, output = shop.export()
    assert counts(told, "users") == (5, 5, 0, 0)
    assert "is of another model: all are embedded again" in output
    users = shop.table(USERS)
    assert set(users["model_version"].to_pylist()) == {"2"}
    expected = oracle(shop.towers, shop.rows, "u2")["embedding"]
    np.testing.assert_allclose(users["embedding"][2].as_py(), expected, atol=1e-6)


def test_what_a_run_trained_need_not_be_pushed(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    record_run(shop.run, [Step("trainer", outputs={"model": {}})])
    (model,) = (shop.run / "artifacts/trainer/model").iterdir()
    towers = save_towers(model / "Format-Serving", seed=5)
    shop.export("--trained")
    users = shop.table(USERS)
    assert set(users["model_version"].to_pylist()) == {"run-1"}
    expected = oracle(towers, shop.rows, "u3")["embedding"]
    np.testing.assert_allclose(users["embedding"][3].as_py(), expected, atol=1e-6)


def test_several_interests_are_a_list_of_vectors_with_weights(tmp_path: Path) -> None:
    shop = Shop(tmp_path, interests=3, weighted=True)
    shop.log(events(5))
    shop.export()
    shop.log(events(7))
    told, _ = shop.export()
    assert counts(told, "users") == (5, 2, 3, 0)
    users = shop.table(USERS)
    assert users.schema.field("embedding").type == pa.list_(pa.list_(pa.float32(), 16))
    for i in range(5):
        expected = oracle(shop.towers, shop.rows, f"u{i}")
        found = users["embedding"][i].as_py(), users["weight"][i].as_py()
        np.testing.assert_allclose(found[0], expected["embedding"], atol=1e-6)
        np.testing.assert_allclose(found[1], expected["weight"], atol=1e-6)
    assert shop.table(ITEMS).schema.field("embedding").type == pa.list_(pa.float32(), 16)
    scored = open_export(shop.root / "out").manifest["similarity"]
    assert scored.startswith("log of the sum of weight * exp(dot product)")
    judged = read_embeddings(shop.root / "out").users
    assert judged.vectors.shape == (5, 3, 16)
    np.testing.assert_array_equal(judged.vectors, users["embedding"].to_pylist())
    np.testing.assert_array_equal(judged.weights, users["weight"].to_pylist())


def test_bad_rows_are_kept_with_their_reason(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.log([*events(0), *(event("u1", "item:1", START + i) for i in range(2, 202))])
    bad = event("", "item:1", START)
    shop.log([*shop.rows, bad])
    shop.export()
    (letters,) = (tmp_path / "out/dead_letter").iterdir()
    assert pq.read_table(letters)["reason"].to_pylist() == ["user_id is missing"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--version", "7"], "has no version 7"),
        (["--trained"], "is not the directory of a run"),
        (["--set", "retrieval=null", "--set", "ranking={}"], "a ranker has no embeddings"),
        (["--earlier", "nowhere"], "holds no export of embeddings"),
    ],
)
def test_what_cannot_be_exported_is_said(shop: Shop, options: list[str], message: str) -> None:
    with pytest.raises((ValueError, OSError), match=message):
        shop.export(*options, out="none")
    assert not (shop.root / "none").exists() and not (shop.root / ".none.partial").exists()


def test_a_directory_of_other_files_is_left_alone(shop: Shop) -> None:
    (shop.root / "mine").mkdir(exist_ok=True)
    (shop.root / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(ValueError, match="holds something else than an export"):
        shop.export(out="mine")


def test_rows_are_read_as_in_the_run_but_not_divided() -> None:
    given = {"include_images": True, "max_events_per_example": 300, "unknown_entities": "keep"}
    divided = {"split": "time-cut", "validation_days": 1, "test_days": 1, "label": {}}
    config = TimelineConfig.model_validate({**given, **divided})
    assert whole_timelines(config) == TimelineConfig.model_validate(given)


def test_an_export_that_was_killed_while_it_took_its_place_leaves_the_earlier_one(
    tmp_path: Path,
) -> None:
    shop = Shop(tmp_path)
    shop.log(events(4))
    shop.export()
    (tmp_path / "out").rename(tmp_path / ".out.earlier")  # what a kill between two renames leaves
    told, _ = shop.export()
    assert counts(told, "users") == (5, 0, 5, 0)
    assert not (tmp_path / ".out.earlier").exists()


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"embedding": "fixed_size_list<element: float>[16]"}, "dot product"),
        (
            {"embedding": "list<element: fixed_size_list<element: float>[16]>"},
            "greatest dot product of the user's vectors",
        ),
    ],
)
def test_the_manifest_says_how_pairs_are_scored(columns: dict[str, str], expected: str) -> None:
    assert similarity({"users": {"columns": columns}}) == expected
