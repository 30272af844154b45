"""Text, ids, numbers and vectors that are wrong as people's are."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from tests.tfx_pipeline.components.timeline_example_gen.logs import not_utf8
from tests.tfx_pipeline.components.timeline_example_gen.logs import picture
from tests.tfx_pipeline.datasets.small_log import catalogue
from tests.tfx_pipeline.datasets.small_log import events
from tests.tfx_pipeline.datasets.small_log import of
from tests.tfx_pipeline.datasets.small_log import only
from tests.tfx_pipeline.datasets.small_log import put
from tests.tfx_pipeline.datasets.small_log import sound_log
from tfx_pipeline.datasets.validate import validate_event_log


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return sound_log(tmp_path / "log")


def test_the_same_id_in_two_types_is_fine_and_two_rows_of_one_entity_are_not(log: Path) -> None:
    put(log, "catalogue", catalogue(entity_type=["item", "item", "item", "video"]), "b.parquet")
    problems = validate_event_log(log)
    shared, twice = of(problems, "shared-id"), of(problems, "duplicate-row")
    assert (shared.severity, shared.count) == ("info", 1)
    assert {s["entity_type"] for s in shared.samples} == {"item", "video"}
    assert (twice.severity, twice.count) == ("error", 3)
    put(log, "users", pa.table({"user_id": ["u0", "u0"]}))
    assert [p.table for p in validate_event_log(log) if p.kind == "duplicate-row"] == [
        "catalogue",
        "users",
    ]


def test_text_that_is_not_utf8(log: Path) -> None:
    title = not_utf8([b"ok", b"caf\xe9", None, b"ok"])
    put(log, "catalogue", catalogue(title=title))
    problem = only(validate_event_log(log), "not-utf8")
    assert (problem.severity, problem.column, problem.count) == ("error", "title", 1)
    assert problem.samples[0] == {
        "file": "catalogue/a.parquet",
        "row": 1,
        "title": b"caf\xe9",
        "entity_type": "item",
        "entity_id": "1",
    }
    assert "latin-1" in problem.message
    words = not_utf8([b"a=b", b"c=\xff", b"d=e"])
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 1, 2, 3], pa.int32()), words)
    put(log, "catalogue", catalogue(attributes=lists))
    problem = only(validate_event_log(log), "not-utf8")
    assert problem.samples[0]["row"] == 2
    assert problem.samples[0]["attributes"] == [b"c=\xff"]


def test_ids_that_are_not_utf8_or_null_or_empty(log: Path) -> None:
    put(log, "events", events(user_id=not_utf8([b"\xff"] + [b"u1", b"u2"] * 5 + [b"u1"])))
    problem = only(validate_event_log(log), "not-utf8")
    assert (problem.column, problem.samples[0]["user_id"]) == ("user_id", b"\xff")
    put(log, "events", events(entity_id=[None, "", *("0123456789"[:4] * 3)[:10]]))
    problem = only(validate_event_log(log), "null-id")
    assert (problem.severity, problem.column, problem.count) == ("error", "entity_id", 2)
    assert [s["entity_id"] for s in problem.samples] == [None, ""]


def test_prices_values_and_positions(log: Path) -> None:
    put(log, "catalogue", catalogue(price=[-1.0, float("nan"), float("inf"), 2.0]))
    problem = only(validate_event_log(log), "bad-price")
    assert (problem.severity, problem.count) == ("error", 3)
    assert problem.samples[0]["entity_id"] == "0"
    put(log, "catalogue", catalogue())
    value = [float("nan")] + [1.0] * 11
    put(log, "events", events(value=value, position=pa.array([-1] + [0] * 11, pa.int32())))
    problems = validate_event_log(log)
    assert of(problems, "bad-value").severity == "warning"
    assert of(problems, "bad-position").count == 1


def test_related_ids_and_attributes(log: Path) -> None:
    related = [["item:1", "item:9"], ["2"], None, ["item:0"]]
    put(log, "catalogue", catalogue(related_ids=related, attributes=[["red"], [], None, ["a=b"]]))
    problems = validate_event_log(log)
    lost, form = of(problems, "related-unknown"), of(problems, "related-form")
    assert (lost.severity, lost.count, lost.samples[0]["row"]) == ("warning", 1, 0)
    assert (form.severity, form.count, form.samples[0]["row"]) == ("warning", 1, 1)
    assert of(problems, "attribute-form").count == 1


def test_vectors(log: Path) -> None:
    vectors = pa.array([[1.0, 2.0], None, [1.0], [1.0, float("nan")]], pa.list_(pa.float32()))
    put(log, "catalogue", catalogue(image_vector=vectors))
    problems = validate_event_log(log)
    assert of(problems, "vector-length").samples[0]["row"] == 2
    assert of(problems, "vector-number").samples[0]["row"] == 3


def test_images(log: Path) -> None:
    images = [picture(form="JPEG"), picture()[:-30], b"GIF89a" + b"x" * 20, None]
    put(log, "catalogue", catalogue(image=pa.array(images, pa.binary())))
    problem = only(validate_event_log(log), "bad-image")
    assert (problem.severity, problem.count) == ("error", 2)
    assert [s["entity_id"] for s in problem.samples] == ["1", "2"]
    assert "image" not in problem.samples[0]
    images = [picture(5_000, 5_000), b"\xff\xd8" + b"x" * (5 << 20), picture(), None]
    put(log, "catalogue", catalogue(image=pa.array(images, pa.binary())))
    assert only(validate_event_log(log), "oversized-image").count == 2
