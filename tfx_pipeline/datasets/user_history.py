"""Events of one user in an event log, and titles and images of entities."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from serving.client import Event
from tfx_pipeline.datasets.convert import converted
from tfx_pipeline.datasets.schemas import CATALOGUE_TABLE
from tfx_pipeline.datasets.schemas import EVENTS_TABLE
from tfx_pipeline.datasets.schemas import IMPRESSION
from tfx_pipeline.datasets.schemas import TABLES
from tfx_pipeline.datasets.schemas import USERS_TABLE
from tfx_pipeline.datasets.table_files import parquet_files
from transforms.arrow import pa
from transforms.arrow import parquet_dataset
from transforms.arrow import pc

_EVENT_COLUMNS = ("entity_type", "entity_id", "event", "timestamp", "ordinal", "value", "query")
_NAMED_ROWS = 10_000  # rows that are looked through for users to name


def read_history(log_dir: Path, user: str) -> list[Event]:
    """Reads what a user did, oldest first; impressions are not in it.

    Raises:
        FileNotFoundError: The log has no events.
    """
    if not parquet_files(log_dir, EVENTS_TABLE):
        raise FileNotFoundError(
            f"Expected an event log with events/*.parquet at {log_dir}. Received: none. Make one "
            "with `vitrine data prepare`."
        )
    table = _rows(log_dir, EVENTS_TABLE, _EVENT_COLUMNS, "user_id", [user])
    table = table.filter(pc.and_(pc.is_valid(table["timestamp"]), pc.is_valid(table["event"])))
    table = table.filter(pc.not_equal(table["event"], IMPRESSION))
    table = table.sort_by([("timestamp", "ascending"), ("ordinal", "ascending")])
    value, query = pc.fill_null(table["value"], 0.0), pc.fill_null(table["query"], "")
    columns = (table["event"], table["timestamp"], value, query)
    rows = zip(_names(table), *(column.to_pylist() for column in columns), strict=True)
    return [Event(*row) for row in rows]


def read_attributes(log_dir: Path, user: str) -> tuple[str, ...] | None:
    """Returns the attributes of a user, None when the users table does not list them."""
    rows = _rows(log_dir, USERS_TABLE, ("attributes",), "user_id", [user])
    return tuple(rows["attributes"][0].as_py() or ()) if len(rows) else None


def read_titles(log_dir: Path, entities: Iterable[str]) -> dict[str, str]:
    """Returns the titles of entities `type:id`; those without one are left out."""
    return _read_column(log_dir, entities, "title")


def read_index_titles(candidates: Path, entities: Iterable[str]) -> dict[str, str]:
    """Returns the titles that an index's `candidates.parquet` has of entities `type:id`.

    Those without one are left out.
    """
    mine = pc.field("id").isin(pa.array(sorted(entities), pa.string()))
    table = parquet_dataset([candidates]).to_table(columns=["id", "title"], filter=mine)
    pairs = zip(table["id"].to_pylist(), table["title"].to_pylist(), strict=True)
    return {name: title for name, title in pairs if title}


def read_images(log_dir: Path, entities: Iterable[str]) -> dict[str, bytes]:
    """Returns the encoded images of entities `type:id`; those without one are left out."""
    return _read_column(log_dir, entities, "image")


def _read_column(log_dir: Path, entities: Iterable[str], column: str) -> dict[str, Any]:
    wanted = set(entities)
    ids = sorted({name.partition(":")[2] for name in wanted})
    columns = ("entity_type", "entity_id", column)
    rows = _rows(log_dir, CATALOGUE_TABLE, columns, "entity_id", ids)
    pairs = zip(_names(rows), rows[column].to_pylist(), strict=True)
    return {name: value for name, value in pairs if value and name in wanted}


def some_users(log_dir: Path) -> list[str]:
    """Returns a few users of the log, to name them to somebody who knows none."""
    files = parquet_files(log_dir, EVENTS_TABLE)
    if not files:
        return []
    rows = parquet_dataset(files).head(_NAMED_ROWS, columns=["user_id"])
    users: list[str] = _converted(rows, EVENTS_TABLE, ["user_id"])["user_id"].unique().to_pylist()
    return [user for user in users if user][:3]


def _rows(
    log_dir: Path, table: str, columns: Iterable[str], key: str, values: list[str]
) -> pa.Table:
    """Returns the rows of a table in which a column has one of some values.

    Columns that the files lack come as nulls; so do times that do not parse.
    """
    files = parquet_files(log_dir, table)
    wanted = list(columns)
    if not files:
        return TABLES[table].empty_table().select(wanted)
    source = parquet_dataset(files)
    field = pc.field(key)
    if not pa.types.is_string(source.schema.field(key).type):
        field = field.cast(pa.string())  # without it the files' statistics help to skip rows
    present = [name for name in wanted if name in source.schema.names]
    mine = field.isin(pa.array(values, pa.string()))  # a list without values would have no type
    return _converted(source.to_table(columns=present, filter=mine), table, wanted)


def _converted(rows: pa.Table, table: str, columns: list[str]) -> pa.Table:
    """Returns columns in the types of the table's schema."""
    found = {}
    for name in columns:
        field = TABLES[table].field(name)
        if name in rows.column_names:
            chunks = [converted(chunk, field) for chunk in rows.column(name).chunks]
            found[name] = pa.chunked_array(chunks, field.type)
        else:
            found[name] = pa.nulls(rows.num_rows, field.type)
    return pa.table(found)


def _names(rows: pa.Table) -> list[str]:
    return pc.binary_join_element_wise(rows["entity_type"], rows["entity_id"], ":").to_pylist()
