"""Checks of the tables of declared fields, `features/<name>/*.parquet`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfx_pipeline.datasets.limits import Limits
from tfx_pipeline.datasets.limits import first_length
from tfx_pipeline.datasets.problem import SAMPLES
from tfx_pipeline.datasets.problem import Findings
from tfx_pipeline.datasets.problem import Problem
from tfx_pipeline.datasets.row_hash import hash_strings
from tfx_pipeline.datasets.schemas import FEATURES
from tfx_pipeline.datasets.schemas import FEATURES_TABLE
from tfx_pipeline.datasets.schemas import features_table
from tfx_pipeline.datasets.table_files import all_files
from tfx_pipeline.datasets.table_files import folder_of
from tfx_pipeline.datasets.table_files import parquet_files
from tfx_pipeline.datasets.table_files import place_of
from tfx_pipeline.datasets.validate_catalogue import check_repeated
from tfx_pipeline.datasets.validate_catalogue import is_among
from tfx_pipeline.datasets.validate_files import TableFile
from tfx_pipeline.datasets.validate_files import check_table
from tfx_pipeline.datasets.validate_files import report_other_files
from tfx_pipeline.datasets.validate_rows import judge_rows
from tfx_pipeline.datasets.validate_rows import read_rows
from transforms.arrow import pa
from transforms.catalogue_fields import NAME
from transforms.catalogue_fields import CatalogueFields

_KEY = ("entity_type", "entity_id")


def guess_fields(root: Path) -> CatalogueFields:
    """Returns the fields that a log's folders and columns tell of, for a log alone.

    Args:
        root: The log's directory.
    """
    vectors, tokens = {}, []
    for name in filter(NAME.fullmatch, _names(root)):
        table = features_table(name)
        files = check_table(root, table, parquet_files(root, table), Findings(), FEATURES)
        columns = {column for file in files for column in file.columns}
        if "vector" in columns and (length := first_length(files, "vector")):
            vectors[name] = length
        elif "tokens" in columns:
            tokens.append(name)
    return CatalogueFields(vectors=vectors, tokens=tuple(tokens))


def check_feature_files(
    root: Path, fields: CatalogueFields, findings: Findings, made: Path | None = None
) -> dict[str, list[TableFile]]:
    """Checks folders, files, columns and types of the tables of declared fields.

    Args:
        root: The log's directory.
        fields: What is declared.
        findings: Receives the problems.
        made: A directory with some of the tables, which are read in place of the log's.

    Returns:
        The readable files of each table.
    """
    _report_undeclared(root, fields, findings)
    found = {}
    for name in sorted(fields.names):
        table = features_table(name)
        column = "vector" if name in fields.vectors else "tokens"
        place = place_of(table, root, made)
        paths = parquet_files(place, table)
        others = sorted(set(all_files(place, table)) - set(paths))
        report_other_files(place, table, others, findings)
        schema = pa.schema(
            [*map(FEATURES.field, _KEY), FEATURES.field(column).with_nullable(False)]
        )
        found[table] = check_table(place, table, paths, findings, schema)
        if not paths:
            message = (
                f"There is no {folder_of(table)}/*.parquet, which `timeline.catalogue_fields` "
                f"declares. Expected the columns {schema.names}. Write it, or take the field out."
            )
            findings.add(Problem("missing-table", table, None, 1, message))
        elif not sum(file.rows for file in found[table]) and found[table]:
            message = "The table has no rows: no entity has the field. Take it out until some do."
            findings.add(Problem("empty-features", table, None, 1, message))
    return found


def check_features(
    table: str,
    files: Sequence[TableFile],
    known: np.ndarray,
    drop_unknown: bool,
    limits: Limits,
    findings: Findings,
) -> int:
    """Checks the rows of the table of a declared field.

    Keeps 16 bytes a row in memory.

    Args:
        table: Its name, `features.<name>`.
        files: Its readable files.
        known: Sorted hashes of the catalogue's entities.
        drop_unknown: Whether rows about other entities are dead letters.
        limits: What rows have to keep to.
        findings: Receives the problems.

    Returns:
        How many entities of the catalogue have a row.
    """
    entities, numbers = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    total = 0
    for rows in read_rows(files, table, findings, FEATURES.names):
        rows = rows.where(judge_rows(rows, limits, findings).good)
        entity = hash_strings(rows.batch.names())
        there = is_among(entity, known)
        kind = "unknown-entity" if drop_unknown else "features-unknown"
        findings.rows(kind, "entity_id", rows, ~there, show=_KEY)
        entities.append(entity[there])
        numbers.append(rows.numbers()[there])
        total += len(entity)
    entity, number = np.concatenate(entities), np.concatenate(numbers)
    everyone = np.ones(len(entity), bool)
    check_repeated(files, table, entity, number, everyone, _KEY, findings)
    if total and not len(entity) and len(known):
        findings.add(Problem("nothing-matches", table, "entity_id", total, no_match(table, total)))
    return len(np.unique(entity))


def no_match(table: str, rows: int) -> str:
    """Says that no row of a declared field's table is about an entity of the catalogue."""
    return (
        f"None of {rows:,} rows in {folder_of(table)} is about an entity of the catalogue. Write "
        "types and ids as the catalogue does."
    )


def _names(root: Path) -> list[str]:
    """Returns the names of the folders of features."""
    folder = root / FEATURES_TABLE
    return sorted(
        {
            path.relative_to(folder).parts[0]
            for path in all_files(root, FEATURES_TABLE)
            if path.parent != folder
        }
    )


def _report_undeclared(root: Path, fields: CatalogueFields, findings: Findings) -> None:
    """Reports what is in the folder of features and is not read."""
    folder = root / FEATURES_TABLE
    loose = [path for path in all_files(root, FEATURES_TABLE) if path.parent == folder]
    if loose:
        message = (
            f"A field's files are in a folder with its name, {FEATURES_TABLE}/<name>/*.parquet; "
            "these are in none, and nothing reads them. Move them."
        )
        samples = tuple({"file": str(path.relative_to(root))} for path in loose[:SAMPLES])
        findings.add(Problem("unread-file", FEATURES_TABLE, None, len(loose), message, samples))
    for name in _names(root):
        if name in fields.names:
            continue
        message = (
            f"Nothing reads {FEATURES_TABLE}/{name}. Declare it in `timeline.catalogue_fields`, "
            "under `vectors` with the length of its column `vector`, or under `tokens` for its "
            "column `tokens`; a name is of lower-case letters, digits and `_`."
        )
        findings.add(Problem("undeclared-table", features_table(name), None, 1, message))
