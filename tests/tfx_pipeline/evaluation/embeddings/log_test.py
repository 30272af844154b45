"""What is read of a divided log, by hand."""

import numpy as np
import pyarrow as pa
import pytest

from tests.tfx_pipeline.datasets import small_log
from tfx_pipeline.datasets.division import divide_log
from tfx_pipeline.datasets.event_log import EVENTS
from tfx_pipeline.evaluation.embeddings import log as module
from tfx_pipeline.evaluation.embeddings.log import read_divided


@pytest.fixture
def divided(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LEAST_OF_CATEGORY", 2)
    names = ("user_id", "entity_id", "event", "timestamp", "ordinal", "page_id", "value")
    rows = [
        ("b", "0", "rate", 2, 0, None, 4.0),
        ("b", "1", "rate", 1, 1, None, None),
        ("a", "2", "rate", 1, 2, None, 1.0),
        ("a", "3", "impression", 8, 3, "p", None),
        ("a", "1", "impression", 8, 4, "p", None),
        ("a", "1", "rate", 9, 5, "p", 2.0),
        ("b", "3", "rate", 9, 6, None, 5.0),
        ("c", "9", "rate", 1, 7, None, 1.0),  # not in the catalogue
    ]
    events = [dict(zip(names, row, strict=True)) | {"entity_type": "item"} for row in rows]
    log = small_log.sound_log(tmp_path / "log")
    small_log.put(log, "events", pa.Table.from_pylist(events, EVENTS))
    categories = [["x", "y"], ["x"], ["y", "z"], None]
    small_log.put(log, "catalogue", small_log.catalogue(categories=categories))
    told = [["age=1", "a=b=c"], ["age=2", "a=b"], ["age=7"]]
    users = pa.table({"user_id": ["a", "b", "z"], "attributes": told})
    small_log.put(log, "users", users)
    divide_log(log, tmp_path / "out", share=0.3)
    return tmp_path / "out"


def test_events_are_numbered_and_ordered(divided):
    log = read_divided(divided)
    assert sorted(log.users) == ["a", "b"]
    assert log.items.tolist() == ["item:0", "item:1", "item:2", "item:3"]

    def of(events, user):
        mine = log.users[events.user] == user
        return events.item[mine].tolist(), events.value[mine].tolist()

    assert of(log.known, "b") == ([1, 0], [pytest.approx(np.nan, nan_ok=True), 4.0])
    assert of(log.known, "a") == ([2], [1.0])
    assert of(log.later, "a") == ([1], [2.0])
    assert of(log.later, "b") == ([3], [5.0])
    assert of(log.shown, "a") == ([3, 1], [0.0, 1.0])  # the second was rated on its page
    a, b = (log.users.tolist().index(name) for name in "ab")
    known = log.is_known(np.array([a, a, b, b]), np.array([2, 1, 0, 3]))
    assert known.tolist() == [True, False, True, False]


def test_attributes_and_categories_are_classes(divided):
    log = read_divided(divided)
    a, b = (log.users.tolist().index(name) for name in "ab")
    assert {name: code[[a, b]].tolist() for name, code in log.attributes.items()} == {
        "a": [1, 0],  # b=c and b
        "age": [0, 1],  # z, who did nothing, has the third value
    }
    columns = {tuple(column) for column in log.categories.T.tolist()}
    assert columns == {(True, True, False, False), (True, False, True, False)}  # z is too rare
    assert log.hidden == {"user-attributes", "categories"}


def test_what_is_no_divided_log_is_said(divided, tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no divided log"):
        read_divided(tmp_path / "log")
    with pytest.raises(ValueError, match="no event with an item of the types \\['film'\\]"):
        read_divided(divided, ["film"])
    small_log.say(divided / "later", name="toy")
    with pytest.raises(ValueError, match="not made by"):
        read_divided(divided)
