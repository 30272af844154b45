"""Limits on the rows of an event log."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

from tfx_pipeline.datasets.manifest import Manifest
from tfx_pipeline.datasets.schemas import features_table
from tfx_pipeline.datasets.timestamps import EARLIEST
from tfx_pipeline.datasets.timestamps import FAR_FUTURE
from tfx_pipeline.datasets.timestamps import latest as end_of_tomorrow
from tfx_pipeline.datasets.validate_files import TableFile
from transforms.arrow import pa
from transforms.arrow import parquet_file
from transforms.base_config import Config

VECTORS = ("image_vector", "text_vector")
_LEAST, _MOST = -(2**63), 2**63 - 1


class Limits(Config):
    """Limits on the rows of an event log; none by default.

    Attributes:
        ordinal: Whether the times are an order only.
        earliest: The first acceptable time, of events and of `available_from`.
        latest: Times of events from here on are not acceptable.
        latest_available: Times of `available_from` from here on are not acceptable.
        event_types: Event types that are meant; any when empty.
        vector_sizes: Length of each column of vectors of the catalogue that has any, and of
            the vectors of each table of a declared field, by its name.
    """

    ordinal: bool = False
    earliest: int = _LEAST
    latest: int = _MOST
    latest_available: int = _MOST
    event_types: tuple[str, ...] = ()
    vector_sizes: dict[str, int] = {}


def find_limits(
    manifest: Manifest | None,
    catalogue: Iterable[TableFile],
    event_types: Sequence[str] = (),
    earliest: int | None = None,
    latest: int | None = None,
    vectors: Mapping[str, int] | None = None,
) -> Limits:
    """Returns what the rows of a log have to keep to.

    Args:
        manifest: What the log says about itself; None where it cannot be read.
        catalogue: Its catalogue, whose first vectors say how long the others are.
        event_types: Event types that are meant; by default those of the manifest.
        earliest: The first acceptable time; by default 1990, or 0 for an order.
        latest: The end of acceptable times; by default the end of tomorrow, or
            none for an order.
        vectors: Declared length of each field of vectors.
    """
    ordinal = manifest is not None and manifest.time == "ordinal"
    if not event_types and manifest is not None:
        event_types = manifest.event_types
    files = list(catalogue)
    sizes = {name: first_length(files, name) for name in VECTORS}
    sizes |= {features_table(name): length for name, length in (vectors or {}).items()}
    return Limits(
        ordinal=ordinal,
        earliest=(0 if ordinal else EARLIEST) if earliest is None else earliest,
        latest=(_MOST if ordinal else end_of_tomorrow()) if latest is None else latest,
        latest_available=_MOST if ordinal else max(FAR_FUTURE, latest or 0),
        event_types=tuple(event_types),
        vector_sizes={name: size for name, size in sizes.items() if size},
    )


def first_length(files: Iterable[TableFile], column: str) -> int:
    """Returns the length of the first vector in a column; 0 without any."""
    for entry in files:
        if column not in entry.columns:
            continue
        try:
            with parquet_file(entry.path) as file:
                kind = file.schema_arrow.field(column).type
                if pa.types.is_fixed_size_list(kind):
                    return int(kind.list_size)
                for batch in file.iter_batches(1_024, columns=[column]):
                    lengths = [len(one) for one in batch.column(0).to_pylist() if one]
                    if lengths:
                        return lengths[0]
        except (pa.ArrowException, OSError):
            continue  # whoever reads its rows says that the file is damaged
    return 0
