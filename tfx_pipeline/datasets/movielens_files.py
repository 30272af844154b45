"""The files of MovieLens-1M: found, unpacked and read."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from tfx_pipeline.datasets.archives import extract
from tfx_pipeline.datasets.delimited import RowReport
from tfx_pipeline.datasets.delimited import read_whole
from tfx_pipeline.datasets.download import SourceFile
from tfx_pipeline.datasets.download import obtain
from tfx_pipeline.datasets.download import sha256_of
from tfx_pipeline.datasets.sequences import constant
from transforms.arrow import pa
from transforms.arrow import pc

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
class Tables:
    """Contents of the three files.

    Attributes:
        ratings: Columns `user`, `movie` (int64), `rating` (float32) and `seconds` (int64).
        movies: Rows of the catalogue.
        users: Rows of the users table.
        report: Rows of `ratings.dat` that were left out.
        official: Whether they come from GroupLens's own archive, byte for byte.
    """

    ratings: pa.Table
    movies: pa.Table
    users: pa.Table
    report: RowReport
    official: bool


def read_tables(source: str | Path | None) -> Tables:
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


def _parse(folder: Path, official: bool) -> Tables:
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
    return Tables(ratings, movies, users, report, official)


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
