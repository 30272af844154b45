from __future__ import annotations

import gc
import weakref

import apache_beam as beam
import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from apache_beam.utils.shared import Shared

from serving.index import files
from serving.index.config import BuildConfig
from serving.index.embedding import shards
from serving.index.embedding.embed import EmbedCatalogue
from serving.index.embedding.embed import embed_queries
from serving.index.embedding.embed import release_models
from serving.index.embedding.records import split_files
from serving.index.towers import load_towers
from tests.helpers.direct import direct
from tests.helpers.examples import catalogue_row
from tests.helpers.examples import timeline
from tests.helpers.examples import write_examples
from tests.helpers.towers import TinyTowers
from tests.helpers.towers import save_towers
from transforms import features

ROWS = [
    catalogue_row(f"movie:{i}", title=f"Film {i}", available_from=i if i % 2 else None)
    for i in range(60)
] + [catalogue_row("video:1"), catalogue_row("video:2", title="Vidéo")]


@pytest.fixture(scope="module")
def towers(tmp_path_factory):
    path = tmp_path_factory.mktemp("towers")
    return path, save_towers(path)


def run(towers_dir, rows, target, files_count=1, **config):
    """Runs the whole job and returns candidates and vectors."""
    settings = BuildConfig(**{"embed_batch": 8, "shards": 4, **config})
    examples = write_examples(target / "examples", {"catalogue": rows}, shards=files_count)
    (target / "shards").mkdir()
    with direct("--direct_running_mode=in_memory") as pipeline:
        _ = (
            pipeline
            | beam.Create(split_files(examples / "Split-catalogue"))
            | EmbedCatalogue(str(towers_dir), str(target / "shards"), settings)
        )
    count = shards.collect(target / "shards", target, settings.candidate_types)
    table, vectors = pq.read_table(target / files.CANDIDATES), files.load_vectors(target)
    assert count == table.num_rows == len(vectors)
    files.check_rows(target, table, vectors)
    return table, np.asarray(vectors)


def test_every_row_has_its_own_vector_and_fields(towers, tmp_path):
    path, tiny = towers
    table, vectors = run(path, ROWS, tmp_path)
    ids = table["id"].to_pylist()
    assert sorted(ids) == sorted([f"movie:{i}" for i in range(60)] + ["video:1", "video:2"])
    np.testing.assert_allclose(vectors, tiny.vectors(tf.constant(ids)).numpy(), rtol=1e-6)
    by_id = {row["id"]: row for row in table.to_pylist()}
    assert by_id["movie:3"] == {
        "id": "movie:3", "entity_type": "movie", "title": "Film 3", "available_from": 3
    }  # fmt: skip
    assert by_id["movie:4"]["available_from"] is None
    assert by_id["video:1"]["title"] is None
    assert by_id["video:2"]["title"] == "Vidéo"


def test_order_follows_the_ids_alone(towers, tmp_path):
    path, _ = towers
    one, vectors = run(path, ROWS, tmp_path / "one")
    two, same = run(path, ROWS[::-1], tmp_path / "two", files_count=3, embed_batch=5)
    assert one.equals(two)
    np.testing.assert_allclose(vectors, same, rtol=1e-6)


def test_only_candidate_types_are_embedded(towers, tmp_path):
    table, _ = run(towers[0], ROWS, tmp_path, candidate_types=("video",))
    assert sorted(table["id"].to_pylist()) == ["video:1", "video:2"]


def test_no_row_of_the_candidate_types(towers, tmp_path):
    with pytest.raises(ValueError, match=r"types \['movie', 'video'\]"):
        run(towers[0], ROWS, tmp_path, candidate_types=("item",))


def test_an_empty_catalogue(towers, tmp_path):
    with pytest.raises(ValueError, match="catalogue is empty"):
        run(towers[0], [], tmp_path)


def test_repeated_candidates_are_named(towers, tmp_path):
    with pytest.raises(ValueError, match=r"twice in the catalogue: \['movie:7'\]"):
        run(towers[0], [*ROWS, catalogue_row("movie:7")], tmp_path)


def test_vectors_that_are_not_finite_are_named(tmp_path):
    broken = TinyTowers()
    embed = broken.vectors
    broken.vectors = lambda names: tf.where(  # type: ignore[method-assign]
        tf.strings.regex_full_match(names, "movie:1[12]")[..., None], np.nan, embed(names)
    )
    names = ("serving_default", "embed_query", "embed_candidate")
    signatures = {name: getattr(broken, name) for name in names}
    tf.saved_model.save(broken, str(tmp_path / "towers"), signatures=signatures)
    with pytest.raises(ValueError, match="2 candidates .* not finite: .*movie:1") as error:
        run(tmp_path / "towers", ROWS, tmp_path / "run")
    assert "movie:11" in str(error.value) and "movie:12" in str(error.value)


def test_titles_that_are_not_utf8_are_kept_readable(towers, tmp_path):
    row = tf.train.Example.FromString(catalogue_row("movie:1"))
    row.features.feature[features.CATALOGUE_TITLE].bytes_list.value.append(b"Am\xe9lie")
    table, _ = run(towers[0], [row.SerializeToString()], tmp_path)
    assert table["title"].to_pylist() == ["Am�lie"]


def test_queries_are_embedded_in_the_order_of_the_files(towers, tmp_path):
    path, tiny = towers
    rows = [timeline(f"u{i}", [f"movie:{i}"], targets=["movie:9"]) for i in range(20)]
    folder = write_examples(tmp_path, {"validation": rows}) / "Split-validation"
    queries = embed_queries(load_towers(path), split_files(folder), limit=15, batch=4)
    wanted = tiny.serving_default(tf.constant(rows[:15]))["embedding"]
    np.testing.assert_allclose(queries.vectors, wanted, rtol=1e-5)


def test_no_files_and_no_timelines(towers, tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no record files"):
        split_files(tmp_path / "Split-validation")
    folder = write_examples(tmp_path, {"validation": []}) / "Split-validation"
    with pytest.raises(ValueError, match="no timelines"):
        embed_queries(load_towers(towers[0]), split_files(folder), limit=15)


class Towers:
    """Something that workers share."""


def test_what_beam_keeps_of_a_job_is_let_go():
    kept = weakref.ref(Shared().acquire(Towers))
    gc.collect()
    assert kept() is not None
    release_models()
    gc.collect()
    assert kept() is None
