"""Checks of the catalogue's and the users' rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfx_pipeline.datasets.problem import SAMPLES
from tfx_pipeline.datasets.problem import Findings
from tfx_pipeline.datasets.problem import Problem
from tfx_pipeline.datasets.problem import Rows
from tfx_pipeline.datasets.row_hash import hash_strings
from tfx_pipeline.datasets.schemas import CATALOGUE
from tfx_pipeline.datasets.schemas import CATALOGUE_TABLE
from tfx_pipeline.datasets.schemas import USERS_TABLE
from tfx_pipeline.datasets.summary import LogSummary
from tfx_pipeline.datasets.validate_files import TableFile
from tfx_pipeline.datasets.validate_images import check_images
from tfx_pipeline.datasets.validate_rows import check_attributes
from tfx_pipeline.datasets.validate_rows import check_entity_type
from tfx_pipeline.datasets.validate_rows import check_text
from tfx_pipeline.datasets.validate_rows import check_times
from tfx_pipeline.datasets.validate_rows import read_rows
from tfx_pipeline.datasets.validate_rows import rows_at
from tfx_pipeline.datasets.validate_rows import type_in_id
from transforms.arrow import pa
from transforms.arrow import pc

MAX_DECODED_IMAGES = 50_000
_KEY = ("entity_type", "entity_id")


def check_catalogue(
    files: Sequence[TableFile],
    ordinal: bool,
    latest: int,
    findings: Findings,
    summary: LogSummary,
    images: bool = True,
) -> np.ndarray:
    """Checks the catalogue.

    Keeps 24 bytes an entity in memory.

    Args:
        files: Readable files of the catalogue.
        ordinal: Whether the log's times are an order only.
        latest: The latest time that is plausible, in microseconds.
        findings: Receives the problems.
        summary: Receives the counts.
        images: Whether to read and check the images, which takes longest.

    Returns:
        Hashes of the entities `type:id`, sorted, [entities] uint64.
    """
    entities, ids, numbers = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)], []
    vectors: dict[str, int] = {}
    seen = 0
    columns = [name for name in CATALOGUE.names if images or name != "image"]
    for rows in read_rows(files, CATALOGUE_TABLE, findings, columns):
        if images:
            check_images(rows, findings, decode=seen < MAX_DECODED_IMAGES)
            seen += rows.data.num_rows - rows.data.column("image").null_count
        rows = check_text(rows, findings)
        check_entity_type(rows, findings)
        _check_ids(rows, findings)
        summary.add_entities(rows.data)
        check_attributes(rows, findings)
        check_times(rows, "available_from", ordinal, latest, findings)
        _check_price(rows, findings)
        for column in ("image_vector", "text_vector"):
            _check_vectors(rows, column, vectors, findings)
        entities.append(hash_strings(qualified(rows.data)))
        ids.append(hash_strings(rows.data.column("entity_id")))
        numbers.append(rows.numbers())
    total = sum(file.rows for file in files)
    if files and not total:
        message = (
            "The catalogue is empty. Only entities of the catalogue are recommended, so there is "
            "nothing to recommend. Write a row for each."
        )
        findings.add(Problem("error", "empty-catalogue", CATALOGUE_TABLE, None, 1, message))
    if seen > MAX_DECODED_IMAGES:
        message = f"The first {MAX_DECODED_IMAGES:,} images were decoded; of the others, headers."
        findings.add(Problem("info", "images-sampled", CATALOGUE_TABLE, "image", seen, message))
    if not numbers:
        return entities[0]
    known, identity, number = np.concatenate(entities), np.concatenate(ids), np.concatenate(numbers)
    _check_duplicates(files, CATALOGUE_TABLE, known, number, _KEY, findings)
    _check_shared_ids(files, known, identity, number, findings)
    known = np.unique(known)
    for rows in read_rows(files, CATALOGUE_TABLE, findings, [*_KEY, "related_ids"]):
        _check_related(rows, known, findings)
    return known


def check_users(files: Sequence[TableFile], findings: Findings) -> None:
    """Checks the users table."""
    users, numbers = [], []
    for rows in read_rows(files, USERS_TABLE, findings):
        rows = check_text(rows, findings)
        check_attributes(rows, findings)
        users.append(hash_strings(rows.data.column("user_id")))
        numbers.append(rows.numbers())
    if users:
        _check_duplicates(
            files,
            USERS_TABLE,
            np.concatenate(users),
            np.concatenate(numbers),
            ("user_id",),
            findings,
        )


def qualified(rows: pa.Table) -> pa.ChunkedArray:
    """Returns `type:id` of each row, [n] string."""
    return pc.binary_join_element_wise(rows.column("entity_type"), rows.column("entity_id"), ":")


def is_among(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Returns which values [n] are among sorted known ones [m], [n] bool."""
    if not len(known):
        return np.zeros(len(values), bool)
    place = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return known[place] == values


def _check_ids(rows: Rows, findings: Findings) -> None:
    message = (
        "{count} of {rows} ids repeat their entity type, which has a column of its own: such an "
        "entity is called `item:item:42` everywhere. Write the id alone, here and in the events."
    )
    twice = type_in_id(rows.data)
    findings.rows("warning", "type-in-id", "entity_id", rows, twice, message, _KEY)


def _check_price(rows: Rows, findings: Findings) -> None:
    column = rows.data.column("price")
    price = pc.fill_null(column, 0.0).to_numpy()
    bad = ~np.isfinite(price) | (price < 0)
    message = (
        "{count} of {rows} prices are negative, infinite or not a number. Write the price in one "
        "currency, or null where there is none."
    )
    findings.rows("error", "bad-price", "price", rows, bad, message, _KEY)


def _check_vectors(rows: Rows, column: str, sizes: dict[str, int], findings: Findings) -> None:
    """Reports vectors of another length than the first one, or with numbers that are none."""
    vectors = rows.data.column(column).combine_chunks()
    if vectors.null_count == len(vectors):
        return
    lengths = pc.fill_null(pc.list_value_length(vectors), -1).to_numpy()
    size = sizes.setdefault(column, int(lengths[lengths >= 0][0]))
    bad = (lengths >= 0) & (lengths != size)
    message = f"{{count}} of {{rows}} vectors are not {size} long, as the first one is."
    findings.rows("error", "vector-length", column, rows, bad, message, _KEY)
    numbers = pc.list_flatten(vectors)
    wrong = ~np.isfinite(numbers.to_numpy(zero_copy_only=False))
    bad = np.zeros(len(vectors), bool)
    bad[pc.list_parent_indices(vectors).to_numpy()[wrong]] = True
    message = "{count} of {rows} vectors hold null, infinity or what is not a number."
    findings.rows("error", "vector-number", column, rows, bad, message, _KEY)


def _check_duplicates(
    files: Sequence[TableFile],
    table: str,
    hashes: np.ndarray,
    numbers: np.ndarray,
    key: tuple[str, ...],
    findings: Findings,
) -> None:
    order = np.argsort(hashes, kind="stable")
    again = np.flatnonzero(hashes[order][1:] == hashes[order][:-1]) + 1
    if len(again):
        message = (
            f"{len(again):,} of {len(hashes):,} rows repeat the {' and '.join(key)} of another "
            f"row, so it is not clear which one counts. Keep one row of each."
        )
        samples = rows_at(files, numbers[order][again[:SAMPLES]].tolist(), key)
        findings.add(
            Problem("error", "duplicate-row", table, key[-1], len(again), message, samples)
        )


def _check_shared_ids(
    files: Sequence[TableFile],
    entities: np.ndarray,
    ids: np.ndarray,
    numbers: np.ndarray,
    findings: Findings,
) -> None:
    """Says that entities of different types use the same ids, which is fine."""
    _, first = np.unique(entities, return_index=True)
    ids, numbers = ids[first], numbers[first]
    order = np.argsort(ids, kind="stable")
    again = np.flatnonzero(ids[order][1:] == ids[order][:-1]) + 1
    if len(again):
        message = (
            f"{len(again):,} ids are used by more than one entity type. That is fine: an entity "
            f"is its type and its id."
        )
        pair = [again[0] - 1, again[0]]
        samples = rows_at(files, numbers[order][pair].tolist(), _KEY)
        findings.add(
            Problem("info", "shared-id", CATALOGUE_TABLE, "entity_id", len(again), message, samples)
        )


def _check_related(rows: Rows, known: np.ndarray, findings: Findings) -> None:
    column = rows.data.column("related_ids").combine_chunks()
    words = pc.list_flatten(column)
    if not len(words):
        return
    parents = pc.list_parent_indices(column).to_numpy()
    formed = pc.fill_null(pc.match_substring_regex(words, "^[^:]+:."), False)
    formed = formed.to_numpy(zero_copy_only=False)
    lost = formed & ~is_among(hash_strings(words), known)
    for kind, severity, where, message in (
        (
            "related-form",
            "error",
            ~formed,
            "{count} of {rows} rows have related ids that are not `type:id`. Put the entity type "
            "before each id, e.g. `item:42`.",
        ),
        (
            "related-unknown",
            "warning",
            lost,
            "{count} of {rows} rows have related ids that are not in the catalogue; these point "
            "nowhere and are ignored. Add the entities, or drop the ids.",
        ),
    ):
        bad = np.zeros(rows.data.num_rows, bool)
        bad[parents[where]] = True
        findings.rows(severity, kind, "related_ids", rows, bad, message, _KEY)  # type: ignore[arg-type]
