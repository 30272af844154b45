"""`vitrine data import`: files of any shop's database, turned into an event log."""

from __future__ import annotations

import json
import re
import shlex
import unicodedata
from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Any

import click

from tfx_pipeline.commands.options import PLACE

if TYPE_CHECKING:
    from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
    from tfx_pipeline.datasets.importer.request import Imported
    from tfx_pipeline.datasets.importer.request import ImportRequest
    from tfx_pipeline.datasets.validate import SplitUsers

_COLUMN = "COL"
_TEMPLATE_DAYS = 7
_FEW_USERS = 100  # what the template asks for before it pushes
_FEW_REPEATS = 0.01  # share of events below which nobody comes back to an item
_ITEMS = "File of items, or a pattern; several times. Else the events' items."


def _options(*decorators: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Applies options in the order in which help lists them."""

    def apply(command: Any) -> Any:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return apply


def _column(name: str, help: str, **settings: Any) -> Callable[[Any], Any]:
    return click.option(name, metavar=_COLUMN, help=help, **settings)


_EVENTS = _options(
    _column("--user", "Column of user ids.", required=True),
    _column("--item", "Column of item ids.", required=True),
    _column("--time", "Column of times."),
    click.option(
        "--order", type=click.Choice(["file"]), help="Instead of --time: rows are in order."
    ),
    _column("--event", "Column of event types: view, buy, impression, ..."),
    click.option("--event-type", metavar="NAME", help="Event type of every row. [interaction]"),
    _column("--value", "Column of ratings, prices paid, seconds watched."),
    _column("--query", "Column of search queries."),
    _column("--session", "Column of session ids."),
    _column("--page", "Column of result pages that showed the item."),
    _column("--position", "Column of positions on the page."),
    click.option("--first-position", default=0, show_default=True, help="Of a page, 0 or 1."),
    click.option("--item-type", default="item", show_default=True, help="Entity type of all rows."),
    _column("--item-type-column", "Column of entity types."),
)
_CATALOGUE = _options(
    click.option("--catalogue", "catalogue_files", multiple=True, metavar="FILE", help=_ITEMS),
    _column("--catalogue-id", "Column of item ids in the catalogue. [that of --item]"),
    _column("--catalogue-item-type-column", "Column of entity types in the catalogue."),
    _column("--title", "Column of titles; of the events without --catalogue, as the next ones."),
    _column("--category", "Column of categories; several times, widest first.", multiple=True),
    click.option("--category-separator", metavar="TEXT", help="Between categories, e.g. '|'."),
    _column("--brand", "Column of brands."),
    _column("--attribute", "Column of any other attribute; several times.", multiple=True),
    _column("--price", "Column of prices."),
    _column("--available-from", "Column of times from which items may be recommended."),
    click.option("--available-from-first-event", is_flag=True, help="Items' first event says it."),
    click.option("--catalogue-columns", metavar="A,B,..", help="As --columns, of the catalogue."),
)
_USERS = _options(
    click.option("--users", "users_files", multiple=True, metavar="FILE", help="File of users."),
    _column("--users-id", "Column of user ids in it. [that of --user]"),
    _column("--user-attribute", "Column of an attribute; several times.", multiple=True),
    click.option("--users-columns", metavar="A,B,..", help="As --columns, of the users."),
)
_FORM = _options(
    click.option(
        "--time-unit",
        type=click.Choice(["auto", "s", "ms", "us", "ns"]),
        default="auto",
        show_default=True,
        help="Unit of numbers since 1970.",
    ),
    click.option("--time-zone", metavar="ZONE", help="Of times that name none. [UTC]"),
    click.option(
        "--date-order",
        type=click.Choice(["auto", "day-first", "month-first"]),
        default="auto",
        show_default=True,
        help="What 01/02/2024 means.",
    ),
    click.option("--delimiter", help="Between fields; found by default."),
    click.option("--columns", metavar="A,B,..", help="Names of columns, of files without header."),
    click.option("--encoding", help="Of text; UTF-8, or what a byte order mark says."),
    click.option("--no-quotes", is_flag=True, help='`"` is a character like others.'),
    click.option("--decimal-comma", is_flag=True, help="3,5 is three and a half."),
    click.option(
        "--max-dead-letter-fraction",
        type=click.FloatRange(0, 1),
        default=0.01,
        show_default=True,
        help="Largest share of rows that may be left out.",
    ),
)


_HELP = """Turn FILES of events into an event log.

FILES are CSV (commas, semicolons, tabs, bars), JSON lines or Parquet, also gzipped; names,
folders or patterns. Columns are named by the header, or by --columns. Units and formats of
times are found and said; what cannot be told apart is asked for. Rows that cannot be used go to
dead_letter/ in the log, with their reason.

\b
vitrine data import 'orders-*.csv.gz' --user customer_id --item sku --time created_at \\
    --event-type buy --value amount --catalogue products.csv --catalogue-id sku \\
    --title name --category department --price price --out data/my-shop
"""


@click.command("import", help=_HELP)
@click.argument("files", nargs=-1, required=True)
@_EVENTS
@_CATALOGUE
@_USERS
@_FORM
@click.option("--out", type=PLACE, required=True, help="Directory of the event log.")
@click.option("--overwrite", is_flag=True, help="Replace an event log that is there.")
def import_files(**given: Any) -> None:
    """Turns files of events into an event log, and says what it holds and what to do next."""
    from tfx_pipeline.datasets.importer.first_split import choose_split
    from tfx_pipeline.datasets.importer.import_log import import_log

    request = _request(given)
    found = import_log(request, say=click.echo)
    split = choose_split(request.out, found, request.ordinal)
    click.echo(told(request, found, split))


def _request(given: dict[str, Any]) -> ImportRequest:
    """Returns what is asked for.

    Raises:
        click.UsageError: Options that exclude each other, or one that needs another.
    """
    from tfx_pipeline.datasets.importer.catalogue_and_users import CatalogueColumns
    from tfx_pipeline.datasets.importer.catalogue_and_users import UserColumns
    from tfx_pipeline.datasets.importer.delimited_file import Dialect
    from tfx_pipeline.datasets.importer.event_rows import EventColumns
    from tfx_pipeline.datasets.importer.input_files import Reading
    from tfx_pipeline.datasets.importer.request import ImportRequest
    from tfx_pipeline.datasets.importer.time_format import TimeOptions

    _check(given)
    shared = {name: given[name] for name in ("item_type", "item_type_column", "decimal_comma")}
    events = EventColumns(
        **{name: given[name] for name in ("user", "item", "time", "event", "session", "page")},
        **{name: given[name] for name in ("position", "first_position", "query", "value")},
        event_type=given["event_type"] or "interaction",
        **shared,
    )
    if given["catalogue_files"]:
        shared["item_type_column"] = given["catalogue_item_type_column"]
    catalogue = CatalogueColumns(
        item=given["catalogue_id"] or given["item"],
        **{name: given[name] for name in ("title", "brand", "price", "available_from")},
        categories=given["category"],
        separator=given["category_separator"],
        attributes=given["attribute"],
        **shared,
    )
    users = UserColumns(given["users_id"] or given["user"], given["user_attribute"])
    delimiter, quotes = _unescaped(given["delimiter"]), not given["no_quotes"]
    events_reading, catalogue_reading, users_reading = (
        Reading(Dialect(delimiter, _names(given[names]), quotes), given["encoding"])
        for names in ("columns", "catalogue_columns", "users_columns")
    )
    return ImportRequest(
        given["files"],
        given["out"],
        events,
        catalogue,
        given["catalogue_files"],
        users if given["users_files"] else None,
        given["users_files"],
        given["available_from_first_event"],
        TimeOptions(given["time_unit"], given["date_order"], given["time_zone"]),
        events_reading,
        catalogue_reading,
        users_reading,
        given["max_dead_letter_fraction"],
        given["overwrite"],
    )


def _check(given: dict[str, Any]) -> None:
    """Refuses options that do not go together."""
    if (given["time"] is None) == (given["order"] is None):
        raise click.UsageError(
            "Say which column holds the times with --time, or --order file where there is none and "
            "the rows are in order: one of the two."
        )
    if given["order"] and (given["available_from"] or given["available_from_first_event"]):
        raise click.UsageError("Without times (--order file) nothing is available from a time.")
    if given["event"] and given["event_type"]:
        raise click.UsageError("Name one of --event (a column) and --event-type (of all rows).")
    if given["available_from"] and given["available_from_first_event"]:
        raise click.UsageError("Name one of --available-from and --available-from-first-event.")
    for file, names in (
        ("catalogue", ("catalogue_id", "catalogue_item_type_column", "catalogue_columns")),
        ("users", ("users_id", "user_attribute", "users_columns")),
    ):
        for name in names if not given[f"{file}_files"] else ():
            if given[name]:
                option = f"--{name.replace('_', '-')}"
                raise click.UsageError(f"{option} says something of --{file}, which is missing.")


def _names(columns: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in columns.split(",")) if columns else ()


def _unescaped(delimiter: str | None) -> str | None:
    """Reads a tab as people type it."""
    return "\t" if delimiter in ("\\t", "tab") else delimiter


def told(request: ImportRequest, found: Imported, split: SplitUsers | None) -> str:
    """Returns what was imported and what to do next.

    Args:
        request: What was asked for.
        found: The counts.
        split: The split to begin with.
    """
    from tfx_pipeline.datasets.timestamps import date_of

    manifest, about = found.manifest, "about " if found.sampled else ""
    when = "in the files' order"
    if found.span and not request.ordinal:
        when = f"{' to '.join(map(date_of, found.span))} ({found.days:,.1f} days)"
    types = ", ".join(f"`{name}`" for name in manifest.event_types)
    lines = [
        f"{request.out}: {manifest.events:,} events ({types}) of {manifest.users:,} users and "
        f"{found.items:,} items, {when}.",
        f"  {manifest.events / manifest.users:,.1f} events a user; {about}{found.repeats:.1%} of "
        "the events repeat an item of their user.",
        f"  catalogue: {sum(manifest.entities.values()):,} items"
        + ("" if request.catalogue_files else ", those of the events")
        + ".",
    ]
    if found.repeats < _FEW_REPEATS:
        lines.append(
            "  Hardly anybody comes back to an item, so `exclude_seen` below keeps a user's own "
            "items out of the recommendations."
        )
    if found.unknown_items:
        lines.append(
            f"  {found.unknown_items:,} items of {found.unknown_events:,} events are not in the "
            "catalogue, so they are never recommended."
        )
    lines += [f"  {remark}" for remark in found.remarks]
    if found.left_out:
        lines.append(found.left_out)
    if "rows_left_out" in manifest.notes:
        lines.append(f"  Rows that are left out: {request.out}/dead_letter/")
    if split is not None:
        lines.append(f"  test users of the run below: {split}")
        if min(split.validation, split.test) < _FEW_USERS:
            lines.append(
                f"  With fewer than {_FEW_USERS} users to test nothing is pushed; "
                "`retrieval.evaluation.min_users` sets how many."
            )
    commands = (f"  {command}" for command in next_commands(request, found, split))
    return "\n".join([*lines, "Next:", *commands])


def next_commands(request: ImportRequest, found: Imported, split: SplitUsers | None) -> list[str]:
    """Returns the commands that check the log and train on it.

    Where next to nothing repeats, what a user has seen is not recommended.

    Args:
        request: What was asked for.
        found: The counts.
        split: The split to begin with; the template's when None.
    """
    name = _pipeline_name(request.out.absolute().name)
    places = {"name": name, "log_dir": str(request.out), "run_dir": f"runs/{name}"}
    values = [f"{key}={_in_yaml(value)}" for key, value in places.items()]
    if split is not None:
        values += _split_values(split.config)
    if found.repeats < _FEW_REPEATS:
        values.append('exclude_seen=["*"]')
    sets = " ".join(f"--set {shlex.quote(value)}" for value in values)
    return [
        f"vitrine data validate {shlex.quote(str(request.out))}",
        f"vitrine run template {sets}",
    ]


def _pipeline_name(directory: str) -> str:
    """Returns a name that a pipeline may have: letters, digits, `.`, `_` and `-`, at most 100."""
    letters = unicodedata.normalize("NFKD", directory).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", letters).strip("-_.")[:100] or "log"


def _in_yaml(text: str) -> str:
    """Returns a text as YAML reads it, in quotes where it would read a number, a date, ..."""
    from tfx_pipeline.config_file import parse_yaml

    try:
        plain = parse_yaml(text, text) == text
    except ValueError:
        plain = False
    return text if plain else json.dumps(text, ensure_ascii=False)


def _split_values(config: TimelineConfig) -> list[str]:
    """Returns what differs from the template's split, a week each for validation and test."""
    days = {"validation_days": config.validation_days, "test_days": config.test_days}
    changed = [
        f"timeline.{key}={value:g}" for key, value in days.items() if value != _TEMPLATE_DAYS
    ]
    if config.split != "time-cut":
        changed.insert(0, f"timeline.split={config.split}")
    return changed
