"""MovieLens-100K: 100,000 ratings of 1,682 movies by 943 users, with true times.

F. Maxwell Harper and Joseph A. Konstan. 2015. The MovieLens Datasets: History
and Context. ACM TiiS 5, 4, Article 19. Its licence forbids redistribution, so
it is read where it lies or fetched from GroupLens.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from tfx_pipeline.datasets.archives import extract
from tfx_pipeline.datasets.delimited import RowReport
from tfx_pipeline.datasets.delimited import read_whole
from tfx_pipeline.datasets.download import SourceFile
from tfx_pipeline.datasets.download import find
from tfx_pipeline.datasets.download import obtain
from tfx_pipeline.datasets.event_log_writer import write_event_log
from tfx_pipeline.datasets.manifest import Manifest
from tfx_pipeline.datasets.movielens import RATE
from tfx_pipeline.datasets.movielens_files import MOVIE
from tfx_pipeline.datasets.movielens_files import catalogue_rows
from tfx_pipeline.datasets.sequences import SECOND
from tfx_pipeline.datasets.sequences import constant
from transforms.arrow import pa
from transforms.arrow import pc

# GroupLens publishes the MD5 0e33842e24a9c977be4e0107933c0723 for this file.
ARCHIVE = SourceFile(
    name="movielens-100k/ml-100k.zip",
    homepage="https://grouplens.org/datasets/movielens/100k/",
    url="https://files.grouplens.org/datasets/movielens/ml-100k.zip",
    sha256="50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
    max_bytes=16 << 20,
)
_NAMES = ("u.data", "u.item", "u.user", "u.genre")
_RATING = {
    "user": pa.string(),
    "movie": pa.string(),
    "rating": pa.float32(),
    "seconds": pa.int64(),
}
_FIRST_GENRE = 5  # columns of u.item before the genres' flags


def prepare_movielens_100k(
    out: str | Path, source: str | Path | None = None, overwrite: bool = False
) -> Manifest:
    """Turns MovieLens-100K into an event log; its times are real.

    Args:
        out: Directory of the event log to make.
        source: `ml-100k.zip`, or a directory with its files, which may be
            gzipped. By default it is looked up and, at last, downloaded.
        overwrite: Whether an event log at `out` may be replaced.

    Returns:
        The manifest as written.

    Raises:
        FileExistsError: If `out` may not be replaced.
        FileNotFoundError: If a file is not at hand and cannot be fetched.
        ValueError: If a file is not what it should be.
    """
    with tempfile.TemporaryDirectory() as work:
        files = _files(source, Path(work, "unpacked"))
        report = RowReport("u.data")
        ratings = read_whole(files["u.data"], _RATING, "\t", report)
        movies, users = _movies(files["u.item"], files["u.genre"]), _users(files["u.user"])
    n = ratings.num_rows
    events = pa.table(
        {
            "user_id": ratings.column("user"),
            "entity_type": constant(MOVIE, n),
            "entity_id": ratings.column("movie"),
            "event": constant(RATE, n),
            "timestamp": pc.multiply(ratings.column("seconds"), SECOND),
            "ordinal": pa.array(np.arange(n)),
            "value": ratings.column("rating"),
        }
    )
    manifest = Manifest(
        name="movielens-100k",
        source=ARCHIVE.homepage,
        tie_order="row of u.data",
        notes=report.notes(),
    )
    return write_event_log(out, manifest, events, movies, users, overwrite)


def _files(source: str | Path | None, work: Path) -> dict[str, Path]:
    """Returns the four files, plain or gzipped, or unpacked from the archive."""
    found: dict[str, Path] = {}
    for name in _NAMES:
        for form in (name, f"{name}.gz"):
            path = find(SourceFile(f"movielens-100k/{form}", ARCHIVE.homepage), source)
            if path is not None:
                found.setdefault(name, path)
    if len(found) == len(_NAMES):
        return found
    archive = Path(source) if source and Path(source).is_file() else obtain(ARCHIVE, source)
    folder = extract(archive, work, [f"ml-100k/{name}" for name in _NAMES])
    return {name: folder / "ml-100k" / name for name in _NAMES}


def _rows(path: Path, width: int) -> list[list[str]]:
    """Reads a small file of fields between `|`, in latin-1."""
    with pa.input_stream(str(path), compression="detect") as stream:
        rows = [line.split("|") for line in stream.read().decode("latin-1").splitlines() if line]
    bad = [row for row in rows if len(row) != width]
    if bad or not rows:
        raise ValueError(
            f"`{path.name}` must have {width} fields a row between `|`; {len(bad)} of {len(rows)} "
            f"rows have not, e.g. {bad[:1]}. Is it MovieLens-100K's?"
        )
    return rows


def _movies(items: Path, genres: Path) -> pa.Table:
    names = [name for name, _ in _rows(genres, 2)]
    rows = _rows(items, _FIRST_GENRE + len(names))
    return catalogue_rows(
        [
            (
                row[0],
                row[1],
                [n for n, flag in zip(names, row[_FIRST_GENRE:], strict=True) if flag == "1"],
            )
            for row in rows
        ]
    )


def _users(path: Path) -> pa.Table:
    rows = _rows(path, 5)
    attributes = [
        [f"gender={gender}", f"age={int(age) // 10 * 10}s", f"occupation={job}"]
        for _, age, gender, job, _ in rows
    ]
    return pa.table({"user_id": [row[0] for row in rows], "attributes": attributes})
