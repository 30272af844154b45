"""MovieLens-1M: a million ratings of 3,883 movies by 6,040 users.

F. Maxwell Harper and Joseph A. Konstan. 2015. The MovieLens Datasets: History
and Context. ACM TiiS 5, 4, Article 19. Its licence forbids redistribution, so
it is read where it lies or fetched from GroupLens.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.datasets.archives import extract
from tfx_pipeline.datasets.delimited import RowReport
from tfx_pipeline.datasets.delimited import read_whole
from tfx_pipeline.datasets.download import SourceFile
from tfx_pipeline.datasets.download import find
from tfx_pipeline.datasets.download import obtain
from tfx_pipeline.datasets.download import sha256_of
from tfx_pipeline.datasets.event_log_writer import write_event_log
from tfx_pipeline.datasets.manifest import Manifest
from tfx_pipeline.datasets.sequences import SECOND
from tfx_pipeline.datasets.sequences import Sequences
from tfx_pipeline.datasets.sequences import constant
from tfx_pipeline.datasets.sequences import read_sequences
from tfx_pipeline.datasets.sequences import sequence_events

# GroupLens publishes the MD5 c4d9eecfca2ab87c1945afe126590906 for this file.
ARCHIVE = SourceFile(
    name="movielens-1m/ml-1m.zip",
    homepage="https://grouplens.org/datasets/movielens/1m/",
    url="https://files.grouplens.org/datasets/movielens/ml-1m.zip",
    sha256="a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
    max_bytes=16 << 20,
)
SEQUENCES = SourceFile("movielens-1m/sequences.txt.gz", ARCHIVE.homepage)
POSTERS = SourceFile("movielens-1m/posters_64x96.tar", ARCHIVE.homepage)
MOVIE = "movie"
RATE = "rate"
CORE = 5  # the papers keep users and items with at least so many interactions
_TABLES = ("ratings.dat", "movies.dat", "users.dat")
_MAX_MEMBER_BYTES = 64 << 20
_AGES = {
    "1": "under 18",
    "18": "18-24",
    "25": "25-34",
    "35": "35-44",
    "45": "45-49",
    "50": "50-55",
    "56": "56+",
}
_OCCUPATIONS = (
    "other",
    "academic/educator",
    "artist",
    "clerical/admin",
    "college/grad student",
    "customer service",
    "doctor/health care",
    "executive/managerial",
    "farmer",
    "homemaker",
    "K-12 student",
    "lawyer",
    "programmer",
    "retired",
    "sales/marketing",
    "scientist",
    "self-employed",
    "technician/engineer",
    "tradesman/craftsman",
    "unemployed",
    "writer",
)


@dataclass(frozen=True)
class _Tables:
    """The three files: `ratings` (user, movie, rating, seconds), catalogue and users rows."""

    ratings: pa.Table
    movies: pa.Table
    users: pa.Table
    report: RowReport
    official: bool


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
    tables = _read_tables(source)
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
        movies = _with_posters(movies, obtain(POSTERS, source))
    manifest = Manifest(
        name="movielens-1m",
        version=protocol,
        source=ARCHIVE.homepage,
        time="real" if protocol == "official" and tables.official else "ordinal",
        tie_order=tie_order,
        notes=notes,
    )
    return write_event_log(out, manifest, events, movies, tables.users, overwrite)


def _papers_events(tables: _Tables, source: str | Path | None) -> tuple[pa.Table, str]:
    """Returns the events of the papers' protocol and the order of their ties."""
    path = find(SEQUENCES, source)
    if path is not None:
        sequences, tie_order = read_sequences(path), SEQUENCES.name.rpartition("/")[2]
    else:
        sequences, tie_order = k_core_sequences(tables.ratings, CORE), "row of ratings.dat"
    values = _ratings_of(sequences, tables.ratings)
    return sequence_events(sequences, MOVIE, RATE, values), tie_order


def _official_events(tables: _Tables) -> pa.Table:
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


def _read_tables(source: str | Path | None) -> _Tables:
    """Reads the three files from a directory or from the archive."""
    folder = _folder_of_tables(source)
    if folder is not None:
        return _parse(folder, official=False)
    archive = Path(source) if source and Path(source).is_file() else obtain(ARCHIVE, source)
    with tempfile.TemporaryDirectory() as work:
        members = [f"ml-1m/{name}" for name in _TABLES]
        unpacked = extract(
            archive, Path(work, "unpacked"), members, max_member_bytes=_MAX_MEMBER_BYTES
        )
        return _parse(unpacked / "ml-1m", official=sha256_of(archive) == ARCHIVE.sha256)


def _folder_of_tables(source: str | Path | None) -> Path | None:
    """Returns the directory below a source that holds the unpacked files."""
    folders = [Path(source), Path(source, "ml-1m")] if source else []
    return next((f for f in folders if Path(f, _TABLES[0]).is_file()), None)


def _parse(folder: Path, official: bool) -> _Tables:
    report = RowReport("ratings.dat")
    columns = {name: pa.int64() for name in ("user", "movie")}
    columns |= {"rating": pa.float32(), "seconds": pa.int64()}
    text = pa.py_buffer(Path(folder, "ratings.dat").read_bytes().replace(b"::", b"\t"))
    ratings = read_whole(text, columns, "\t", report)
    movies = catalogue_rows(
        [(i, title, genres.split("|")) for i, title, genres in _rows(folder, "movies.dat", 3)]
    )
    people = _rows(folder, "users.dat", 5)
    users = pa.table(
        {
            "user_id": [user for user, *_ in people],
            "attributes": [
                [f"gender={gender}", f"age={_AGES.get(age, age)}", f"occupation={_job(job)}"]
                for _, gender, age, job, _ in people
            ],
        }
    )
    return _Tables(ratings, movies, users, report, official)


def catalogue_rows(movies: list[tuple[str, str, list[str]]]) -> pa.Table:
    """Returns catalogue rows for movies given as (id, title with year, genres)."""
    titles = pa.array([title for _, title, _ in movies], pa.string())
    years = pc.struct_field(pc.extract_regex(titles, r"\((?P<year>[0-9]{4})\)$"), indices=[0])
    return pa.table(
        {
            "entity_type": constant(MOVIE, len(movies)),
            "entity_id": [movie for movie, _, _ in movies],
            "title": titles,
            "categories": [[genre for genre in genres if genre] for _, _, genres in movies],
            "attributes": [
                [f"year={year}", f"decade={year[:3]}0"] if year else []
                for year in years.to_pylist()
            ],
        }
    )


def _rows(folder: Path, name: str, width: int) -> list[list[str]]:
    """Reads one of the two small files, a few thousand rows."""
    path = Path(folder, name)
    if not path.is_file():
        raise FileNotFoundError(f"`{path}` is missing beside the others of {_TABLES}.")
    data = path.read_bytes()
    try:
        text = data.decode("utf-8")  # copies that somebody converted
    except UnicodeDecodeError:
        text = data.decode("latin-1")  # GroupLens's own
    rows = [line.split("::") for line in text.splitlines() if line]
    bad = [row for row in rows if len(row) != width]
    if bad or not rows:
        raise ValueError(
            f"`{name}` must have {width} fields a row between `::`; {len(bad)} of {len(rows)} rows "
            f"have not, e.g. {bad[:1]}. Is it MovieLens-1M's?"
        )
    return rows


def _job(code: str) -> str:
    return _OCCUPATIONS[int(code)] if code.isdigit() and int(code) < len(_OCCUPATIONS) else code


def _with_posters(movies: pa.Table, archive: Path) -> pa.Table:
    """Adds images to catalogue rows from an archive of `<MovieID>.jpg`."""
    with tempfile.TemporaryDirectory() as work:
        folder = extract(archive, Path(work, "posters"), max_member_bytes=1 << 20)
        files = {path.stem: path for path in folder.rglob("*.jpg")}
        images = [
            files[movie].read_bytes() if movie in files else None
            for movie in movies.column("entity_id").to_pylist()
        ]
    return movies.append_column("image", pa.array(images, pa.binary()))
