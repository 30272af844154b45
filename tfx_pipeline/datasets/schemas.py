"""Arrow schemas of the tables of an event log.

Every source becomes these tables, and nothing after this package sees a
dataset's own format. An entity is the pair (entity_type, entity_id): two types
may use the same ids. Times are microseconds since the epoch, UTC.
"""

from __future__ import annotations

from collections.abc import Sequence

from transforms.arrow import pa

EVENTS_TABLE = "events"
CATALOGUE_TABLE = "catalogue"
USERS_TABLE = "users"
FEATURES_TABLE = "features"  # the folder of the tables of declared fields
MANIFEST_NAME = "manifest.json"

IMPRESSION = "impression"  # the event that means "was shown on a page"

EVENTS = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("entity_type", pa.string(), nullable=False),
        pa.field("entity_id", pa.string(), nullable=False),
        pa.field("event", pa.string(), nullable=False),
        pa.field("timestamp", pa.int64(), nullable=False),  # microseconds
        pa.field("ordinal", pa.int64(), nullable=False),  # the source's order; breaks ties
        pa.field("session_id", pa.string()),
        pa.field("page_id", pa.string()),  # result page that showed the entity
        pa.field("position", pa.int32()),  # on that page, from 0
        pa.field("query", pa.string()),
        pa.field("value", pa.float32()),  # rating, price paid, seconds watched
    ]
)

CATALOGUE = pa.schema(
    [
        pa.field("entity_type", pa.string(), nullable=False),
        pa.field("entity_id", pa.string(), nullable=False),
        pa.field("title", pa.string()),
        pa.field("categories", pa.list_(pa.string())),
        pa.field("attributes", pa.list_(pa.string())),  # "key=value"
        pa.field("price", pa.float32()),
        pa.field("available_from", pa.int64()),  # microseconds; never recommended before
        pa.field("related_ids", pa.list_(pa.string())),  # "type:id", e.g. items a video shows
        pa.field("image", pa.binary()),  # encoded JPEG or PNG
        pa.field("image_vector", pa.list_(pa.float32())),
        pa.field("text_vector", pa.list_(pa.float32())),
    ]
)

USERS = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("attributes", pa.list_(pa.string())),  # "key=value"
    ]
)

# A table of a declared field has one of the last two columns.
FEATURES = pa.schema(
    [
        pa.field("entity_type", pa.string(), nullable=False),
        pa.field("entity_id", pa.string(), nullable=False),
        pa.field("vector", pa.list_(pa.float32())),
        pa.field("tokens", pa.list_(pa.string())),
    ]
)

TABLES = {EVENTS_TABLE: EVENTS, CATALOGUE_TABLE: CATALOGUE, USERS_TABLE: USERS}

# Readers take a row group at a time: catalogue rows may carry an image each.
ROW_GROUP_ROWS = {EVENTS_TABLE: 131_072, CATALOGUE_TABLE: 4_096, USERS_TABLE: 65_536}


def features_table(field: str) -> str:
    """Returns the name of the table of a declared field, which is in `features/<field>/`."""
    return f"{FEATURES_TABLE}.{field}"


def is_features(table: str) -> bool:
    """Returns whether a table is that of a declared field."""
    return table.startswith(f"{FEATURES_TABLE}.")


def schema_of(table: str) -> pa.Schema:
    """Returns the schema of a table by its name."""
    return FEATURES if is_features(table) else TABLES[table]


def conform(table: pa.Table, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Casts a table to the schema of one of the event log's tables.

    Optional columns that are missing become null, timestamps of any unit
    become microseconds, and columns come in the schema's order. Whether
    required columns have nulls is not looked at.

    Args:
        table: Rows for the table called `name`.
        name: `events`, `catalogue` or `users`.
        columns: Which columns to return; all by default.

    Returns:
        The rows under the table's schema.

    Raises:
        ValueError: If a required column is missing, a column is unknown, or
            its values cannot be cast.
    """
    schema = TABLES[name]
    unknown = sorted(set(table.column_names) - set(schema.names))
    if unknown:
        raise ValueError(
            f"Table `{name}` has no column {unknown}; it has {schema.names}. Put what does not "
            f'fit into `attributes` as "key=value", or leave it out.'
        )
    wanted = schema if columns is None else pa.schema([schema.field(c) for c in columns])
    arrays = []
    for field in wanted:
        if field.name in table.column_names:
            arrays.append(_cast(table.column(field.name), field, name))
        elif field.nullable:
            arrays.append(pa.nulls(table.num_rows, field.type))
        else:
            raise ValueError(
                f"Table `{name}` needs the column `{field.name}` ({field.type}); "
                f"received only {table.column_names}."
            )
    return pa.table(arrays, schema=wanted)


def require_values(table: pa.Table, name: str) -> None:
    """Checks that the required columns of a conformed table have no nulls.

    Raises:
        ValueError: If one has.
    """
    for field in TABLES[name]:
        nulls = table.column(field.name).null_count
        if nulls and not field.nullable:
            raise ValueError(
                f"`{name}.{field.name}` may not be null; received {nulls} nulls in "
                f"{table.num_rows} rows. Drop those rows or give them a value."
            )


def _cast(column: pa.ChunkedArray, field: pa.Field, name: str) -> pa.ChunkedArray:
    """Casts one column, by way of microseconds when it holds timestamps."""
    if column.type.equals(field.type):
        return column
    try:
        if pa.types.is_timestamp(column.type) and pa.types.is_int64(field.type):
            column = column.cast(pa.timestamp("us", tz=column.type.tz), safe=False)
        return column.cast(field.type, safe=not pa.types.is_floating(field.type))
    except pa.ArrowException as error:
        raise ValueError(
            f"`{name}.{field.name}` must be {field.type}; received {column.type}, which does "
            f"not convert: {error}"
        ) from error
