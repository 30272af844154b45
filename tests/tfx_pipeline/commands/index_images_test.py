"""Features that `vitrine index update` makes of the images of new rows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from click.testing import CliRunner

from serving.index import files
from serving.index.config import ServeConfig
from serving.index.searching.assemble import write_servable
from serving.publishing.origin import write_origin
from serving.publishing.publish import publish
from tests.helpers.image_logs import DIM
from tests.helpers.image_logs import image_log
from tests.helpers.image_logs import png
from tests.helpers.image_logs import save
from tests.helpers.recorded_runs import Step
from tests.helpers.recorded_runs import record_run
from tests.helpers.servables import build_index
from tests.helpers.servables import write_vectors
from tests.helpers.towers import TinyTowers
from tfx_pipeline.cli import cli
from tfx_pipeline.commands.index_changes import read_upserts
from tfx_pipeline.commands.index_images import image_fields
from tfx_pipeline.commands.index_place import Place
from tfx_pipeline.commands.index_place import newest_version
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.image_features.encoder import CENTRES
from tfx_pipeline.image_features.loaded import LoadedEncoder
from tfx_pipeline.image_features.tables import make_tables
from tfx_pipeline.image_features.tables_config import TablesConfig
from transforms import features
from transforms.arrow import read_table
from transforms.catalogue_fields import CatalogueFields

FIELDS = CatalogueFields(vectors={"look": DIM}, tokens=("look_cluster",))
READ = ["vector/look", "token/look_cluster"]
VECTOR, TOKEN = "catalogue/vector/look", "catalogue/token/look_cluster"
USED, UNKNOWN = "the one that the run used", "which one the run used is not known here"
IDS = [f"item:{i}" for i in range(1_200)]
DIMENSION = 64


def config(log: SimpleNamespace, run_dir: Path, read: list[str], **representation: Any) -> str:
    """Returns the configuration that is pushed with a version whose towers read some features."""
    section = {"field": "look", "clusters": 3, "trainer": {"model": log.model}} | representation
    declared = {} if section.get("in_pipeline", True) else FIELDS.model_dump(mode="json")
    index = {"exact_below": 0, "min_recall": 0.9, "max_latency_ms": 1e9}
    values = {
        "name": "images",
        "log_dir": str(log.path / "log"),
        "run_dir": str(run_dir),
        "candidate_types": ["item"],
        "timeline": {"catalogue_fields": declared, "label": {"source": "events"}},
        "representation": section,
        "retrieval": {"trainer": {"model": {"candidate": {"features": read}}}, "index": index},
    }
    return PipelineConfig.model_validate(values).pushed_json("retrieval")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A run that made features and pushed version 1, and a later one with another encoder."""
    log = image_log(tmp_path_factory.mktemp("images"))
    run = log.path / "shop"
    run.mkdir()
    for fingerprint in (log.fingerprint, "another"):
        steps = [
            Step("image-feature-builder", outputs={"features": {"encoder": fingerprint}}),
            Step("pusher", outputs={"pushed_model": {}}),
        ]
        record_run(run, steps)
    artifacts = run / "artifacts/image-feature-builder/features"
    first, later = sorted(artifacts.iterdir(), key=lambda path: int(path.name))
    for folder in (first, later):
        shutil.copytree(log.folder, folder, dirs_exist_ok=True)
    types = TablesConfig.of(log.section, log.config.candidate_types)
    make_tables(str(log.path / "log"), first, first / "features", types, beam.Pipeline)
    names = sorted((run / "artifacts/pusher/pushed_model").iterdir(), key=lambda p: int(p.name))
    for candidate, pushed in zip(("first", "later"), names, strict=True):
        write_origin(pushed, candidate, "0@0")
    version = run / "pushed/retrieval/1"
    version.mkdir(parents=True)
    write_origin(version, "first", "0@0")
    (version / "config.json").write_text(config(log, run, READ))
    tables = {name: table(first / "features" / name) for name in FIELDS.names}
    log.vectors = tables["look"]["vector"]
    log.clusters = [[one.encode() for one in row] for row in tables["look_cluster"]["tokens"]]
    log.ids = tables["look"]["entity_id"]
    log.artifact, log.run, log.version = first, run, version
    log.place = Place(version / "index", version, run)
    return log


def table(folder: Path) -> dict[str, list[Any]]:
    (path,) = folder.glob("*.parquet")
    found: dict[str, list[Any]] = read_table(path).to_pydict()
    return found


def write(path: Path, images: list[bytes | None], **columns: Any) -> Path:
    size = len(images)
    names = {"entity_type": ["item"] * size, "entity_id": [f"n{i}" for i in range(size)]}
    pq.write_table(pa.table(names | {"image": pa.array(images, pa.binary())} | columns), path)
    return path


def read(path: Path, place: Place, encoder: Path | None = None, keep: bool = False) -> Any:
    """Returns what the tower sees of each row, what is refused, and what is said."""
    seen: list[bytes] = []

    def embed(examples: list[bytes]) -> np.ndarray:
        seen.extend(examples)
        return np.zeros([len(examples), 3], np.float32)

    made = image_fields(place, encoder, keep)
    assert made is not None
    _, bad = read_upserts([path], embed, keep, FIELDS, made.fill)
    rows = {row["catalogue/entity"][0].decode(): row for row in map(parsed, seen)}
    return rows, bad["reason"].to_pylist(), made.lines()


def parsed(serialised: bytes) -> dict[str, list[Any]]:
    """Returns the values of an example; unlike `logs.decode` it takes images, too."""
    found = tf.train.Example.FromString(serialised).features.feature
    return {name: list(getattr(one, one.WhichOneof("kind")).value) for name, one in found.items()}


def told(made: SimpleNamespace, number: int, compared: str = USED) -> str:
    """Returns what is said of images that were embedded."""
    return f"images  {number} embedded by the encoder {made.fingerprint} ({compared})"


def broken_run(made: SimpleNamespace, path: Path, gone: str) -> Place:
    """Returns the version of a copy of the run in which something is gone."""
    shutil.copytree(made.run, path / "shop")
    target = path / "shop" / gone
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    version = path / "shop/pushed/retrieval/1"
    return Place(version / "index", version, path / "shop")


def test_images_get_what_the_run_made_of_the_same_images(made, tmp_path):
    images = [made.images[name] for name in made.ids]
    path = write(tmp_path / "new.parquet", images)
    rows, bad, lines = read(path, made.place)
    assert not bad and lines == [told(made, len(images))]
    for number, (vector, cluster) in enumerate(zip(made.vectors, made.clusters, strict=True)):
        row = rows[f"item:n{number}"]
        np.testing.assert_allclose(row[VECTOR], vector, atol=1e-5)
        assert row[TOKEN] == cluster and "catalogue/image" not in row
    assert len({tuple(cluster) for cluster in made.clusters}) > 1  # or equal ones would say little


def test_a_row_keeps_what_it_brings_and_a_broken_image_gives_nothing(made, tmp_path):
    image, vector, cluster = made.images[made.ids[0]], made.vectors[0], made.clusters[0]
    images = [image, b"no image", None, image, image, None]
    own = [None, None, None, [1.0, 2.0, 3.0, 4.0], None, [4.0, 3.0, 2.0, 1.0]]
    tokens = [None, None, None, None, ["mine"], ["c9"]]
    brought = {"vector/look": own, "token/look_cluster": tokens}
    path = write(tmp_path / "new.parquet", images, **brought)
    rows, bad, lines = read(path, made.place)
    assert not bad
    assert lines == [f"{told(made, 2)}, 1 broken or too large, not embedded: item:n1"]
    found = [(rows[f"item:n{i}"].get(VECTOR), rows[f"item:n{i}"].get(TOKEN)) for i in range(6)]
    np.testing.assert_allclose([found[0][0], found[4][0]], [vector, vector], atol=1e-5)
    assert (found[0][1], found[4][1]) == (cluster, [b"mine"])
    assert found[1] == found[2] == (None, None)
    assert found[3] == ([1.0, 2.0, 3.0, 4.0], None) and found[5] == ([4.0, 3.0, 2.0, 1.0], [b"c9"])


def test_towers_that_read_images_refuse_broken_ones_as_ever(made, tmp_path):
    image = made.images[made.ids[0]]
    rows, bad, lines = read(write(tmp_path / "a.parquet", [image, b"x"]), made.place, keep=True)
    assert bad == ["image is not a whole JPEG or PNG file"] and "1 broken" in lines[0]
    assert list(rows) == ["item:n0"] and "catalogue/image" in rows["item:n0"]
    np.testing.assert_allclose(rows["item:n0"][VECTOR], made.vectors[0], atol=1e-5)


@pytest.mark.parametrize(
    ("gone", "message", "compared"),
    [
        ("artifacts/image-feature-builder", "features/1` is not there. .*`--encoder`", USED),
        ("metadata.sqlite", "is not known here. Name .*`--encoder`.*`--run`", UNKNOWN),
        ("artifacts/pusher", "run that pushed it is not known here", UNKNOWN),
    ],
)
def test_without_the_run_an_encoder_has_to_be_named(made, tmp_path, gone, message, compared):
    place = broken_run(made, tmp_path, gone)
    path = write(tmp_path / "new.parquet", [made.images[made.ids[0]]])
    with pytest.raises(ValueError, match=message):
        read(path, place)
    rows, _, lines = read(path, place, encoder=made.artifact)
    np.testing.assert_allclose(rows["item:n0"][VECTOR], made.vectors[0], atol=1e-5)
    assert lines == [told(made, 1, compared)]


def test_rows_without_images_need_no_encoder(made, tmp_path):
    place = broken_run(made, tmp_path, "metadata.sqlite")
    rows, _, lines = read(write(tmp_path / "a.parquet", [None, b"broken"]), place)
    assert len(rows) == 2 and lines == ["images  1 broken or too large, not embedded: item:n1"]
    assert not any(VECTOR in row for row in rows.values())
    assert read(write(tmp_path / "b.parquet", [None]), place)[2] == []


def test_of_many_broken_images_the_first_are_named(made, tmp_path):
    (line,) = read(write(tmp_path / "a.parquet", [b"broken"] * 7), made.place)[2]
    assert line.endswith(
        "7 broken or too large, not embedded: "
        "item:n0, item:n1, item:n2, item:n3, item:n4 and 2 more"
    )


def test_candidates_that_come_embedded_are_not_looked_at(made, tmp_path):
    path = write(tmp_path / "a.parquet", [png([1, 2, 3])], vector=[[1.0, 2.0, 3.0]])
    rows, bad, lines = read(path, broken_run(made, tmp_path, "metadata.sqlite"))
    assert not rows and not bad and not lines


def test_another_encoder_is_refused(made, tmp_path):
    path = write(tmp_path / "new.parquet", [made.images[made.ids[0]]])
    other = tmp_path / "other"
    fingerprint = save(other, made.trainer)
    assert fingerprint != made.fingerprint
    with pytest.raises(ValueError, match=r"has no clusters: expected `centres.npy`"):
        read(path, made.place, encoder=other)
    shutil.copy(made.artifact / CENTRES, other / CENTRES)
    wrong = rf"\({fingerprint}\) or its clusters are not those .* with \({made.fingerprint}\)"
    with pytest.raises(ValueError, match=wrong):
        read(path, made.place, encoder=other)
    shutil.copytree(made.artifact, moved := tmp_path / "moved")
    np.save(moved / CENTRES, np.load(moved / CENTRES)[::-1])  # the same encoder, other clusters
    with pytest.raises(ValueError, match="or its clusters are not those"):
        read(path, made.place, encoder=moved)
    with pytest.raises(ValueError, match="There is no encoder in"):
        read(path, made.place, encoder=tmp_path)
    with pytest.raises(ValueError, match=f"vectors of {DIM} numbers, and .*dim` is {DIM + 1}"):
        LoadedEncoder(made.artifact, DIM + 1)


def test_towers_that_read_no_feature_of_images_ask_for_none(made, tmp_path):
    version = tmp_path / "1"
    version.mkdir()
    place = Place(version / "index", version, made.run)
    for features_read, section in ((["title"], {}), (READ, {"in_pipeline": False})):
        text = config(made, made.run, features_read, **section)
        (version / "config.json").write_text(text)
        assert image_fields(place, None, keep=False) is None
        with pytest.raises(ValueError, match="`--encoder` has no use"):
            image_fields(place, made.artifact, keep=False)
    (version / "config.json").write_text(config(made, made.run, READ[1:]))
    assert image_fields(place, None, keep=False) is not None


class LookTowers(TinyTowers):
    """A candidate with a look has this for a vector, and any other one a vector by its id."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")], autograph=False)
    def embed_candidate(self, examples):
        spec = {
            features.CATALOGUE_ENTITY: tf.io.FixedLenFeature([], tf.string),
            VECTOR: tf.io.FixedLenFeature([DIM], tf.float32, [0.0] * DIM),
        }
        parsed = tf.io.parse_example(examples, spec)
        look = tf.pad(parsed[VECTOR], [[0, 0], [0, DIMENSION - DIM]])
        known = tf.reduce_any(look != 0.0, axis=1, keepdims=True)
        return {"embedding": tf.where(known, look, self.vectors(parsed["catalogue/entity"]))}


@pytest.mark.slow
def test_an_update_puts_new_images_into_the_index(made, tmp_path):
    """The whole command, over a real index."""
    towers = LookTowers(dim=DIMENSION)
    names = ("serving_default", "embed_query", "embed_candidate")
    signatures = {name: getattr(towers, name) for name in names}
    tf.saved_model.save(towers, str(tmp_path / "towers"), signatures=signatures)
    write_vectors(tmp_path / "index", IDS, towers.vectors(tf.constant(IDS)).numpy())
    build_index(tmp_path / "index", towers_dir=tmp_path / "towers")
    place = (tmp_path / name for name in ("towers", "index", "servable"))
    write_servable(*place, ServeConfig(k=20, exact_below=0))
    run = tmp_path / "shop"
    shutil.copytree(made.run, run, ignore=shutil.ignore_patterns("pushed"))
    (run / "config.yaml").write_text(f"name: images\nlog_dir: data\nrun_dir: {run}\n")

    def complete(version: Path) -> None:
        shutil.copy(made.version / "config.json", version)
        shutil.copy(made.version / "origin.json", version)

    publish(run / "pushed/retrieval", tmp_path / "servable", complete)
    new = write(tmp_path / "new.parquet", [made.images[made.ids[0]], b"no image"])
    letters = tmp_path / "letters.csv"
    arguments = ["--run", run, "--upsert", new, "--dead-letters", letters]
    done = CliRunner().invoke(cli, ["index", "update", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    assert (
        f"{told(made, 1)}, 1 broken or too large" in done.output
        and "2 candidates put in" in done.output
        and not letters.exists()
    )
    version = newest_version(run / "pushed/retrieval").version
    index = files.open_index(version / "index")
    assert index.candidates["id"].to_pylist()[len(IDS) :] == ["item:n0", "item:n1"]
    expected = np.zeros(DIMENSION)
    expected[:DIM] = made.vectors[0]
    np.testing.assert_allclose(index.vectors[len(IDS)], expected, atol=1e-5)
    without = towers.vectors(tf.constant(["item:n1"])).numpy()[0]
    np.testing.assert_allclose(index.vectors[len(IDS) + 1], without, atol=1e-5)
    assert json.loads((version / "update.json").read_text())["upserted"] == 2
