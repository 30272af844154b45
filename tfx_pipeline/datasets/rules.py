"""The rules by which event logs are judged: one table, whoever reads the log.

`vitrine data validate`, the check before a run and the example generator all
judge by it. Rows are judged in `judge.py`, files and columns in
`validate_files.py`; what needs several rows is found by each reader in its own
way, under the kinds and by the definitions that stand here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal
from typing import NamedTuple

from tfx_pipeline.datasets.schemas import CATALOGUE_TABLE
from tfx_pipeline.datasets.schemas import USERS_TABLE
from tfx_pipeline.datasets.schemas import is_features

Severity = Literal["error", "warning", "info"]
Effect = Literal["refuse", "reject", "repair", "keep", "note"]

_SEVERITY: dict[Effect, Severity] = {
    "refuse": "error",
    "reject": "error",
    "repair": "warning",
    "keep": "warning",
    "note": "info",
}
_ROW_OF = {CATALOGUE_TABLE: "entity", USERS_TABLE: "user"}


class Rule(NamedTuple):
    """Consequence and message of a finding.

    Attributes:
        effect: `refuse`: no run uses the log. `reject`: the row is a dead letter,
            and a run fails when there are too many. `repair`: the value is
            dropped from its row and counted. `keep`: it stays as it is, though
            hardly as meant. `note`: it is good to know.
        reason: Why a row or a value was left out, in a few words, with
            `{column}` and `{row}` (`entity` or `user`).
        message: What was expected and what to do, with `{count}`, `{rows}` (of
            the table) and `{hint}`; empty where whoever finds it says it.
    """

    effect: Effect
    reason: str = ""
    message: str = ""

    @property
    def severity(self) -> Severity:
        """Severity."""
        return _SEVERITY[self.effect]


RULES: dict[str, Rule] = {
    # The log as a whole, its files and its columns.
    "missing-log": Rule("refuse"),
    "missing-manifest": Rule("refuse"),
    "bad-manifest": Rule("refuse"),
    "missing-table": Rule("refuse"),
    "missing-users": Rule("note"),
    "empty-events": Rule("refuse"),
    "empty-catalogue": Rule("refuse"),
    "empty-features": Rule("refuse"),
    "not-parquet": Rule("refuse"),
    "truncated-file": Rule("refuse"),
    "unsafe-file": Rule("refuse"),
    "damaged-file": Rule("refuse"),
    "unread-file": Rule("keep"),
    "undeclared-table": Rule("keep"),
    "missing-column": Rule("refuse"),
    "duplicate-column": Rule("refuse"),
    "wrong-type": Rule("refuse"),
    "unknown-column": Rule("keep"),
    "time-by-guess": Rule("keep"),
    "count-differs": Rule("keep"),
    "bad-periods": Rule("refuse"),
    "no-order": Rule("refuse"),
    "no-test-users": Rule("refuse"),
    "nothing-matches": Rule("refuse"),
    # Rows of every table.
    "null-id": Rule(
        "reject",
        "{column} is missing",
        "{count} of {rows} values are null or empty; every row needs one. Drop those rows, or "
        "give them an id.",
    ),
    "not-utf8": Rule(
        "reject",
        "{column} is not UTF-8",
        "{count} of {rows} values are not UTF-8 text, which later steps cannot read. Decode them "
        "with the encoding they were written in (often latin-1 or cp1252) and write them again.",
    ),
    "colon-in-type": Rule(
        "reject",
        "entity_type has a colon",
        "{count} of {rows} entity types contain `:`, which separates type and id in `type:id`. "
        "Use another character.",
    ),
    "unparsable-time": Rule(
        "reject",
        "{column} is unparsable",
        "{count} of {rows} values do not parse as a time. Write int64 microseconds since the "
        "epoch, or an Arrow timestamp.",
    ),
    "time-out-of-range": Rule(
        "reject", "{column} is out of range", "{count} of {rows} times are {hint}"
    ),
    "duplicate-row": Rule(
        "reject",
        "{row} has a row already",
        "{count} of {rows} rows are further ones of the same {hint}, so it is not clear which one "
        "counts; the first is taken. Keep one row of each.",
    ),
    "missing-as-text": Rule(
        "keep",
        message="{count} of {rows} values read `nan`, `None` or the like, as programs write what "
        "is missing; they are taken for names. Write null, or drop the rows, if that is meant.",
    ),
    "attribute-form": Rule(
        "keep", message='{count} of {rows} rows have attributes that are not "key=value".'
    ),
    # Events.
    "null-time": Rule(
        "reject",
        "{column} is missing",
        "{count} of {rows} rows have no time; every event needs one. Drop those rows.",
    ),
    "null-ordinal": Rule(
        "reject",
        "ordinal is missing",
        "{count} of {rows} rows have no ordinal, which breaks ties of time.",
    ),
    "unknown-event-type": Rule(
        "reject",
        "event is of an unknown type",
        "{count} of {rows} events are of a type that is not among {hint}. Add the type to "
        "`event_types` in manifest.json (or in `timeline`, where it says them), or rename or drop "
        "those rows.",
    ),
    "impression-without-page": Rule(
        "reject",
        "impression without page_id",
        "{count} of {rows} rows are impressions without a page, so nobody knows what they were "
        "shown with and they are left out. Give every result page an id.",
    ),
    "duplicate-event": Rule(
        "reject",
        "duplicate of another event",
        "{count} of {rows} rows repeat the user, entity, event, time and ordinal of another one. "
        "If the log was delivered twice, drop them.",
    ),
    "unknown-entity": Rule(
        "reject",
        "entity is not in the catalogue",
        "{count} of {rows} rows are about entities that are not in the catalogue, and "
        "`timeline.unknown_entities` leaves those out. Add them to the catalogue.",
    ),
    "bad-value": Rule(
        "repair",
        "{column} is not finite",
        "{count} of {rows} values are infinite or not a number, and are taken for null. Write null "
        "where there is none.",
    ),
    "bad-position": Rule(
        "repair",
        "{column} is negative",
        "{count} of {rows} positions are negative, and are taken for null; the first position "
        "of a page is 0.",
    ),
    "not-in-catalogue": Rule(
        "keep",
        message="{count} of {rows} events are about entities that are not in the catalogue; those "
        "have no features and are never recommended. Add them to the catalogue.",
    ),
    "type-in-id": Rule(
        "keep",
        message="{count} of {rows} ids repeat their entity type, which has a column of its own: "
        "such an entity is called `item:item:42` everywhere. Write the id alone, `42` and not "
        "`item:42`, in the catalogue and in the events.",
    ),
    "repeated-event": Rule(
        "keep",
        message="{count} of {rows} rows repeat another one in all but their ordinal: the same "
        "user, entity, event, time and position on a page. If the log was delivered twice, drop "
        "them.",
    ),
    "one-time": Rule("keep"),
    "single-event-user": Rule("note"),
    "heavy-user": Rule("note"),
    # The catalogue.
    "bad-price": Rule(
        "reject",
        "price is negative or not finite",
        "{count} of {rows} prices are negative, infinite or not a number. Write the price in one "
        "currency, or null where there is none.",
    ),
    "vector-length": Rule(
        "reject",
        "{column} is not as long as the first one",
        "{count} of {rows} vectors are not {hint} long, as the first one is.",
    ),
    "vector-number": Rule(
        "reject",
        "{column} is not finite",
        "{count} of {rows} vectors hold null, infinity or what is not a number.",
    ),
    "oversized-image": Rule(
        "reject",
        "{column} is too large",
        "{count} of {rows} images are larger than {hint} and are not decoded. Scale them down; "
        "models read a few hundred pixels a side.",
    ),
    "bad-image": Rule(
        "reject",
        "{column} is not a whole JPEG or PNG file",
        "{count} of {rows} images are not whole JPEG or PNG files. Convert them, or make them "
        "null: an item may have no image.",
    ),
    "related-form": Rule(
        "keep",
        message="{count} of {rows} rows have related ids that are not `type:id`; these point "
        "nowhere and are ignored. Put the entity type before each id, e.g. `item:42`.",
    ),
    "related-unknown": Rule(
        "keep",
        message="{count} of {rows} rows have related ids that are not in the catalogue; these "
        "point nowhere and are ignored. Add the entities, or drop the ids.",
    ),
    "shared-id": Rule("note"),
    # Tables of declared fields.
    "declared-length": Rule(
        "reject",
        "{column} is not of the declared length",
        "{count} of {rows} vectors are not {hint} long, which is what `timeline.catalogue_fields` "
        "says (without a configuration: the length of the first one).",
    ),
    "features-unknown": Rule(
        "keep",
        message="{count} of {rows} rows are about entities that are not in the catalogue, and are "
        "not read. Add the entities to the catalogue if they should be recommended.",
    ),
}


def reason(kind: str, column: str, table: str) -> str:
    """Returns in a few words why a row or a value was left out, as reports and dead letters do."""
    row = "entity" if is_features(table) else _ROW_OF.get(table, "row")
    return RULES[kind].reason.format(column=column, row=row)


def excess(
    rejected: Mapping[str, Mapping[str, int]], rows: Mapping[str, int], most: float, shown: int = 5
) -> str:
    """Says which table has too many dead letters; "" when none has.

    Args:
        rejected: Table -> reason -> rows that are left out.
        rows: Rows of each table.
        most: Largest share of a table that may be left out.
        shown: Reasons that are named.
    """
    for table, by_reason in rejected.items():
        bad = sum(by_reason.values())
        if bad <= most * rows[table]:
            continue
        top = sorted(by_reason.items(), key=lambda item: (-item[1], item[0]))[:shown]
        named = ", ".join(f"{reason}: {count:,}" for reason, count in top)
        return (
            f"{bad:,} of {rows[table]:,} rows of `{table}` are bad ({bad / rows[table]:.1%}), and "
            f"max_dead_letter_fraction allows {most:.1%}. Reasons: {named}."
        )
    return ""
