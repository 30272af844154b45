"""The catalogue as tables keyed by entity index, for towers to look up."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from absl import logging

from models.input.config import DECLARED
from models.input.config import CandidateTowerConfig
from transforms import features as f
from transforms import names

# Names of the candidate tower's inputs.
ENTITY = "entity"  # [N] int64
PRICE = "price"  # [N, 2] float32: standardised log price, and whether it is known
PRICE_BUCKET = "price_bucket"  # [N, 1] int32
TOKENS = ("categories", "attributes", "title", "related")  # [N, width] int32 each
VECTORS = ("image_vector", "text_vector")  # [N, width] float32 each
# Declared fields are `token/<name>` and `vector/<name>`. Each of them all is named as the
# transformed feature is, less `catalogue/`.
_PREFIX = "catalogue/"

_READ = (
    f.CATALOGUE_ENTITY,
    f.CATALOGUE_TYPE,
    f.CATALOGUE_PRICE,
    f.CATALOGUE_AVAILABLE_FROM,
    names.CATALOGUE_PRICE_BUCKET,
    *(_PREFIX + name for name in TOKENS + VECTORS),
)


@dataclasses.dataclass(frozen=True)
class CatalogueTable:
    """Features of catalogue items by entity index.

    Attributes:
        ids: [N] int64, the entity index of each row of the catalogue, ascending.
        types: [N] bytes, the entity type of each row.
        features: By name of a tower's input, [V + 1, width]; zeros for entities
            that are not in the catalogue. Features that no row has are left out.
        available_from: [V + 1] int64, microseconds by entity index, 0 for always; None
            where no row has a moment.
        compared: Names of features that are there to be compared, and are no part of an
            item's embedding.
    """

    ids: np.ndarray
    types: np.ndarray
    features: Mapping[str, np.ndarray]
    available_from: np.ndarray | None = None
    compared: frozenset[str] = frozenset()

    def candidates(self, candidate_types: Sequence[str]) -> np.ndarray:
        """Returns the ids that may be recommended.

        Args:
            candidate_types: Entity types; `*` is all.

        Returns:
            [n] int64, ascending.

        Raises:
            ValueError: The catalogue has no row of these types.
        """
        chosen = self.ids
        if "*" not in candidate_types:
            chosen = self.ids[np.isin(self.types, [name.encode() for name in candidate_types])]
        if not chosen.size:
            present = sorted({name.decode() for name in self.types.tolist()})
            raise ValueError(
                f"Expected catalogue rows of the types {list(candidate_types)}, found types "
                f"{present} in {self.ids.size} rows. Name one of these in `candidate_types`, or "
                "add rows to the catalogue of the event log."
            )
        return chosen

    @property
    def widths(self) -> dict[str, int]:
        """The width of each feature."""
        return {name: table.shape[1] for name, table in self.features.items()}

    @property
    def embedded(self) -> dict[str, int]:
        """The width of each feature that an item's embedding is made of."""
        return {name: width for name, width in self.widths.items() if name not in self.compared}


def load_catalogue(
    files: Sequence[str],
    spec: Mapping[str, tf.io.RaggedFeature],
    size: int,
    config: CandidateTowerConfig,
    compared: Sequence[str] = (),
) -> CatalogueTable:
    """Reads the transformed catalogue split.

    Args:
        files: Gzipped TFRecord files of transformed catalogue rows.
        spec: The transformed feature spec.
        size: V + 1, the greatest entity index plus one.
        config: Which features are read, and how many tokens of each.
        compared: Features that are read besides, to be compared.

    Returns:
        The table. Of two rows for one entity the later one counts.

    Raises:
        ValueError: There is no file, no row of a known entity, or a feature of a field that
            the examples do not have.
    """
    if not files:
        raise ValueError(
            "Expected files of the split `catalogue`, found none. Pass it to the Trainer: "
            "`train_args=TrainArgs(splits=['train', 'catalogue'])`."
        )
    chosen = (*config.features, *(name for name in compared if name not in config.features))
    _require_declared(chosen, spec)
    read = (*_READ, *declared_features(chosen))
    spec = {name: spec[name] for name in read}  # the bytes of images are not read
    batches = tf.data.TFRecordDataset(list(files), "GZIP").batch(4096)
    rows = [tf.io.parse_example(batch, spec) for batch in batches]
    widths = _widths(rows, config, chosen)
    tables: dict[str, np.ndarray] = {}
    ids, types = [np.zeros([0], np.int64)], [np.zeros([0], object)]
    available_from = np.zeros([size], np.int64)
    for row in rows:
        dense = candidate_features(row, widths)
        index = dense.pop(ENTITY).numpy()
        for name, values in dense.items():
            if name not in tables:
                tables[name] = np.zeros([size, values.shape[1]], values.dtype.as_numpy_dtype)
            tables[name][index] = values.numpy()
        available_from[index] = _first(row[f.CATALOGUE_AVAILABLE_FROM], 0).numpy()
        ids.append(index)
        types.append(_first(row[f.CATALOGUE_TYPE], b"").numpy())
    every, kind = np.concatenate(ids), np.concatenate(types)
    unknown = int((every == 0).sum())
    if unknown:
        logging.warning("%d catalogue rows are outside the entity vocabulary", unknown)
    found, first = np.unique(every, return_index=True)
    kept = found > 0
    if not kept.any():
        raise ValueError(
            f"Expected catalogue rows of known entities, found {every.size} rows, all of them "
            "unknown or none at all. Check `catalogue/entity` in the catalogue of the event log."
        )
    for table in tables.values():
        table[0] = 0
    present = {name: table for name, table in tables.items() if table.any()}
    moments = available_from if (available_from[found[kept]] > 0).any() else None
    alone = frozenset(compared) - frozenset(config.features)
    return CatalogueTable(found[kept], kind[first][kept], present, moments, alone)


def candidate_features(
    rows: Mapping[str, tf.RaggedTensor], widths: Mapping[str, int]
) -> dict[str, tf.Tensor]:
    """Makes the candidate tower's inputs of transformed catalogue rows.

    Args:
        rows: Transformed features, each [N, (values)].
        widths: How many values of each feature are kept, by input name; features
            without a width are left out.

    Returns:
        By input name, dense tensors with N rows, padded with 0.
    """
    dense = {ENTITY: _first(rows[f.CATALOGUE_ENTITY], 0)}
    for name in (*TOKENS, *VECTORS, *declared(widths)):
        if widths.get(name):
            values = _padded(rows[_PREFIX + name], widths[name])
            dense[name] = values if is_vector(name) else tf.cast(values, tf.int32)
    if widths.get(PRICE):
        bucket = _padded(rows[names.CATALOGUE_PRICE_BUCKET], 1)  # [N, 1], 0 without a price
        price = _padded(rows[f.CATALOGUE_PRICE], 1)  # [N, 1]
        dense[PRICE] = tf.concat([price, tf.cast(bucket > 0, tf.float32)], axis=1)
        dense[PRICE_BUCKET] = tf.cast(bucket, tf.int32)
    return dense


def is_vector(name: str) -> bool:
    """Returns whether a feature by its name holds vectors; others hold tokens, or the price."""
    return name in VECTORS or name.startswith("vector/")


def declared(features: Iterable[str]) -> tuple[str, ...]:
    """Returns those of the features that are of declared fields, sorted."""
    return tuple(sorted(name for name in features if name.startswith(DECLARED)))


def declared_features(features: Iterable[str]) -> tuple[str, ...]:
    """Returns the transformed features of those that are of declared fields."""
    return tuple(_PREFIX + name for name in declared(features))


def _require_declared(features: Iterable[str], spec: Mapping[str, tf.io.RaggedFeature]) -> None:
    present = declared(name.removeprefix(_PREFIX) for name in spec)
    for name in declared(features):
        if name not in present:
            raise ValueError(
                f"`candidate.features` names `{name}`, but the examples have "
                f"{list(present) or 'no declared field'}. Declare it in "
                "`timeline.catalogue_fields`, or leave it out."
            )


def _widths(
    rows: Sequence[Mapping[str, tf.RaggedTensor]],
    config: CandidateTowerConfig,
    chosen: Sequence[str],
) -> dict[str, int]:
    """Returns how many values of each chosen feature are kept: the most that a row has."""
    limits = {
        "categories": config.max_categories,
        "attributes": config.max_attributes,
        "title": config.max_title_tokens,
        "related": config.max_related,
    }
    widths = {PRICE: 2 if "price" in chosen else 0}
    fields = declared(chosen)
    limits |= {name: config.max_tokens for name in fields if not is_vector(name)}
    for name in (*TOKENS, *VECTORS, *fields):
        if name in chosen:
            longest = [int(tf.reduce_max(row[_PREFIX + name].row_lengths())) for row in rows]
            widths[name] = min(max(longest, default=0), limits.get(name, 1 << 16))
    return widths


def _padded(values: tf.RaggedTensor, width: int) -> tf.Tensor:
    return tf.ensure_shape(values.to_tensor(shape=[None, width]), [None, width])


def _first(values: tf.RaggedTensor, default: int | bytes) -> tf.Tensor:
    filled = values.to_tensor(default, shape=[None, 1])
    return filled[:, 0]
