"""MovieLens-1M: a million ratings of 3,883 movies by 6,040 users.

F. Maxwell Harper and Joseph A. Konstan. 2015. The MovieLens Datasets: History
and Context. ACM TiiS 5, 4, Article 19. Its licence forbids redistribution, so
it is read where it lies or fetched from GroupLens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from typing import Literal

import numpy as np

from tfx_pipeline.datasets.download import find
from tfx_pipeline.datasets.download import obtain
from tfx_pipeline.datasets.event_log_writer import write_event_log
from tfx_pipeline.datasets.images import with_images
from tfx_pipeline.datasets.manifest import Manifest
from tfx_pipeline.datasets.movielens_files import ARCHIVE
from tfx_pipeline.datasets.movielens_files import MOVIE
from tfx_pipeline.datasets.movielens_files import POSTERS
from tfx_pipeline.datasets.movielens_files import SEQUENCES
from tfx_pipeline.datasets.movielens_files import Tables
from tfx_pipeline.datasets.movielens_files import read_tables
from tfx_pipeline.datasets.sequences import SECOND
from tfx_pipeline.datasets.sequences import Sequences
from tfx_pipeline.datasets.sequences import constant
from tfx_pipeline.datasets.sequences import read_sequences
from tfx_pipeline.datasets.sequences import sequence_events
from transforms.arrow import pa
from transforms.arrow import pc

RATE = "rate"
CORE = 5  # the papers keep users and items with at least so many interactions


def prepare_movielens_1m(
    out: str | Path,
    source: str | Path | None = None,
    protocol: Literal["papers", "official"] = "papers",
    posters: bool = False,
    overwrite: bool = False,
) -> Manifest:
    """Turns MovieLens-1M into an event log.

    Protocol `papers` is what the tables of the literature use: movies with at
    least 5 ratings, users in order of time, no times. The order of ties moves
    results, so it comes from `sequences.txt.gz` where that lies beside the
    archive, and from the order of rows in `ratings.dat` otherwise; the
    manifest's `tie_order` says which. Protocol `official` is every rating with
    its time; the manifest calls the time real only when the archive is, byte
    for byte, the one that GroupLens publishes.

    Args:
        out: Directory of the event log to make.
        source: `ml-1m.zip`, or a directory with it or with its `.dat` files.
            By default it is looked up and, at last, downloaded.
        protocol: `papers` or `official`.
        posters: Whether to put `posters_64x96.tar` into the catalogue's images.
        overwrite: Whether an event log at `out` may be replaced.

    Returns:
        The manifest as written.

    Raises:
        FileExistsError: If `out` may not be replaced.
        FileNotFoundError: If a file is not at hand and cannot be fetched.
        ValueError: If a file is not what it should be.
    """
    if protocol not in ("papers", "official"):
        raise ValueError(f"`protocol` must be papers or official; received `{protocol}`.")
    tables = read_tables(source)
    notes: dict[str, Any] = {"protocol": protocol, **tables.report.notes()}
    if protocol == "papers":
        events, tie_order = _papers_events(tables, source)
        movies = tables.movies.filter(
            pc.is_in(tables.movies.column("entity_id"), pc.unique(events.column("entity_id")))
        )
    else:
        events, tie_order, movies = _official_events(tables), "row of ratings.dat", tables.movies
        if not tables.official:
            notes["time"] = "not GroupLens's own archive, so its times count as an order only"
    if posters:
        names = movies.column("entity_id").to_pylist()
        movies = with_images(movies, obtain(POSTERS, source), names)
    manifest = Manifest(
        name="movielens-1m",
        version=protocol,
        source=ARCHIVE.homepage,
        time="real" if protocol == "official" and tables.official else "ordinal",
        tie_order=tie_order,
        notes=notes,
    )
    return write_event_log(out, manifest, events, movies, tables.users, overwrite)


def _papers_events(tables: Tables, source: str | Path | None) -> tuple[pa.Table, str]:
    """Returns the events of the papers' protocol and the order of their ties."""
    path = find(SEQUENCES, source)
    if path is not None:
        sequences, tie_order = read_sequences(path), SEQUENCES.name.rpartition("/")[2]
    else:
        sequences, tie_order = k_core_sequences(tables.ratings, CORE), "row of ratings.dat"
    values = _ratings_of(sequences, tables.ratings)
    return sequence_events(sequences, MOVIE, RATE, values), tie_order


def _official_events(tables: Tables) -> pa.Table:
    """Returns every rating in the order of the file."""
    ratings = tables.ratings
    n = ratings.num_rows
    return pa.table(
        {
            "user_id": ratings.column("user").cast(pa.string()),
            "entity_type": constant(MOVIE, n),
            "entity_id": ratings.column("movie").cast(pa.string()),
            "event": constant(RATE, n),
            "timestamp": pc.multiply(ratings.column("seconds"), SECOND),
            "ordinal": pa.array(np.arange(n, dtype=np.int64)),
            "value": ratings.column("rating"),
        }
    )


def k_core_sequences(ratings: pa.Table, core: int) -> Sequences:
    """Returns users' items by time, ties in the order of rows, of the k-core.

    Users and items with fewer than `core` ratings are dropped until none is
    left (on MovieLens-1M one pass over the items is enough).

    Args:
        ratings: Columns `user`, `movie`, `seconds` of int64.
        core: The least number of ratings of a user and of an item.
    """
    user, movie, seconds = (
        ratings.column(name).to_numpy() for name in ("user", "movie", "seconds")
    )
    keep = np.ones(len(user), bool)
    while True:
        common = _common(user, keep, core) & _common(movie, keep, core) & keep
        if common.sum() == keep.sum():
            break
        keep = common
    user, movie, seconds = user[keep], movie[keep], seconds[keep]
    order = np.lexsort((seconds, user))  # stable: ties stay in the order of rows
    users, lengths = np.unique(user, return_counts=True)
    return Sequences(
        pa.array(users).cast(pa.string()), lengths, pa.array(movie[order]).cast(pa.string())
    )


def _common(ids: np.ndarray, keep: np.ndarray, core: int) -> np.ndarray:
    """Returns for each row whether its id has at least `core` rows that are kept."""
    _, index = np.unique(ids, return_inverse=True)
    return np.bincount(index, weights=keep)[index] >= core


def _ratings_of(sequences: Sequences, ratings: pa.Table) -> pa.Array:
    """Returns the rating of each item of the sequences, null where there is none."""
    users = sequences.user_of_item().cast(pa.int64()).to_numpy()
    movies = sequences.items.cast(pa.int64()).to_numpy()
    base = max(int(movies.max()), pc.max(ratings.column("movie")).as_py()) + 1
    keys = ratings.column("user").to_numpy() * base + ratings.column("movie").to_numpy()
    order = np.argsort(keys, kind="stable")
    wanted = users * base + movies
    place = np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)
    row = order[place]
    return pa.array(ratings.column("rating").to_numpy()[row], mask=keys[row] != wanted)
