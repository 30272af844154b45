"""JSON lines: an object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np

from tfx_pipeline.datasets.importer.blocks import Block
from tfx_pipeline.datasets.importer.blocks import Broken
from tfx_pipeline.datasets.importer.blocks import broken
from tfx_pipeline.datasets.importer.blocks import require_columns
from tfx_pipeline.datasets.importer.text_file import LineBlock
from tfx_pipeline.datasets.importer.text_file import TextFile
from tfx_pipeline.datasets.importer.values import LARGEST_EXACT
from transforms.arrow import pa
from transforms.arrow import pajson

_LOOKED_AT = 1_000  # lines that say which keys there are and of what types


class JsonLines:
    """Reads JSON lines, whole blocks by Arrow.

    A block that Arrow refuses, be it for a line that is no object or for a number that is a
    text elsewhere, is read line by line, and numbers are then texts as they stand in the file,
    but whole ones without decimals: `49.0` is `49` in either case.
    Booleans are the texts `true` and `false` in either case.

    Attributes:
        name: Its path, for messages.
        format: Its format in words.
    """

    def __init__(self, text: TextFile) -> None:
        """Looks at the first lines for the keys.

        Raises:
            ValueError: None of the first lines is an object.
        """
        self.name = str(text.path)
        self.format = f"JSON lines, {text.encoding}"
        self._text = text
        self._types: dict[str, pa.DataType] = {}
        for line in islice(text.head.splitlines(), _LOOKED_AT):
            for key, value in (_object(line) or {}).items():
                if self._types.get(key, pa.null()) == pa.null():
                    self._types[key] = _type(value)
        if not self._types:
            raise ValueError(f"`{self.name}` is not JSON lines: expected an object on each line.")

    def require(self, wanted: Sequence[str]) -> None:
        """Checks that keys are there; see `InputFile`."""
        require_columns(self.name, list(self._types), wanted)
        for key in wanted:
            if pa.types.is_struct(self._types[key]):
                raise ValueError(
                    f"`{key}` of `{self.name}` holds objects; expected texts or numbers. Make "
                    f"keys of what they hold, e.g. with `jq -c '.{key}_id = .{key}.id' FILE`."
                )

    def blocks(self, wanted: Sequence[str]) -> Iterator[Block]:
        """Reads keys as columns, a block of lines at a time; see `InputFile`."""
        types = {key: self._types[key] for key in wanted}
        schema = pa.schema(
            [(key, pa.string() if pa.types.is_null(t) else t) for key, t in types.items()]
        )
        for block in self._text.line_blocks():
            yield _parsed_at_once(block, schema) or _parsed_by_line(block, schema)


def _parsed_at_once(block: LineBlock, schema: pa.Schema) -> Block | None:
    """Parses a block; None where not every line is an object with values of the schema."""
    try:
        rows = pajson.read_json(
            pa.BufferReader(block.text),
            read_options=pajson.ReadOptions(use_threads=False, block_size=len(block.text) + 1),
            parse_options=pajson.ParseOptions(
                explicit_schema=schema, unexpected_field_behavior="ignore"
            ),
        )
        rows = rows.select(schema.names).cast(schema)
        rows.validate(full=True)  # text that is not UTF-8
    except (pa.ArrowException, KeyError):
        return None
    columns = [c.cast(pa.string()) if pa.types.is_boolean(c.type) else c for c in rows.columns]
    rows = pa.table(columns, schema.names)
    numbers = np.arange(block.first, block.first + rows.num_rows)
    return Block(rows, numbers) if rows.num_rows == block.text.count(b"\n") else None


def _parsed_by_line(block: LineBlock, schema: pa.Schema) -> Block:
    """Parses a block, each line for itself."""
    objects: list[dict[str, Any]] = []
    numbers: list[int] = []
    bad: list[Broken] = []
    for number, line in enumerate(block.text.split(b"\n")[:-1], block.first):
        if not line.strip():
            continue
        if (found := _object(line)) is None:
            bad.append(broken(number, "not a JSON object", line))
        elif wrong := [field.name for field in schema if _is_record(found, field)]:
            bad.append(broken(number, f"{wrong[0]} is a list or an object", line))
        else:
            objects.append(found)
            numbers.append(number)
    columns = [_column([found.get(field.name) for found in objects], field) for field in schema]
    return Block(pa.table(columns, schema.names), np.array(numbers, np.int64), bad)


def _is_record(row: dict[str, Any], field: pa.Field) -> bool:
    """Returns whether a row holds more than one value where one is expected."""
    value = row.get(field.name)
    return isinstance(value, dict) or (isinstance(value, list) and not pa.types.is_list(field.type))


def _column(values: list[Any], field: pa.Field) -> pa.Array:
    if pa.types.is_list(field.type):
        lists = [v if isinstance(v, list) else None if v is None else [v] for v in values]
        return pa.array([v and [_as_text(one) for one in v] for v in lists], field.type)
    if pa.types.is_floating(field.type) and all(v is None or type(v) is _Literal for v in values):
        return pa.array([None if v is None else float(v) for v in values], field.type)
    return pa.array([_as_text(value) for value in values], pa.string())


def _object(line: bytes) -> dict[str, Any] | None:
    """Parses a line; None when it is not a JSON object in UTF-8."""
    try:
        found = json.loads(line, parse_float=_Literal, parse_int=_Literal)
        json.dumps(found, ensure_ascii=False).encode()  # half a character: "\\ud83d"
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


class _Literal(str):
    """A number as it stands in the file."""


def _type(value: Any) -> pa.DataType:
    """Returns the type in which a key is read whose first value this is."""
    if value is None:
        return pa.null()
    if isinstance(value, list):
        return pa.list_(pa.string())
    if isinstance(value, dict):
        return pa.struct([])
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, _Literal):
        return pa.int64() if value.lstrip("-").isdigit() else pa.float64()
    return pa.string()


def _as_text(value: Any) -> str | None:
    if isinstance(value, _Literal):
        number = float(value)
        return str(int(number)) if number.is_integer() and abs(number) < LARGEST_EXACT else value
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
