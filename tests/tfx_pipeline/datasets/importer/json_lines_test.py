"""JSON lines: types of keys, and blocks that are read line by line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tfx_pipeline.datasets.importer.json_lines import JsonLines
from tfx_pipeline.datasets.importer.text_file import TextFile


def read(path: Path, text: str, *wanted: str, size: int = 1 << 20) -> list[dict[str, Any]]:
    """Returns the rows of a file."""
    path.write_text(text)
    blocks = JsonLines(TextFile(path, size=size)).blocks(wanted)
    return [row for block in blocks for row in block.rows.to_pylist()]


def test_booleans_are_texts_and_keep_no_block_from_arrow(tmp_path: Path) -> None:
    text = '{"user": 1, "sold": true}\n{"user": 2, "sold": null}\n{"user": 3, "sold": false}\n'
    rows = [{"user": 1, "sold": "true"}, {"user": 2, "sold": None}, {"user": 3, "sold": "false"}]
    assert read(tmp_path / "a", text, "user", "sold") == rows  # line by line, `user` is a text
    text += '{"user": 4, "sold": "yes"}\n'
    for size in (30, 1 << 20):
        found = read(tmp_path / "a", text, "user", "sold", size=size)
        assert [row["sold"] for row in found] == ["true", None, "false", "yes"]


def test_lists_and_numbers_where_a_block_is_read_line_by_line(tmp_path: Path) -> None:
    text = (
        '{"tags": ["a", "b"], "price": 2.50}\n'
        '{"tags": "c"}\n'  # what Arrow refuses: no list
        '{"tags": null, "price": 3}\n'
        '{"tags": [1, true, {"x": 1.0}], "price": null}\n'
    )
    assert read(tmp_path / "a", text, "tags", "price") == [
        {"tags": ["a", "b"], "price": 2.5},
        {"tags": ["c"], "price": None},
        {"tags": None, "price": 3.0},
        {"tags": ["1", "true", '{"x": "1.0"}'], "price": None},
    ]
    for other in ("free", "007"):  # a text among numbers: all as they stand
        found = read(tmp_path / "a", f'{text}{{"tags": [], "price": "{other}"}}\n', "price")
        assert [row["price"] for row in found] == ["2.50", None, "3", None, other]


def test_a_key_that_comes_later_or_never_has_a_value(tmp_path: Path) -> None:
    text = '{"user": "a"}\n{"user": "b", "item": null}\n{"item": 7}\n'
    assert read(tmp_path / "a", text, "item", "user") == [
        {"item": None, "user": "a"},
        {"item": None, "user": "b"},
        {"item": 7, "user": None},
    ]
    assert read(tmp_path / "a", '{"a": 1, "b": null}\n', "b") == [{"b": None}]


@pytest.mark.parametrize("block", [30, 1 << 20])
def test_whole_numbers_are_the_same_in_every_block(tmp_path: Path, block: int) -> None:
    lines = ['{"item": 49}', '{"item": 49.0}', '{"item": 4.9e1}', '{"item": 49.5}']
    lines += ['{"item": 99999999999999999999}', '{"item": "49.0"}']
    found = read(tmp_path / "a", "\n".join(lines), "item", size=block)
    assert [str(row["item"]) for row in found] == [
        *["49"] * 3,
        "49.5",
        "99999999999999999999",
        "49.0",
    ]


def test_objects_in_place_of_values_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text('{"user": {"id": "u5"}, "item": 1}\n')
    file = JsonLines(TextFile(path))
    file.require(["item"])
    with pytest.raises(ValueError, match="`user` of `.*a` holds objects; expected texts or numb"):
        file.require(["user"])
    path.write_text('{"user": "a"}\n{"user": {"id": "b"}}\n{"user": ["c"]}\n')
    (block,) = JsonLines(TextFile(path)).blocks(["user"])
    assert block.rows.to_pylist() == [{"user": "a"}]
    assert [(row.number, row.reason) for row in block.broken] == [
        (2, "user is a list or an object"),
        (3, "user is a list or an object"),
    ]
