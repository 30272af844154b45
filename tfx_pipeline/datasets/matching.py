"""Check that the events of a log and its catalogue name the same entities."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfx_pipeline.datasets.columns import Batch
from tfx_pipeline.datasets.judge import judge_names
from tfx_pipeline.datasets.schemas import CATALOGUE_TABLE
from tfx_pipeline.datasets.schemas import EVENTS_TABLE
from tfx_pipeline.datasets.table_files import parquet_files
from transforms.arrow import pa
from transforms.arrow import parquet_file
from transforms.arrow import pc

_SHOWN = 3
_LOOKED_AT = 10_000  # rows of each table, for names to show


def mismatch(
    root: Path, known: int, total: int, least: float, candidate_types: Sequence[str]
) -> str:
    """Says that too few events are about entities of the catalogue; "" when enough are.

    Args:
        root: Directory of the event log, for names of both sides.
        known: Events that may be targets and whose entity is in the catalogue.
        total: Events that may be targets.
        least: The share that is enough.
        candidate_types: Entity types that may be targets; `*` is all.
    """
    if not total or known >= least * total:
        return ""
    sides = [_some_names(root, table, candidate_types) for table in (EVENTS_TABLE, CATALOGUE_TABLE)]
    events, catalogue = (", ".join(f"`{name}`" for name in side) or "none" for side in sides)
    return (
        f"{known:,} of {total:,} events that may be targets are about entities of the catalogue "
        f"({known / total:.1%}), and `timeline.min_catalogue_match` asks for {least:.1%}: nothing "
        f"could be learned or hit. The events name for instance {events}, the catalogue "
        f"{catalogue}. Write types and ids alike in both tables, or lower the share."
    )


def _some_names(root: Path, table: str, types: Sequence[str]) -> list[str]:
    """Returns a few entities `type:id` that a table names."""
    for path in parquet_files(root, table):
        with parquet_file(path) as file:
            rows = next(file.iter_batches(_LOOKED_AT, columns=["entity_type", "entity_id"]), None)
        if rows is None:
            continue
        batch = Batch(table, rows)
        usable = judge_names(batch).good
        if "*" not in types:
            meant = pa.array([name.encode() for name in types], pa.binary())
            usable &= np.asarray(pc.is_in(batch.column("entity_type"), meant))
        names = batch.names().filter(pa.array(usable)).cast(pa.string()).unique()
        if len(names):
            return names.slice(0, _SHOWN).to_pylist()
    return []
