"""Table of the raw features, from which the schema and the parsers are made."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Literal

from transforms import features as f
from transforms import names

Kind = Literal["bytes", "image", "int", "float"]
Owner = Literal[
    "timeline", "event", "page", "impression", "candidate", "label", "target", "slice", "row"
]


@dataclasses.dataclass(frozen=True)
class Field:
    """One raw feature.

    Attributes:
        name: The feature's name, one of `transforms.features`.
        kind: The type of its values.
        owner: What it describes; the features of one owner have the same length,
            one value each, unless `many` is set.
        required: Whether every example of its environment holds a value.
        many: Whether one owner has any number of values.
        minimum: The least value that is allowed, or None.
    """

    name: str
    kind: Kind
    owner: Owner
    required: bool = False
    many: bool = False
    minimum: int | float | None = None


FIELDS: tuple[Field, ...] = (
    Field(f.USER_ID, "bytes", "timeline", required=True),
    Field(f.USER_ATTRIBUTES, "bytes", "timeline", many=True),
    Field(f.CHUNK, "int", "timeline", minimum=0),
    Field(f.CONTEXT_LENGTH, "int", "timeline", minimum=0),
    Field(f.REQUEST_TIME, "int", "timeline"),
    Field(f.REQUEST_QUERY, "bytes", "timeline"),
    Field(f.EVENT_ENTITY, "bytes", "event"),
    Field(f.EVENT_TYPE, "bytes", "event"),
    Field(f.EVENT_TIMESTAMP, "int", "event"),
    Field(f.EVENT_QUERY, "bytes", "event"),
    Field(f.EVENT_VALUE, "float", "event"),
    Field(f.PAGE_ID, "bytes", "page"),
    Field(f.PAGE_TIMESTAMP, "int", "page"),
    Field(f.PAGE_QUERY, "bytes", "page"),
    Field(f.PAGE_HISTORY_LENGTH, "int", "page", minimum=0),
    Field(f.IMPRESSION_PAGE, "int", "impression", minimum=0),
    Field(f.IMPRESSION_POSITION, "int", "impression"),
    Field(f.IMPRESSION_ENTITY, "bytes", "impression"),
    Field(f.IMPRESSION_CLICKED, "int", "impression", minimum=0),
    Field(f.IMPRESSION_EVENTS, "int", "impression", minimum=0),
    Field(f.CANDIDATE_ENTITY, "bytes", "candidate", required=True),
    Field(f.CANDIDATE_POSITION, "int", "candidate", required=True, minimum=-1),
    Field(f.LABEL_EVENTS, "int", "label", required=True, minimum=0),
    Field(f.TARGET_ENTITY, "bytes", "target", required=True),
    Field(f.TARGET_TYPE, "bytes", "target", required=True),
    Field(f.TARGET_TIMESTAMP, "int", "target", required=True),
    Field(f.SLICE_ACTIVITY, "bytes", "slice"),
    Field(f.SLICE_TARGET_POPULARITY, "bytes", "slice", many=True),
    Field(f.SLICE_TARGET_AGE, "bytes", "slice", many=True),
    Field(f.SLICE_HISTORY, "bytes", "slice"),
    Field(f.SLICE_QUERY, "bytes", "slice"),
    Field(f.SLICE_CANDIDATE_POPULARITY, "bytes", "slice", many=True),
    Field(f.SLICE_CANDIDATE_AGE, "bytes", "slice", many=True),
    Field(f.CATALOGUE_ENTITY, "bytes", "row", required=True),
    Field(f.CATALOGUE_TYPE, "bytes", "row", required=True),
    Field(f.CATALOGUE_TITLE, "bytes", "row"),
    Field(f.CATALOGUE_CATEGORIES, "bytes", "row", many=True),
    Field(f.CATALOGUE_ATTRIBUTES, "bytes", "row", many=True),
    Field(f.CATALOGUE_PRICE, "float", "row", minimum=0.0),
    Field(f.CATALOGUE_AVAILABLE_FROM, "int", "row"),
    Field(f.CATALOGUE_RELATED, "bytes", "row", many=True),
    Field(f.CATALOGUE_IMAGE, "image", "row"),
    Field(f.CATALOGUE_IMAGE_VECTOR, "float", "row", many=True),
    Field(f.CATALOGUE_TEXT_VECTOR, "float", "row", many=True),
)

BY_NAME: dict[str, Field] = {field.name: field for field in FIELDS}

# What a request may be made of; what the evaluator alone reads is not in it.
TIMELINE_FIELDS = tuple(
    field for field in FIELDS if field.owner in ("timeline", "event", "page", "impression")
)
PAGE_FIELDS = tuple(field for field in FIELDS if field.owner in ("timeline", "event", "candidate"))
HELD_OUT_FIELDS = tuple(field for field in FIELDS if field.owner in ("target", "label", "slice"))
CATALOGUE_FIELDS = tuple(field for field in FIELDS if field.owner == "row")


def declared_fields(features: Iterable[str]) -> tuple[Field, ...]:
    """Returns the fields of features that a configuration declares (`CatalogueFields.features`)."""

    def kind(name: str) -> Kind:
        return "float" if name.startswith(names.CATALOGUE_VECTOR) else "bytes"

    return tuple(Field(name, kind(name), "row", many=True) for name in features)
