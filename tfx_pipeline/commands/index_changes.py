"""Reads the files of `vitrine index update`: rows of the catalogue, and ids."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from serving.index.updating.changes import DELETES_SCHEMA
from serving.index.updating.changes import REFUSED_SCHEMA
from serving.index.updating.changes import UPSERTS_SCHEMA
from serving.index.updating.changes import refused
from tfx_pipeline.commands.index_fields import FieldColumn
from tfx_pipeline.commands.index_fields import field_columns
from tfx_pipeline.commands.index_fields import read_fields
from tfx_pipeline.datasets.catalogue_index import CatalogueIndex
from tfx_pipeline.datasets.catalogue_index import MergeKeys
from tfx_pipeline.datasets.catalogue_index import ReadKeys
from tfx_pipeline.datasets.columns import Batch
from tfx_pipeline.datasets.convert import converts
from tfx_pipeline.datasets.dead_letter import as_text
from tfx_pipeline.datasets.event_log import CATALOGUE
from tfx_pipeline.datasets.event_log import CATALOGUE_TABLE
from tfx_pipeline.datasets.file_parts import ROWS_A_BATCH
from tfx_pipeline.datasets.file_parts import FilePart
from tfx_pipeline.datasets.file_parts import batches
from tfx_pipeline.datasets.limits import Limits
from tfx_pipeline.datasets.problem import Findings
from tfx_pipeline.datasets.schemas import FEATURES
from tfx_pipeline.datasets.schemas import ROW_GROUP_ROWS
from tfx_pipeline.datasets.validate_files import check_table
from tfx_pipeline.examples.catalogue import read_rows
from tfx_pipeline.examples.encode import encode_examples
from transforms.arrow import pa
from transforms.arrow import pq
from transforms.catalogue_fields import CatalogueFields
from transforms.nearest import nearest

VECTOR = "vector"  # a column of the upserts beside those of the catalogue

Embed = Callable[[Sequence[bytes]], np.ndarray]  # [n] serialised rows -> [n, d]
Fill = Callable[[Batch], Batch]  # rows with the fields that are made of their images


def read_upserts(
    paths: Sequence[Path],
    embed: Embed,
    images: bool = False,
    fields: CatalogueFields | None = None,
    fill: Fill | None = None,
) -> tuple[pa.Table, pa.Table]:
    """Reads rows of the catalogue.

    Args:
        paths: Parquet files with the columns of `catalogue/*.parquet`. Rows of
            a file with a column `vector` are taken with it; others are embedded. Declared
            fields are columns `vector/<name>` and `token/<name>`.
        embed: The candidate tower.
        images: Whether the tower reads images.
        fields: Declared fields that the tower may read.
        fill: Makes some of them of images, where rows are embedded.

    Returns:
        A table of `UPSERTS_SCHEMA`, and rows that could not be used as one of
        `REFUSED_SCHEMA`.

    Raises:
        ValueError: A file is no Parquet, or has an unknown column, a required
            one less, or one of a wrong type.
    """
    declared = field_columns(fields or CatalogueFields())
    good, bad = [UPSERTS_SCHEMA.empty_table()], [REFUSED_SCHEMA.empty_table()]
    for path in paths:
        for rows, letters in _read_file(path, embed, images, declared, fill):
            good.append(rows)
            bad.append(letters)
    return pa.concat_tables(good), pa.concat_tables(bad)


def read_deletes(paths: Sequence[Path]) -> pa.Table:
    """Reads ids to take out, as a table of `DELETES_SCHEMA`.

    Args:
        paths: Parquet files with a column `id` (`type:id`) or with
            `entity_type` and `entity_id`; or text, one `type:id` a line.

    Raises:
        ValueError: A file is neither.
    """
    tables = [DELETES_SCHEMA.empty_table()]
    for path in paths:
        ids = _ids_of_table(path) if path.suffix == ".parquet" else _ids_of_text(path)
        rows = [row for row, name in enumerate(ids) if name]
        columns = [[ids[row] for row in rows], [path.name] * len(rows), rows]
        tables.append(pa.table(columns, schema=DELETES_SCHEMA))
    return pa.concat_tables(tables)


def _read_file(
    path: Path,
    embed: Embed,
    images: bool,
    declared: Mapping[str, FieldColumn],
    fill: Fill | None,
) -> Iterator[tuple[pa.Table, pa.Table]]:
    file = _open(path)
    groups = file.num_row_groups
    given = VECTOR in file.schema_arrow.names
    _check(file.schema_arrow, path, declared)
    file_part = FilePart(CATALOGUE_TABLE, str(path), 0, groups, 0, 0, 0)
    seen = CatalogueIndex(MergeKeys().extract_output(list(ReadKeys().process(file_part))))
    fill = None if given else fill
    look = images or fill is not None
    columns = [name for name in CATALOGUE.names if name != "image" or look]
    columns += [*declared, *[VECTOR] * given]
    size = ROW_GROUP_ROWS[CATALOGUE_TABLE] if look else ROWS_A_BATCH
    for first, batch in batches(file_part, columns, size):
        batch = fill(batch) if fill else batch
        features, found = read_rows(batch, first, seen, Limits())
        features += read_fields(batch, declared, found)
        good = np.flatnonzero(found.good)
        if given:
            index = batch.rows.schema.get_field_index(VECTOR)
            vectors = batch.rows.column(index).take(pa.array(good))
            vectors = vectors.cast(UPSERTS_SCHEMA.field(VECTOR).type)
        else:
            examples = encode_examples(features).take(pa.array(good)).to_pylist()
            vectors = pa.array(list(embed(examples)), UPSERTS_SCHEMA.field(VECTOR).type)
        rows = _candidates(batch, path, first)
        kept = rows.take(pa.array(good)).append_column(VECTOR, vectors)
        letters = refused("upsert", rows.take(pa.array(found.rejected)), found.reasons())
        yield kept.select(UPSERTS_SCHEMA.names).cast(UPSERTS_SCHEMA), letters


def _candidates(batch: Batch, path: Path, first: int) -> pa.Table:
    """Returns what an index keeps of a batch, and where each row is from."""
    count = len(batch)
    columns = {
        "id": batch.names(),
        "entity_type": batch.column("entity_type"),
        "title": batch.column("title"),
        "available_from": batch.column("available_from"),
        "file": pa.array([path.name] * count, pa.string()),
        "row": pa.array(first + np.arange(count)),
    }
    for name in ("id", "entity_type", "title"):
        columns[name] = as_text(pa.chunked_array([columns[name]]))
    return pa.table(columns)


def _open(path: Path) -> pq.ParquetFile:
    if not path.is_file():
        raise ValueError(f"There is no file `{path}`.")
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"`{path}` is no Parquet file: {error}") from None


def _check(schema: pa.Schema, path: Path, declared: Mapping[str, FieldColumn]) -> None:
    """Raises when a column is unknown, missing or of a wrong type."""
    known = [*CATALOGUE.names, VECTOR, *declared]
    for name in schema.names:
        if name not in known:
            raise ValueError(
                f"`{path}` has the column `{name}`, which a catalogue has not"
                f"{nearest(name, known)}. It may have {', '.join(known)}."
            )
    findings = Findings()
    check_table(path.parent, CATALOGUE_TABLE, [path], findings)
    faults = [str(problem) for problem in findings.close({}) if problem.severity == "error"]
    if faults:
        raise ValueError("\n".join([f"`{path}` cannot be used:", *faults]))
    for name, column in declared.items():
        expected = FEATURES.field(column.column)
        if name in schema.names and not converts(schema.field(name).type, expected):
            raise ValueError(
                f"`{path}` has the column `{name}` as {schema.field(name).type}; expected "
                f"{expected.type}."
            )
    if VECTOR in schema.names:
        kind = schema.field(VECTOR).type
        lists = pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)
        if not lists or not pa.types.is_floating(kind.value_type):
            raise ValueError(
                f"`{path}` has the column `{VECTOR}` as {kind}; expected a list of float32."
            )


def _ids_of_table(path: Path) -> list[str]:
    file = _open(path)
    names = file.schema_arrow.names
    wanted = ["id"] if "id" in names else ["entity_type", "entity_id"]
    missing = [name for name in wanted if name not in names]
    if missing:
        raise ValueError(
            f"`{path}` should have a column `id` (`type:id`), or `entity_type` and `entity_id`; "
            f"it has {names}."
        )
    texts = (pa.types.is_string, pa.types.is_large_string)
    for name in wanted:
        kind = file.schema_arrow.field(name).type
        if not any(is_text(kind) for is_text in texts):
            raise ValueError(f"`{path}` has the column `{name}` as {kind}; expected string.")
    columns = [file.read(wanted)[name].to_pylist() for name in wanted]
    return [":".join(part or "" for part in parts) for parts in zip(*columns, strict=True)]


def _ids_of_text(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        raise ValueError(f"There is no file `{path}`.") from None
    except UnicodeDecodeError as error:
        raise ValueError(
            f"`{path}` should be text with one `type:id` a line, or a Parquet file whose name "
            f"ends in `.parquet`: {error}"
        ) from None
