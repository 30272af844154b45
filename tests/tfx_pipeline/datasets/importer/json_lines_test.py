"""JSON lines: types of keys, and blocks that are read line by line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
    text += '{"tags": [], "price": "free"}\n'  # a text among numbers: all as they stand
    prices = [row["price"] for row in read(tmp_path / "a", text, "price")]
    assert prices == ["2.50", None, "3", None, "free"]


def test_a_key_that_comes_later_or_never_has_a_value(tmp_path: Path) -> None:
    text = '{"user": "a"}\n{"user": "b", "item": null}\n{"item": 7}\n'
    assert read(tmp_path / "a", text, "item", "user") == [
        {"item": None, "user": "a"},
        {"item": None, "user": "b"},
        {"item": 7, "user": None},
    ]
    assert read(tmp_path / "a", '{"a": 1, "b": null}\n', "b") == [{"b": None}]
