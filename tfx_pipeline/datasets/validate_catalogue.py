"""Checks of the catalogue's and the users' rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfx_pipeline.datasets.columns import as_ragged
from tfx_pipeline.datasets.columns import rows_of
from tfx_pipeline.datasets.judge import COLUMNS
from tfx_pipeline.datasets.judge import judge_names
from tfx_pipeline.datasets.limits import Limits
from tfx_pipeline.datasets.problem import SAMPLES
from tfx_pipeline.datasets.problem import Findings
from tfx_pipeline.datasets.problem import Problem
from tfx_pipeline.datasets.problem import Rows
from tfx_pipeline.datasets.row_hash import hash_strings
from tfx_pipeline.datasets.schemas import CATALOGUE_TABLE
from tfx_pipeline.datasets.schemas import USERS_TABLE
from tfx_pipeline.datasets.summary import LogSummary
from tfx_pipeline.datasets.validate_files import TableFile
from tfx_pipeline.datasets.validate_rows import judge_rows
from tfx_pipeline.datasets.validate_rows import read_rows
from tfx_pipeline.datasets.validate_rows import rows_at
from transforms.arrow import pc

_KEY = ("entity_type", "entity_id")


def check_catalogue(
    files: Sequence[TableFile],
    limits: Limits,
    findings: Findings,
    summary: LogSummary,
    images: bool = True,
) -> np.ndarray:
    """Checks the catalogue.

    Keeps 25 bytes an entity in memory.

    Args:
        files: Readable files of the catalogue.
        limits: What rows have to keep to.
        findings: Receives the problems.
        summary: Receives the counts.
        images: Whether to read and check the images, which takes longest.

    Returns:
        Hashes of the entities `type:id`, sorted, [entities] uint64.
    """
    entities, ids, numbers = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)], []
    good = []
    columns = [name for name in COLUMNS[CATALOGUE_TABLE] if images or name != "image"]
    for rows in read_rows(files, CATALOGUE_TABLE, findings, columns):
        found = judge_rows(rows, limits, findings)
        named = judge_names(rows.batch).good
        summary.add_entities(rows.batch.filter(found.good))
        entities.append(hash_strings(rows.batch.names())[named])
        ids.append(hash_strings(rows.batch.column("entity_id"))[named])
        numbers.append(rows.numbers()[named])
        good.append(found.good[named])
    if not numbers:
        return entities[0]
    known, identity, number = np.concatenate(entities), np.concatenate(ids), np.concatenate(numbers)
    check_repeated(files, CATALOGUE_TABLE, known, number, np.concatenate(good), _KEY, findings)
    _check_shared_ids(files, known, identity, number, findings)
    known = np.unique(known)
    for rows in read_rows(files, CATALOGUE_TABLE, findings, [*_KEY, "related_ids"]):
        _check_related(rows, known, findings)
    return known


def check_users(files: Sequence[TableFile], limits: Limits, findings: Findings) -> None:
    """Checks the users table."""
    users, numbers = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for rows in read_rows(files, USERS_TABLE, findings):
        good = judge_rows(rows, limits, findings).good
        users.append(hash_strings(rows.batch.column("user_id"))[good])
        numbers.append(rows.numbers()[good])
    user, number = np.concatenate(users), np.concatenate(numbers)
    everyone = np.ones(len(user), bool)
    check_repeated(files, USERS_TABLE, user, number, everyone, ("user_id",), findings)


def is_among(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Returns which values [n] are among sorted known ones [m], [n] bool."""
    if not len(known):
        return np.zeros(len(values), bool)
    place = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return known[place] == values


def check_repeated(
    files: Sequence[TableFile],
    table: str,
    hashes: np.ndarray,
    numbers: np.ndarray,
    good: np.ndarray,
    key: tuple[str, ...],
    findings: Findings,
) -> None:
    """Reports further rows of one entity or user that nothing else is wrong with."""
    order = np.argsort(hashes, kind="stable")  # the first row of each in the log counts
    again = order[np.flatnonzero(hashes[order][1:] == hashes[order][:-1]) + 1]
    again = np.sort(again[good[again]])
    if len(again):
        message = (
            f"{len(again):,} of {sum(file.rows for file in files):,} rows repeat the "
            f"{' and '.join(key)} of another one; the first is taken. Keep one row of each."
        )
        samples = rows_at(files, numbers[again[:SAMPLES]].tolist(), key)
        findings.add(Problem("duplicate-row", table, key[-1], len(again), message, samples))


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
            Problem("shared-id", CATALOGUE_TABLE, "entity_id", len(again), message, samples)
        )


def _check_related(rows: Rows, known: np.ndarray, findings: Findings) -> None:
    values, offsets = as_ragged(rows.batch.column("related_ids"))
    if not len(values):
        return
    formed = pc.match_substring_regex(values, "^[^:]+:.").to_numpy(zero_copy_only=False)
    lost = rows_of(formed & ~is_among(hash_strings(values), known), offsets)
    if lost is not None:
        findings.rows("related-unknown", "related_ids", rows, lost, show=_KEY)
