"""The catalogue and the users of an imported log, from files of their own or the events' items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfx_pipeline.datasets.first_rows import FirstRows
from tfx_pipeline.datasets.first_rows import first_rows
from tfx_pipeline.datasets.importer.dead_letters import DeadLetters
from tfx_pipeline.datasets.importer.keyed_rows import Faults
from tfx_pipeline.datasets.importer.keyed_rows import KeyedRows
from tfx_pipeline.datasets.importer.keyed_rows import attributes
from tfx_pipeline.datasets.importer.keyed_rows import joined_names
from tfx_pipeline.datasets.importer.time_column import TimeColumn
from tfx_pipeline.datasets.importer.values import ids
from tfx_pipeline.datasets.importer.values import lists
from tfx_pipeline.datasets.importer.values import numbers
from tfx_pipeline.datasets.importer.values import plain
from tfx_pipeline.datasets.limits import Limits
from tfx_pipeline.datasets.rules import reason
from tfx_pipeline.datasets.schemas import CATALOGUE_TABLE
from tfx_pipeline.datasets.schemas import USERS_TABLE
from tfx_pipeline.datasets.sequences import constant
from transforms.arrow import pa
from transforms.arrow import pc

_NAME = ("entity_type", "entity_id")


@dataclass(frozen=True)
class CatalogueColumns:
    """Columns of files by what they are in the catalogue.

    Attributes:
        item: Column of `entity_id`.
        item_type_column: Column of `entity_type`.
        item_type: Entity type of every row where `item_type_column` is None.
        title: Column of `title`.
        categories: Columns of `categories`, the widest category first.
        separator: What stands between several categories of one column.
        brand: Column that becomes the attribute `brand=...`.
        attributes: Columns that become attributes `column=...`; lists of `key=value` stay.
        price: Column of `price`.
        available_from: Column of times.
        decimal_comma: Whether prices are written with a decimal comma.
    """

    item: str
    item_type_column: str | None = None
    item_type: str = "item"
    title: str | None = None
    categories: tuple[str, ...] = ()
    separator: str | None = None
    brand: str | None = None
    attributes: tuple[str, ...] = ()
    price: str | None = None
    available_from: str | None = None
    decimal_comma: bool = False

    def sources(self) -> list[str]:
        """Returns the columns of the files, each once."""
        named = [self.item, self.item_type_column, self.title, self.brand]
        named += [self.price, self.available_from, *self.categories, *self.attributes]
        return list(dict.fromkeys(name for name in named if name is not None))

    def describes(self) -> bool:
        """Returns whether more than the name of an item is read."""
        return len(set(self.sources()) - {self.item, self.item_type_column}) > 0


@dataclass(frozen=True)
class UserColumns:
    """Columns of files by what they are in the users table.

    Attributes:
        user: Column of `user_id`.
        attributes: Columns that become attributes `column=...`; lists of `key=value` stay.
    """

    user: str
    attributes: tuple[str, ...] = ()


class CatalogueRows(KeyedRows):
    """Turns blocks of files into catalogue rows."""

    name = CATALOGUE_TABLE
    key = _NAME

    def __init__(self, columns: CatalogueColumns, limits: Limits, letters: DeadLetters) -> None:
        """Takes columns, and what `KeyedRows` takes."""
        super().__init__(limits, letters)
        self._columns = columns

    def sources(self) -> list[str]:
        """Returns the columns of the files, that of ids first."""
        return self._columns.sources()

    def convert(
        self, rows: pa.Table, file: str, times: TimeColumn | None
    ) -> tuple[pa.Table, Faults]:
        """Turns rows into those of the catalogue's schema; see `KeyedRows`."""
        columns, faults = self._columns, {}
        raw = {name: plain(rows.column(name)) for name in columns.sources()}
        where = {name: f"`{name}` of `{file}`" for name in raw}
        made: dict[str, pa.Array] = {"entity_type": constant(columns.item_type, rows.num_rows)}
        for name, column in (
            ("entity_type", columns.item_type_column),
            ("entity_id", columns.item),
        ):
            if column is not None:
                made[name], bad = ids(raw[column], where[column])
                faults[f"{name} is not a whole number"] = bad

        def text(column: str, name: str) -> pa.Array:
            return self._text(raw[column], where[column], name)

        if columns.title:
            made["title"] = text(columns.title, "title")
        if columns.categories:
            given = [text(column, "categories") for column in columns.categories]
            made["categories"] = lists(given, columns.separator)
        keys = {columns.brand: "brand"} if columns.brand else {}
        keys |= {column: column for column in columns.attributes}
        if keys:
            keyed = {key: text(column, "attributes") for column, key in keys.items()}
            made["attributes"] = attributes(keyed)
        if columns.price:
            made["price"] = self._price(raw[columns.price], where[columns.price])
        if times and columns.available_from:
            made["available_from"] = self._available(raw[columns.available_from], times)
        return pa.table(made), faults

    def _price(self, raw: pa.Array, where: str) -> pa.Array:
        found, bad = numbers(raw, where, self._columns.decimal_comma)
        self._repair("price is not a number", bad, raw)
        found = found.cast(pa.float32(), safe=False)
        values = np.asarray(found.fill_null(0.0))
        why = reason("bad-price", "price", CATALOGUE_TABLE)
        return self._kept(found, np.isfinite(values) & (values >= 0), why, raw)

    def _available(self, raw: pa.Array, times: TimeColumn) -> pa.Array:
        name = "available_from"
        found, bad = times.read(raw)
        self._repair(reason("unparsable-time", name, CATALOGUE_TABLE), bad, raw)
        values = np.asarray(found.fill_null(self._limits.earliest))
        fits = (values >= self._limits.earliest) & (values < self._limits.latest_available)
        return self._kept(found, fits, reason("time-out-of-range", name, CATALOGUE_TABLE), raw)


class UserRows(KeyedRows):
    """Turns blocks of files into rows of the users table."""

    name = USERS_TABLE
    key = ("user_id",)

    def __init__(self, columns: UserColumns, limits: Limits, letters: DeadLetters) -> None:
        """Takes columns, and what `KeyedRows` takes."""
        super().__init__(limits, letters)
        self._columns = columns

    def sources(self) -> list[str]:
        """Returns the columns of the files, that of ids first."""
        return list(dict.fromkeys([self._columns.user, *self._columns.attributes]))

    def convert(
        self, rows: pa.Table, file: str, times: TimeColumn | None = None
    ) -> tuple[pa.Table, Faults]:
        """Turns rows into those of the users table; see `KeyedRows`."""
        raw = {name: plain(rows.column(name)) for name in self.sources()}
        where = {name: f"`{name}` of `{file}`" for name in raw}
        users, bad = ids(raw[self._columns.user], where[self._columns.user])
        made = {"user_id": users}
        if self._columns.attributes:
            given = {
                name: self._text(raw[name], where[name], "attributes")
                for name in self._columns.attributes
            }
            made["attributes"] = attributes(given)
        return pa.table(made), {"user_id is not a whole number": bad}


class DescribedItems:
    """Keeps what the first event of each item says of it: its title, price, ..."""

    def __init__(self, rows: CatalogueRows) -> None:
        """Takes what turns columns of the events' files into catalogue rows."""
        self._rows = rows
        self._first = FirstRows("entity")

    def add(self, source: pa.Table, events: pa.Table, file: str, times: TimeColumn | None) -> None:
        """Takes events.

        Args:
            source: [n] their rows in the file.
            events: [n] the rows of the events table made of them.
            file: Name of the file.
            times: How `available_from` is read.
        """
        names = entity_names(events)
        first = pa.array(first_rows(names))
        rows, _ = self._rows.convert(source.take(first), file, times)
        self._first.add(rows.append_column("entity", names.take(first)))

    def table(self) -> pa.Table:
        """Returns the catalogue, in the order of the items' first events."""
        return self._first.table().drop(["entity"])


def entity_names(rows: pa.Table) -> pa.Array:
    """Returns `type:id` of each row, [n] string."""
    return joined_names(rows, _NAME)


def with_first_event(catalogue: pa.Table, items: pa.Table) -> pa.Table:
    """Makes items available from their first event; those without events are at all times.

    Args:
        catalogue: [n] rows of the catalogue.
        items: What `ItemTally.table` returns.
    """
    found = pc.index_in(entity_names(catalogue), value_set=entity_names(items))
    first = items.column("timestamp").combine_chunks().take(found)
    if "available_from" in catalogue.column_names:
        catalogue = catalogue.drop(["available_from"])
    return catalogue.append_column("available_from", first)
