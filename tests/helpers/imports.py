"""Imports of small CSV files."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tfx_pipeline.datasets.event_log import EventLog
from tfx_pipeline.datasets.importer.catalogue_and_users import CatalogueColumns
from tfx_pipeline.datasets.importer.event_rows import EventColumns
from tfx_pipeline.datasets.importer.import_log import import_log
from tfx_pipeline.datasets.importer.request import Imported
from tfx_pipeline.datasets.importer.request import ImportRequest

DAY = 86_400
START = 1_704_153_600  # 2024-01-02 00:00:00 UTC


def put(path: Path, text: str) -> str:
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


def import_texts(
    folder: Path,
    *texts: str,
    said: list[str] | None = None,
    catalogue: str | None = None,
    items: dict[str, Any] | None = None,
    request: dict[str, Any] | None = None,
    **columns: Any,
) -> tuple[Imported, EventLog]:
    """Imports CSV texts with the columns user, item and time, unless others are named."""
    files = [put(folder / f"{number}.csv", text) for number, text in enumerate(texts)]
    named = {"user": "user", "item": "item", "time": "time"} | columns
    found = import_log(
        ImportRequest(
            files,
            folder / "log",
            EventColumns(**named),
            CatalogueColumns(**({"item": named["item"]} | (items or {}))),
            [put(folder / "catalogue.csv", catalogue)] if catalogue else [],
            overwrite=True,
            **(request or {}),
        ),
        said.append if said is not None else print,
    )
    return found, EventLog(folder / "log")


def letters(log: EventLog) -> list[dict[str, Any]]:
    """Returns dead letters without what is null."""
    rows = pq.read_table(log.path / "dead_letter").to_pylist()
    return [{name: value for name, value in row.items() if value is not None} for row in rows]
