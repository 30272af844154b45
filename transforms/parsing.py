"""Specs that parse raw serialised timelines and catalogue rows.

They are what serving signatures read. No spec holds a `target/*` or `slice/*`
feature unless it is asked for, so that a signature cannot see a target.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from transforms.fields import CATALOGUE_FIELDS
from transforms.fields import HELD_OUT_FIELDS
from transforms.fields import PAGE_FIELDS
from transforms.fields import TIMELINE_FIELDS
from transforms.fields import Field
from transforms.fields import declared_fields

if TYPE_CHECKING:
    import tensorflow as tf


def timeline_spec(held_out: bool = False) -> dict[str, tf.io.RaggedFeature]:
    """Returns the spec of raw serialised timelines for `tf.io.parse_example`.

    Args:
        held_out: Whether `target/*` and `slice/*` are parsed too; never in a
            signature.

    Returns:
        For each feature a `RaggedFeature` that parses to [B, (values)], row splits int64.
    """
    return _spec(TIMELINE_FIELDS + HELD_OUT_FIELDS if held_out else TIMELINE_FIELDS)


def page_spec(held_out: bool = False) -> dict[str, tf.io.RaggedFeature]:
    """Returns the spec of raw serialised page examples for `tf.io.parse_example`.

    Args:
        held_out: Whether `label/*` and `slice/*` are parsed too; never in a signature.

    Returns:
        For each feature a `RaggedFeature` that parses to [B, (values)], row splits int64.
    """
    return _spec(PAGE_FIELDS + HELD_OUT_FIELDS if held_out else PAGE_FIELDS)


def catalogue_spec(declared: Iterable[str] = ()) -> dict[str, tf.io.RaggedFeature]:
    """Returns the spec of raw serialised catalogue rows for `tf.io.parse_example`.

    Args:
        declared: Features of declared fields, such as `catalogue/vector/style`.

    Returns:
        For each feature a `RaggedFeature` that parses to [B, (values)], row splits int64.
    """
    return _spec(CATALOGUE_FIELDS + declared_fields(declared))


def _spec(fields: Iterable[Field]) -> dict[str, tf.io.RaggedFeature]:
    import tensorflow as tf

    types = {"bytes": tf.string, "image": tf.string, "int": tf.int64, "float": tf.float32}
    return {
        field.name: tf.io.RaggedFeature(types[field.kind], row_splits_dtype=tf.int64)
        for field in fields
    }
