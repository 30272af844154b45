"""`vitrine index` over a pushed version of tiny towers with a real ScaNN index."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from click.testing import CliRunner

from serving.index import files
from serving.index.config import ServeConfig
from serving.index.searching.assemble import write_servable
from serving.publishing.label_moves import introduce
from serving.publishing.label_moves import promote
from serving.publishing.label_moves import rollback
from serving.publishing.labels import read_labels
from serving.publishing.origin import ORIGIN
from serving.publishing.origin import write_origin
from serving.publishing.publish import publish
from serving.publishing.versions import pushed_versions
from tests.helpers.examples import timeline
from tests.helpers.examples import write_examples
from tests.helpers.servables import build_index
from tests.helpers.servables import write_vectors
from tests.serving.index.updating.update_test import save_unit_towers
from tfx_pipeline.cli import cli
from tfx_pipeline.commands import index_update
from tfx_pipeline.commands.index_place import newest_version

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
IDS = [f"movie:{i}" for i in range(1_200)]
KILLED = """
import os, sys
from tfx_pipeline.cli import cli
from serving.publishing import publish

publish._flush = lambda directory: os.kill(os.getpid(), 9)  # the copy is written, not renamed
cli(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A run with one pushed version over a tree, in the portable backend, and test timelines."""
    path = tmp_path_factory.mktemp("run")
    towers = save_unit_towers(path / "towers")
    write_vectors(path / "index", IDS, towers.vectors(tf.constant(IDS)).numpy())
    build_index(path / "index", towers_dir=path / "towers")
    config = ServeConfig(k=20, exact_below=0)
    write_servable(path / "towers", path / "index", path / "servable", config)
    run = path / "run"
    section = {"exact_below": 0, "min_recall": 0.9, "max_latency_ms": 1e9}

    def complete(version: Path) -> None:
        (version / "config.json").write_text(
            json.dumps({"name": "tiny", "retrieval": {"index": section}})
        )
        write_origin(version, "candidate", "0@0")

    publish(run / "pushed/retrieval", path / "servable", complete)
    (run / "config.yaml").write_text(f"name: tiny\nlog_dir: data\nrun_dir: {run}\n")
    examples = run / "artifacts/timeline-example-gen/examples/3"
    rows = [timeline(f"u{i}", [IDS[i], IDS[i + 1]]) for i in range(64)]
    write_examples(examples, {"test": rows})
    return run


@pytest.fixture
def run(made, tmp_path) -> Path:
    """A copy of the run that a test may change."""
    target = tmp_path / "run"
    shutil.copytree(made, target)
    (target / "config.yaml").write_text(f"name: tiny\nlog_dir: data\nrun_dir: {target}\n")
    return target


def vitrine(*arguments: object) -> tuple[int, str]:
    """Runs `vitrine index` and returns its exit code and what it printed."""
    result = CliRunner().invoke(cli, ["index", *map(str, arguments)], standalone_mode=False)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def parquet(path: Path, **columns: list) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def rows(path: Path, names: list[str], **more: list) -> Path:
    types, ids = ["movie"] * len(names), names
    return parquet(path, entity_type=types, entity_id=ids, **more)


def ask(version: Path, *histories: list[str]) -> np.ndarray:
    model = tf.saved_model.load(str(version))
    examples = tf.constant([timeline("u", history) for history in histories])
    return model.signatures["serving_default"](examples=examples)["classes"].numpy().astype(str)


def state(run: Path) -> dict[str, str]:
    """What a push directory holds, beside its lock."""
    found = [path for path in (run / "pushed/retrieval").iterdir() if path.name != ".lock"]
    return {path.name: files.directory_fingerprint(path) for path in found}


def test_an_update_is_pushed_and_inspected(run, tmp_path):
    upserts = rows(
        tmp_path / "new.parquet",
        ["n1", "n2", "n3", "n1", "", "n4", "7"],
        title=["One", None, "Three", "Again", "None", "Four", "Seven"],
        available_from=[None, None, 5_000, None, None, None, None],
        price=[1.0, 2.0, 3.0, 1.0, 1.0, -1.0, 1.0],
    )
    (tmp_path / "gone.txt").write_text("movie:3\n\nmovie:4\nmovie:nobody\nmovie:7\n")
    letters = tmp_path / "letters.csv"
    arguments = ["--run", run, "--upsert", upserts, "--delete", tmp_path / "gone.txt"]
    code, printed = vitrine("update", *arguments, "--dead-letters", letters)
    assert code == 0
    assert "3 candidates put in, 2 taken out, 1,201 now" in printed
    assert "on 64 test timelines" in printed
    assert pushed_versions(run / "pushed/retrieval") == [1, 2]
    with letters.open() as stream:
        found = [(r["change"], r["row"], r["id"], r["reason"]) for r in csv.DictReader(stream)]
    assert found == [
        ("upsert", "3", "movie:n1", "entity has a row already"),
        ("upsert", "4", "movie:", "entity_id is missing"),
        ("upsert", "5", "movie:n4", "price is negative or not finite"),
        ("upsert", "6", "movie:7", "is to be put in and to be taken out"),
        ("delete", "3", "movie:nobody", "is not in the index, whose ids are `type:id`"),
        ("delete", "4", "movie:7", "is to be put in and to be taken out"),
    ]
    version = run / "pushed/retrieval/2"
    answers = ask(version, ["movie:n1"], ["movie:n2"], ["movie:3"], ["movie:4"])
    assert answers[0, 0] == "movie:n1" and answers[1, 0] == "movie:n2"
    assert not {"movie:3", "movie:4"} & set(answers.ravel())
    index = files.open_index(version / "index")
    added = {row["id"]: row for row in index.candidates.to_pylist()}
    assert added["movie:n3"] == {
        "id": "movie:n3", "entity_type": "movie", "title": "Three", "available_from": 5_000
    }  # fmt: skip
    assert added["movie:n2"]["title"] is None
    towers = tf.saved_model.load(str(version)).towers
    assert "embed_query" in towers.signatures
    assert (version / ORIGIN).read_bytes() == (run / "pushed/retrieval/1" / ORIGIN).read_bytes()
    assert json.loads((version / "update.json").read_text())["version"] == 1
    assert read_labels(run / "pushed/retrieval").versions["canary"] == 2

    code, printed = vitrine("inspect", "--run", run, "--json", "--measure", "--queries", 32)
    report = json.loads(printed)
    assert report["path"] == str(version)
    assert report["candidates"] == 1_201 and report["answers"] == "portable"
    assert report["updated"]["upserted"] == 3 and report["updated"]["deleted"] == 2
    assert report["leaves"]["mean"] * report["leaves"]["count"] == pytest.approx(1_201)
    assert report["measured"]["queries"] == 32
    assert report["measured"]["asked"] == "test timelines"
    assert report["measured"]["answer"]["recall"] > 0.9


def test_vectors_may_come_ready(run, tmp_path):
    wanted = np.eye(3, 64, dtype=np.float32) * 50
    wanted[1, 3] = np.nan
    given = rows(tmp_path / "v.parquet", ["a", "b", "c"], vector=wanted.tolist())
    code, printed = vitrine(
        "update", "--base-path", run / "pushed/retrieval", "--upsert", given, "--dead-letters",
        tmp_path / "l.csv",
    )  # fmt: skip
    assert code == 0 and "1 x has a vector that is not finite" in printed
    index = files.open_index(run / "pushed/retrieval/2/index")
    assert index.candidates["id"].to_pylist()[1_200:] == ["movie:a", "movie:c"]
    np.testing.assert_array_equal(index.vectors[1_200:], wanted[[0, 2]])


def test_below_the_floor_everything_stays_as_it_was(run, tmp_path):
    config = run / "pushed/retrieval/1/config.json"
    content = json.loads(config.read_text())
    content["retrieval"]["index"]["max_latency_ms"] = 1e-6
    config.write_text(json.dumps(content))
    before = state(run)
    upserts = rows(tmp_path / "new.parquet", ["n1"])
    code, printed = vitrine("update", "--run", run, "--upsert", upserts)
    assert code == 3
    assert "REFUSED, nothing was pushed: the 99th percentile latency of ScaNN" in printed
    assert state(run) == before


def test_an_interrupted_update_leaves_no_half_version(run, tmp_path):
    before = state(run)
    upserts = rows(tmp_path / "new.parquet", ["n1"])
    arguments = ["index", "update", "--run", str(run), "--upsert", str(upserts)]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    assert pushed_versions(run / "pushed/retrieval") == [1]
    left = state(run)
    assert len(left) == 2 and left["1"] == before["1"]  # the other has a name that is no version


def test_a_version_that_came_in_between_is_not_pushed_over(run):
    shutil.copytree(run / "pushed/retrieval/1", run / "pushed/retrieval/2")
    introduce(run / "pushed/retrieval", 2, "shop", str(run / "pushed/retrieval"))
    before = state(run)
    with pytest.raises(RuntimeError, match="Version 2 took its place while version 1 was being"):
        index_update._push(run / "pushed/retrieval/1", run / "pushed/retrieval/2", None, {})
    assert state(run) == before
    with pytest.raises(ValueError, match="not the newest version there .*, which is 2"):
        vitrine("update", "--base-path", run / "pushed/retrieval/1", "--delete", run / "none.txt")


def test_what_was_rolled_back_is_no_start(run):
    push_dir = run / "pushed/retrieval"
    introduce(push_dir, 1, "shop", str(push_dir))
    shutil.copytree(push_dir / "1", push_dir / "2")
    introduce(push_dir, 2, "shop", str(push_dir))
    assert newest_version(push_dir).version == push_dir / "2"
    promote(push_dir)
    rollback(push_dir)
    assert newest_version(push_dir).version == push_dir / "1"
    promote(push_dir, 2)  # all the same; the canary stays behind
    assert newest_version(push_dir).version == push_dir / "2"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"entity_type": ["a"], "entity_id": ["b"], "titel": ["x"]}, "nearest is `title`"),
        ({"entity_type": ["a"], "title": ["x"]}, r"catalogue\.entity_id: The column is missing"),
        ({"entity_type": ["a"], "entity_id": [3]}, r"catalogue\.entity_id: Found int64"),
        ({"entity_type": ["a"], "entity_id": ["b"], "vector": ["x"]}, "expected a list of float"),
        ({"entity_type": ["a"], "entity_id": [""]}, "nothing to change.*entity_id is missing"),
    ],
)
def test_upserts_that_cannot_be_read(made, tmp_path, columns, message):
    given = parquet(tmp_path / "bad.parquet", **columns)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        vitrine("update", "--run", made, "--upsert", given, "--dead-letters", tmp_path / "l.csv")
    assert pushed_versions(made / "pushed/retrieval") == [1]


def test_files_that_are_no_changes(made, tmp_path):
    (tmp_path / "text.parquet").write_text("no Parquet")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    parquet(tmp_path / "other.parquet", name=["movie:1"])
    parquet(tmp_path / "numbers.parquet", id=[1])
    for option, name, message in (
        ("--upsert", "text.parquet", "is no Parquet file"),
        ("--upsert", "absent.parquet", "There is no file"),
        ("--delete", "absent.txt", "There is no file"),
        ("--delete", "bytes.txt", "one `type:id` a line"),
        ("--delete", "other.parquet", "should have a column `id`"),
        ("--delete", "numbers.parquet", "as int64; expected string"),
    ):
        with pytest.raises(ValueError, match=message):
            vitrine("update", "--run", made, option, tmp_path / name)
    result = CliRunner().invoke(cli, ["index", "update", "--run", str(made)])
    assert result.exit_code == 2 and "--upsert or --delete" in result.output


def test_inspect_finds_the_index_in_many_places(made):
    version = made / "pushed/retrieval/1"
    places = [
        ("--base-path", path) for path in (made / "pushed/retrieval", version, version / "index")
    ]
    for place in [("--run", made), *places]:
        _, printed = vitrine("inspect", *place)
        assert f"index       {version}\n" in printed
        assert "candidates  1,200 x 64 (1,200 movie)" in printed
    _, printed = vitrine("inspect", "--base-path", made.parent / "index", "--json")
    report = json.loads(printed)
    assert report["answers"] is None and report["bytes"]["servable"] is None


def test_inspect_counts_every_byte_of_the_index_and_the_blocks(made):
    version = made / "pushed/retrieval/1"
    _, printed = vitrine("inspect", "--base-path", version, "--json")
    report = json.loads(printed)
    held = sum(file.stat().st_size for file in (version / "index").rglob("*") if file.is_file())
    sizes = report["bytes"]["index"]
    assert sum(sizes.values()) == held - (version / "index/index.json").stat().st_size
    assert sizes["re-ranking vectors"] == pytest.approx(1_200 * 64 * 4, rel=0.01)
    assert sizes["codes"] > 1_200 * 64 / 4  # 32 codes of 4 bits each, and the codebook
    assert report["bytes"]["servable"]["search blocks"] > 1_200 * 64 * 4
    assert report["leaves"]["count"] == report["build"]["leaves"] == 70


def test_inspect_prints_the_curve(made):
    _, printed = vitrine("inspect", "--run", made, "--curve")
    assert "was not tuned" in printed


def test_there_is_nothing_to_inspect(tmp_path):
    with pytest.raises(ValueError, match="holds no pushed version and no index.*--run"):
        vitrine("inspect", "--base-path", tmp_path)
    with pytest.raises(ValueError, match="is not the directory of a run"):
        vitrine("inspect", "--run", tmp_path)


@pytest.mark.parametrize(
    "command", [["index", "inspect"], ["index", "update"], ["push", "promote"], ["serve"]]
)
def test_every_command_says_in_one_way_which_versions_are_meant(command):
    printed = CliRunner().invoke(cli, [*command, "--help"]).output
    assert "--run PATH" in printed and "--base-path PATH" in printed
