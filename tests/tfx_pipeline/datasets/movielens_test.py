"""MovieLens-1M: a hand-made one whose answers are known, and the real one's counts."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tfx_pipeline.datasets.event_log import EventLog
from tfx_pipeline.datasets.movielens import k_core_sequences
from tfx_pipeline.datasets.movielens import prepare_movielens_1m
from tfx_pipeline.datasets.validate import validate_event_log

# Five users rate movies 1 to 5; movie 6 has one rating only. Times go backwards by movie, and
# movies 4 and 5 are rated in the same second.
RATINGS = [
    (user, movie, 1 + (user + movie) % 5, 978_300_000 - min(movie, 4))
    for user in range(1, 6)
    for movie in range(1, 6)
] + [(1, 6, 5, 978_300_009)]
MOVIES = "\n".join(
    [f"{movie}::Movie {movie} (199{movie})::Drama|War" for movie in range(1, 6)]
    + ["6::Caf\xe9::Comedy", "7::Never rated (2000)::Horror"]
)
USERS = "\n".join(f"{user}::F::{[1, 18][user % 2]}::{user}::00000" for user in range(1, 6))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data home with a small ml-1m.zip."""
    folder = tmp_path / "home" / "movielens-1m"
    folder.mkdir(parents=True)
    monkeypatch.setenv("VITRINE_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("VITRINE_CACHE", str(tmp_path / "cache"))
    ratings = "\n".join("::".join(map(str, row)) for row in RATINGS)
    write_zip(folder, ratings)
    return folder


def write_zip(folder: Path, ratings: str, movies: str = MOVIES) -> None:
    with zipfile.ZipFile(folder / "ml-1m.zip", "w") as box:
        box.writestr("ml-1m/ratings.dat", ratings + "\n")
        box.writestr("ml-1m/movies.dat", movies.encode("latin-1"))
        box.writestr("ml-1m/users.dat", USERS)
        box.writestr("ml-1m/README", "about")


def write_sequences(folder: Path, text: str) -> None:
    (folder / "sequences.txt.gz").write_bytes(gzip.compress(text.encode()))


def test_papers_protocol_follows_the_file_of_sequences(home: Path, tmp_path: Path) -> None:
    write_sequences(home, "1 3 1 2\n2 5 4\n")
    manifest = prepare_movielens_1m(tmp_path / "log")
    assert (manifest.time, manifest.tie_order) == ("ordinal", "sequences.txt.gz")
    assert (manifest.events, manifest.users, manifest.entities) == (5, 2, {"movie": 5})
    log = EventLog(tmp_path / "log")
    events = log.read("events").to_pydict()
    assert events["entity_id"] == ["3", "1", "2", "5", "4"]
    assert events["user_id"] == ["1", "1", "1", "2", "2"]
    assert events["timestamp"] == [0, 1_000_000, 2_000_000, 0, 1_000_000]
    assert events["ordinal"] == [0, 1, 2, 3, 4]
    assert events["value"] == [5.0, 3.0, 4.0, 3.0, 2.0]  # 1 + (user + movie) % 5
    assert set(events["event"]) == {"rate"} and set(events["entity_type"]) == {"movie"}
    assert [p.kind for p in validate_event_log(tmp_path / "log")] == []


def test_papers_protocol_from_the_archive_alone(home: Path, tmp_path: Path) -> None:
    manifest = prepare_movielens_1m(tmp_path / "log")
    assert manifest.tie_order == "row of ratings.dat"
    assert (manifest.events, manifest.users, manifest.entities) == (25, 5, {"movie": 5})
    log = EventLog(tmp_path / "log")
    assert log.read("events").column("entity_id").to_pylist() == ["4", "5", "3", "2", "1"] * 5
    movies = log.read("catalogue").to_pylist()
    assert [movie["title"] for movie in movies][:2] == ["Movie 1 (1991)", "Movie 2 (1992)"]
    assert movies[0]["categories"] == ["Drama", "War"]
    assert movies[0]["attributes"] == ["year=1991", "decade=1990"]
    users = log.read("users").to_pylist()
    assert users[0] == {
        "user_id": "1",
        "attributes": ["gender=F", "age=18-24", "occupation=academic/educator"],
    }


def test_a_rating_that_is_not_known_is_null(home: Path, tmp_path: Path) -> None:
    write_sequences(home, "1 7 1\n")
    prepare_movielens_1m(tmp_path / "log")
    assert EventLog(tmp_path / "log").read("events").column("value").to_pylist() == [None, 3.0]


def test_official_protocol_keeps_every_row_and_calls_strange_times_an_order(
    home: Path, tmp_path: Path
) -> None:
    manifest = prepare_movielens_1m(tmp_path / "log", protocol="official")
    assert (manifest.events, manifest.entities) == (26, {"movie": 7})
    assert manifest.time == "ordinal"  # not the archive that GroupLens publishes
    assert "not GroupLens's own archive" in manifest.notes["time"]
    log = EventLog(tmp_path / "log")
    events = log.read("events").to_pydict()
    assert list(zip(events["user_id"], events["entity_id"], strict=True)) == [
        (str(user), str(movie)) for user, movie, _, _ in RATINGS
    ]
    assert events["timestamp"] == [seconds * 1_000_000 for _, _, _, seconds in RATINGS]
    assert events["value"] == [float(rating) for _, _, rating, _ in RATINGS]
    titles = log.read("catalogue").column("title").to_pylist()
    assert titles[5:] == ["Caf\xe9", "Never rated (2000)"]


def test_a_source_may_be_the_archive_its_folder_or_the_unpacked_files(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VITRINE_DATA_HOME")
    renamed = tmp_path / "mine.zip"
    renamed.write_bytes((home / "ml-1m.zip").read_bytes())
    with zipfile.ZipFile(renamed) as box:
        box.extractall(tmp_path / "unpacked")
    counts = [
        prepare_movielens_1m(tmp_path / "log", source, overwrite=True).events
        for source in (renamed, home, home.parent, tmp_path / "unpacked",
                       tmp_path / "unpacked" / "ml-1m")
    ]  # fmt: skip
    assert counts == [25] * 5
    with pytest.raises(FileNotFoundError, match="has no `ml-1m.zip`"):
        prepare_movielens_1m(tmp_path / "other", tmp_path / "nowhere")
    assert not (tmp_path / "other").exists()


def test_posters_become_images(home: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="posters_64x96.tar"):
        prepare_movielens_1m(tmp_path / "log", posters=True)
    with tarfile.open(home / "posters_64x96.tar", "w") as box:
        info = tarfile.TarInfo("2.jpg")
        info.size = 4
        box.addfile(info, io.BytesIO(b"jpeg"))
    prepare_movielens_1m(tmp_path / "log", posters=True)
    images = EventLog(tmp_path / "log").read("catalogue").column("image").to_pylist()
    assert images == [None, b"jpeg", None, None, None]


@pytest.mark.parametrize(
    ("ratings", "movies", "message"),
    [
        ("1::1::5::978300000\n1::2::five::978300000", MOVIES, "1 of 2 rows cannot be read"),
        ("1,1,5,978300000", MOVIES, "1 of 1 rows cannot be read"),
        ("1::1::5::978300000", "1::Movie", "must have 3 fields a row"),
        ("1::1::5::978300000", "", "must have 3 fields a row"),
    ],
)
def test_files_of_another_kind_are_refused_and_leave_nothing(
    home: Path, tmp_path: Path, ratings: str, movies: str, message: str
) -> None:
    write_zip(home, ratings, movies)
    with pytest.raises(ValueError, match=message):
        prepare_movielens_1m(tmp_path / "log")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home"]


def test_a_few_broken_rows_are_counted_in_the_manifest(home: Path, tmp_path: Path) -> None:
    rows = [f"{user}::{movie}::3::978300000" for user in range(1, 21) for movie in range(1, 11)]
    write_zip(home, "\n".join([*rows, "1::cut"]))
    manifest = prepare_movielens_1m(tmp_path / "log", protocol="official")
    assert manifest.events == 200
    assert manifest.notes["rows_left_out"] == {"2 fields instead of 4": 1}
    assert manifest.notes["samples_left_out"] == ["1\tcut"]


def test_k_core_is_repeated_until_nothing_falls() -> None:
    # Dropping movie 3 leaves user 3 with one rating, and dropping that user leaves movie 2 alone.
    user, movie = [1, 1, 2, 2, 3, 3], [1, 4, 1, 4, 2, 3]
    ratings = pa.table({"user": user, "movie": movie, "seconds": [1, 0, 5, 5, 0, 0]})
    core = k_core_sequences(ratings, 2)
    assert core.users.to_pylist() == ["1", "2"]
    assert core.lengths.tolist() == [2, 2]
    assert core.items.to_pylist() == ["4", "1", "1", "4"]


def test_the_real_archive_gives_the_papers_counts(
    data_file: Callable[[str], Path], tmp_path: Path
) -> None:
    archive = data_file("movielens-1m/ml-1m.zip")
    sequences = data_file("movielens-1m/sequences.txt.gz")
    manifest = prepare_movielens_1m(tmp_path / "log", archive)
    assert (manifest.events, manifest.users) == (999_611, 6_040)
    assert manifest.entities == {"movie": 3_416}
    events = EventLog(tmp_path / "log").read("events", ["user_id", "entity_id", "value"])
    first = gzip.decompress(sequences.read_bytes()).decode().split("\n", 1)[0].split()
    assert events.slice(0, len(first) - 1).column("entity_id").to_pylist() == first[1:]
    assert events.column("value").null_count == 0
    # The same protocol from the archive alone: the same pairs, ties in another order.
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "ml-1m.zip").symlink_to(archive)
    prepare_movielens_1m(tmp_path / "derived", alone)
    derived = EventLog(tmp_path / "derived").read("events", ["user_id", "entity_id", "value"])
    assert sorted_keys(derived) == sorted_keys(events)


def sorted_keys(events: pa.Table) -> list[int]:
    user, movie = (events.column(i).cast(pa.int64()).to_numpy() for i in (0, 1))
    return np.sort(user * 10_000 + movie).tolist()
