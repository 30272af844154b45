"""Catalogue rows: features of items that are newer than an export, as rankers read them."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from serving.client import protos
from serving.client.calls import encode
from serving.client.types import CatalogueRow
from transforms import features as f
from transforms import names


def serialise_row(item: str, row: CatalogueRow | bytes | None) -> bytes:
    """Returns the serialised `tf.Example` of an item, as the example generator writes it.

    Args:
        item: `type:id`.
        row: its features, or the example itself; `None` gives no bytes.

    Raises:
        ValueError: it is no such thing, or a feature has a value that cannot be sent.
    """
    if row is None:
        return b""
    if isinstance(row, bytes):
        return row
    if not isinstance(row, CatalogueRow):
        raise ValueError(
            f"Expected a `CatalogueRow` or a serialised one for `{item}`. Received: {row!r}."
        )
    example = protos.Example()
    feature = example.features.feature
    texts = {
        f.CATALOGUE_ENTITY: [item],
        f.CATALOGUE_TYPE: [item.partition(":")[0]],
        f.CATALOGUE_TITLE: [row.title] if row.title else [],
        f.CATALOGUE_CATEGORIES: row.categories,
        f.CATALOGUE_ATTRIBUTES: row.attributes,
        **{names.CATALOGUE_TOKEN + name: tokens for name, tokens in row.tokens.items()},
    }
    for name, strings in texts.items():
        if isinstance(strings, str):
            raise ValueError(f"Expected a sequence of strings for `{name}`. Received: one string.")
        if strings:
            feature[name].bytes_list.value.extend(encode(strings))
    if row.image:
        feature[f.CATALOGUE_IMAGE].bytes_list.value.append(row.image)
    numbers = {
        f.CATALOGUE_PRICE: [] if row.price is None else [row.price],
        f.CATALOGUE_IMAGE_VECTOR: row.image_vector,
        f.CATALOGUE_TEXT_VECTOR: row.text_vector,
        **{names.CATALOGUE_VECTOR + name: vector for name, vector in row.vectors.items()},
    }
    for name, values in numbers.items():
        if len(values):
            feature[name].float_list.value.extend(finite_floats(values, name).tolist())
    serialised: bytes = example.SerializeToString()
    return serialised


def finite_floats(values: Sequence[float] | Iterable[float], name: str) -> npt.NDArray[np.float32]:
    """Returns numbers as float32, or raises `ValueError`."""
    given = list(values)
    try:
        with np.errstate(over="ignore"):  # becomes an infinity
            found = np.array([value.__float__() for value in given], dtype=np.float32)
    except AttributeError:
        odd = next(value for value in given if not hasattr(value, "__float__"))
        raise ValueError(f"Expected numbers for `{name}`. Received: {odd!r}.") from None
    if not np.isfinite(found).all():
        odd = given[int(np.flatnonzero(~np.isfinite(found))[0])]
        raise ValueError(f"Expected finite numbers of 32 bits for `{name}`. Received: {odd!r}.")
    return found
