"""Components of a run once more, on Flink: what they write has to be the Direct runner's.

They run from the same inputs, and are sent there as a user would send them, by the
configuration. Timelines and neighbours are in `flink_test`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from typing import TypeAlias

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tfx import v1 as tfx
from tfx.orchestration.pipeline import RunOptions

from serving.index.files import open_index
from tests.end_to_end.conftest import RANKED
from tests.end_to_end.conftest import overrides
from tests.helpers.artifacts import digests
from tests.helpers.flink_cluster import FlinkCluster
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.config_file import load_config
from tfx_pipeline.datasets.registry import prepare
from tfx_pipeline.evaluation.report import read_metrics
from tfx_pipeline.pipeline import create_pipeline
from tfx_pipeline.runners.local import with_workers_here
from tfx_pipeline.runners.mirror import ARTIFACTS
from tfx_pipeline.runners.mirror import DATABASE
from tfx_pipeline.runners.recorded import read_runs
from tfx_pipeline.stages.state import read_state

Again: TypeAlias = "Callable[[str], tuple[dict[str, Path], dict[str, Path]]]"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

PATIENCE = 1200.0  # seconds
BEAM = ("statistics-gen", "transform", "index-builder", "evaluator", "ranking-evaluator")
PRICE = "catalogue/price_bucket$ragged_values"
KEYS = (
    *RANKED,
    "retrieval.trainer.steps_per_epoch=10",
    "retrieval.index.parts=2",
    "retrieval.index.tree_from=100",
    "ranking.trainer.steps_per_epoch=10",
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> PipelineConfig:
    """What the Direct runner has run: both stages on a small shop, the index in two parts."""
    home = tmp_path_factory.mktemp("run")
    prepare("shop", home / "log", users=150, images=False)
    made = load_config("shop_demo", (*overrides(home / "log", home / "shop"), *KEYS))
    Path(made.run_dir).mkdir()
    run_part(made, RunOptions(to_nodes=BEAM))
    return made


@pytest.fixture
def again(cluster: FlinkCluster, start: Any, config: PipelineConfig) -> Again:
    """Runs a component of the finished run on Flink; returns its outputs there and before."""

    def run(component: str) -> tuple[dict[str, Path], dict[str, Path]]:
        jobs = len(cluster.jobs())
        first = read_runs(config.run_dir)[0]
        only = RunOptions([component], [component], base_pipeline_run_id=first.run_id)
        changes = {"beam_pipeline_args": tuple(cluster.options), "enable_cache": False}
        start(run_part, config.model_copy(update=changes), only).result(PATIENCE)
        ended = cluster.jobs()[jobs:]
        assert ended and {job["state"] for job in ended} == {"FINISHED"}
        there = read_runs(config.run_dir)[-1].artifacts[component]
        here = first.artifacts[component]
        assert not set(there.values()) & set(here.values())
        return as_paths(there), as_paths(here)

    return run


def run_part(config: PipelineConfig, part: RunOptions) -> None:
    """Runs components of the pipeline, with what earlier runs have made of the others."""
    place = Path(config.run_dir)
    database = tfx.orchestration.metadata.sqlite_metadata_connection_config(str(place / DATABASE))
    pipeline = create_pipeline(
        with_workers_here(config),
        read_state(config),
        pipeline_root=str(place / ARTIFACTS),
        metadata_connection_config=database,
    )
    tfx.orchestration.LocalDagRunner().run(pipeline, part)


def as_paths(outputs: dict[str, str]) -> dict[str, Path]:
    return {key: Path(uri) for key, uri in outputs.items()}


def examples(folder: Path) -> tuple[list[bytes], list[list[int]]]:
    """Reads the examples below a folder, in an order that their price buckets have no part in.

    Returns:
        Each example without the bucket of its price, and the buckets.
    """
    files = sorted(str(path) for path in folder.rglob("*.gz"))
    rows = []
    for record in tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator():
        example = tf.train.Example.FromString(record)
        bucket = list(example.features.feature.pop(PRICE, tf.train.Feature()).int64_list.value)
        rows.append((example.SerializeToString(deterministic=True), bucket))
    rest, buckets = zip(*sorted(rows), strict=True)
    return list(rest), list(buckets)


def statistics(file: Path) -> dict[str, str]:
    """Returns the statistics of each feature, which come in any order, to nine digits."""
    (split,) = tfdv.load_stats_binary(str(file)).datasets
    return {
        "/".join(feature.path.step): text_format.MessageToString(feature, float_format=".9g")
        for feature in split.features
    }


def test_statistics(again: Again) -> None:
    there, here = (one["statistics"] for one in again("statistics-gen"))
    splits = sorted(path.name for path in here.glob("Split-*"))
    assert len(splits) == 6
    for split in splits:
        name = f"{split}/FeatureStats.pb"
        found, wanted = statistics(there / name), statistics(here / name)
        assert found == wanted and len(wanted) > 5, split


def test_transform(again: Again) -> None:
    there, here = again("transform")
    folder = "transform_fn/assets"
    found, wanted = (digests(one["transform_graph"] / folder) for one in (there, here))
    assert found == wanted and len(wanted) > 5
    splits = sorted(path.name for path in here["transformed_examples"].glob("Split-*"))
    assert len(splits) > 2
    for split in splits:
        (found, prices), (wanted, others) = (
            examples(one["transformed_examples"] / split) for one in (there, here)
        )
        assert found == wanted and len(prices) == len(wanted)
        # Bounds of price buckets are approximate quantiles, which depend on what is merged when.
        moved = np.abs(np.subtract(np.hstack(prices), np.hstack(others)))
        assert moved.max(initial=0) <= 1 and moved.sum() <= 0.01 * len(wanted)


def test_index(again: Again) -> None:
    there, here = (one["index"] for one in again("index-builder"))
    found, wanted = open_index(there), open_index(here)
    assert found.candidates.equals(wanted.candidates)
    np.testing.assert_array_equal(found.vectors, wanted.vectors)
    codes = sorted(path.relative_to(here) for path in here.rglob("hashed_dataset.npy"))
    leaves = sorted(path.relative_to(here) for path in here.rglob("datapoint_to_token.npy"))
    assert len(codes) == len(leaves) == 2
    for name in (*codes, *leaves):
        np.testing.assert_array_equal(np.load(there / name), np.load(here / name))


@pytest.mark.parametrize("component", ["evaluator", "ranking-evaluator"])
def test_metrics(again: Again, component: str) -> None:
    there, here = (read_metrics(one["evaluation"]) for one in again(component))
    assert there.keys() == here.keys() and len(here) > 3
    for name, wanted in here.items():
        assert there[name] == pytest.approx(wanted, abs=1e-6), name
