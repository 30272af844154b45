from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tfx import v1 as tfx

import tfx_pipeline
from serving.index import files
from serving.index.config import BuildConfig
from serving.index.config import IndexConfig
from serving.index.parts import part_dirs
from serving.index.tree.scann_files import read_partition
from tests.helpers.artifacts import artifact
from tests.helpers.artifacts import raw_examples
from tests.helpers.examples import catalogue_row
from tests.helpers.towers import TinyTowers
from tests.tfx_pipeline.components.conftest import IDS
from tests.tfx_pipeline.components.conftest import do
from tfx_pipeline.components.index_builder import Executor
from tfx_pipeline.components.index_builder import IndexBuilder
from tfx_pipeline.components.index_validator import IndexValidator
from tfx_pipeline.components.servable_builder import ServableBuilder

pytestmark = pytest.mark.slow


def test_the_index_is_over_the_candidate_types_of_the_catalogue(index_run):
    index = files.open_index(index_run.index.uri)
    ids = index.candidates["id"].to_pylist()
    assert sorted(ids) == sorted(IDS)
    np.testing.assert_allclose(index.vectors, TinyTowers().vectors(tf.constant(ids)), rtol=1e-6)
    assert index.candidates["title"].to_pylist() == [f"Title of {name}" for name in ids]


def test_it_was_tuned_on_training_timelines_and_says_so(index_run):
    index = files.open_index(index_run.index.uri)
    assert index.info["index_type"] == "tree_ah"
    assert index.info["search"]["tuned_on"] == 300
    towers = Path(index_run.model.uri, "Format-Serving")
    assert index.info["towers"] == files.directory_fingerprint(towers)
    assert index_run.index.get_int_custom_property("candidates") == 1_500
    assert index_run.index.get_string_custom_property("index_type") == "tree_ah"


def test_nothing_is_left_behind(index_run):
    assert sorted(path.name for path in Path(index_run.index.uri).iterdir()) == [
        "candidates.parquet", "curve.csv", "curve.svg", "index.json", "scann", "vectors.npy"
    ]  # fmt: skip


def test_an_index_in_parts_is_encoded_on_beam_and_is_the_same(index_run, tmp_path):
    config = index_run.config.section(BuildConfig).model_copy(update={"parts": 3})
    artifact_in_parts = artifact(tfx_pipeline.RetrievalIndex, tmp_path / "index")
    do(
        Executor,
        {"model": index_run.model, "examples": index_run.examples},
        {"index": artifact_in_parts},
        {"config": config.to_json()},
    )
    index, whole = files.open_index(artifact_in_parts.uri), files.open_index(index_run.index.uri)
    assert index.candidates.equals(whole.candidates)
    assert index.info["build"]["parts"] == 3 and len(part_dirs(index.scann_dir)) == 3
    assert index.info["search"]["tuned_on"] == 300
    # The sample is all 1,500 candidates, so that the leaves are those of the build in one.
    divided, single = read_partition(index.scann_dir), read_partition(whole.scann_dir)
    np.testing.assert_array_equal(divided.centres, single.centres)
    np.testing.assert_array_equal(divided.leaf, single.leaf)
    assert sorted(path.name for path in index.path.iterdir()) == [
        "candidates.parquet", "curve.csv", "curve.svg", "index.json", "scann", "vectors.npy"
    ]  # fmt: skip
    assert artifact_in_parts.get_string_custom_property("index_type") == "tree_ah"


def test_a_missing_split_is_named(index_run, tmp_path):
    examples = raw_examples(tmp_path / "examples", {"train": []})
    index = artifact(tfx_pipeline.RetrievalIndex, tmp_path / "index")
    with pytest.raises(ValueError, match=r"splits \['train'\]; expected `catalogue`"):
        do(
            Executor,
            {"model": index_run.model, "examples": examples},
            {"index": index},
            {"config": "{}"},
        )


def test_a_failed_job_leaves_no_shards(index_run, tmp_path):
    examples = raw_examples(tmp_path / "examples", {"catalogue": [catalogue_row("video:1")]})
    index = artifact(tfx_pipeline.RetrievalIndex, tmp_path / "index")
    with pytest.raises(ValueError, match="no candidates"):
        do(
            Executor,
            {"model": index_run.model, "examples": examples},
            {"index": index},
            {"config": '{"candidate_types": ["movie"]}'},
        )
    assert list(Path(index.uri).iterdir()) == []


def test_the_component_sees_what_it_reads_and_no_more():
    channel = tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model)
    examples = tfx.dsl.Channel(type=tfx.types.standard_artifacts.Examples)
    one, two = (
        IndexBuilder(channel, examples, IndexConfig(min_recall=bound), code_version="1")
        for bound in (0.5, 0.9)
    )
    assert one.exec_properties == two.exec_properties
    assert one.outputs["index"].type is tfx_pipeline.RetrievalIndex


def test_the_package_stays_light():
    script = "import sys, tfx_pipeline; assert 'tfx' not in sys.modules, 'tfx was imported'"
    subprocess.run([sys.executable, "-c", script], check=True)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = tfx_pipeline.Nothing


def test_kubeflows_compiler_takes_the_components(tmp_path):
    model = tfx.dsl.Importer("m", tfx.types.standard_artifacts.Model).with_id("towers")
    timelines = tfx.dsl.Importer("e", tfx.types.standard_artifacts.Examples).with_id("timelines")
    towers, examples = model.outputs["result"], timelines.outputs["result"]
    config = IndexConfig()
    builder = IndexBuilder(towers, examples, config, "1").with_id("index-builder")
    index = builder.outputs["index"]
    validator = IndexValidator(index, towers, examples, config, "1").with_id("index-validator")
    servable = ServableBuilder(towers, index, config, "1").with_id("servable-builder")
    pipeline = tfx.dsl.Pipeline(
        pipeline_name="index",
        pipeline_root=str(tmp_path),
        components=[model, timelines, builder, validator, servable],
    )
    runner = tfx.orchestration.experimental.KubeflowV2DagRunner(
        tfx.orchestration.experimental.KubeflowV2DagRunnerConfig(use_pipeline_spec_2_1=True),
        output_dir=str(tmp_path),
        output_filename="pipeline.yaml",
    )
    runner.run(pipeline, write_out=True)
    text = (tmp_path / "pipeline.yaml").read_text()
    assert "tfx_pipeline.RetrievalIndex" in text
    for name in ("index-builder", "index-validator", "servable-builder"):
        assert name in text
