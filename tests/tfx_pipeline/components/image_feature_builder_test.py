"""The builder of image features: an artifact that is whole without its log and its Trainer."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tfx.types import standard_artifacts

import tfx_pipeline
from tests.helpers.artifacts import artifact
from tests.helpers.image_logs import ITEMS
from tests.helpers.image_logs import image_log
from tests.tfx_pipeline.components.conftest import do
from tfx_pipeline.components.image_feature_builder import Executor
from tfx_pipeline.image_features.encoder import CENTRES
from tfx_pipeline.image_features.encoder import ENCODER
from tfx_pipeline.image_features.encoder import encoder_state
from tfx_pipeline.image_features.tables_config import TablesConfig
from transforms.arrow import read_table


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    return image_log(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def first(log: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return build(log, tmp_path_factory.mktemp("first") / "features")


def build(log: SimpleNamespace, target: Path, encoder: str = "", **changes: Any) -> Any:
    """Runs the executor with the log's encoder as a Trainer's model, or with an earlier one."""
    made = artifact(tfx_pipeline.CatalogueFeatures, target)
    model = artifact(standard_artifacts.Model, target.parent / "model")
    if not encoder:
        shutil.copytree(log.folder / ENCODER, Path(model.uri, "Format-Serving"), dirs_exist_ok=True)
    config = TablesConfig.of(log.section, ("item",)).model_copy(update=changes)
    do(
        Executor,
        {} if encoder else {"model": model},
        {"features": made},
        {"log_dir": str(log.path / "log"), "encoder": encoder, "config": config.to_json()},
    )
    return made


def tables(made: Any) -> dict[str, dict[str, list[Any]]]:
    folder = Path(made.uri, "features")
    return {
        name: read_table(next((folder / name).glob("*.parquet"))).to_pydict()
        for name in ("look", "look_cluster")
    }


def test_the_artifact_says_of_which_encoder_it_is(log: SimpleNamespace, first: Any) -> None:
    assert first.get_string_custom_property("encoder") == log.fingerprint
    found = {name: first.get_int_custom_property(name) for name in ("images", "dim", "clusters")}
    assert found == {"images": ITEMS - 2, "dim": 4, "clusters": 3}
    assert tables(first)["look"]["entity_id"] == list(log.images)
    assert not (log.path / "log" / "features").exists()
    assert not (log.folder / CENTRES).exists()


def test_an_earlier_artifact_gives_the_same_features_and_the_same_clusters(
    log: SimpleNamespace, first: Any, tmp_path: Path
) -> None:
    """Other clusters are asked for, and not made: tokens would mean something else."""
    again = build(log, tmp_path / "features", encoder=first.uri, clusters=2, seed=9)
    assert tables(again) == tables(first)
    assert encoder_state(again.uri) == encoder_state(first.uri)
    assert encoder_state(again.uri).startswith(f"{log.fingerprint} ")
    np.testing.assert_array_equal(*(np.load(Path(one.uri, CENTRES)) for one in (first, again)))


def test_an_encoder_of_another_length_is_refused(
    log: SimpleNamespace, first: Any, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="vectors of 4 numbers.*model.dim` is 8. Set it to 4"):
        build(log, tmp_path / "features", encoder=first.uri, dim=8)


def test_the_state_of_an_encoder_sees_its_clusters(
    log: SimpleNamespace, first: Any, tmp_path: Path
) -> None:
    assert encoder_state("") == ""
    with pytest.raises(ValueError, match="There is no encoder in .*nowhere"):
        encoder_state(str(tmp_path / "nowhere"))
    shutil.copytree(first.uri, tmp_path / "other")
    np.save(tmp_path / "other" / CENTRES, np.zeros([3, 4], np.float32))
    states = [encoder_state(str(one)) for one in (first.uri, tmp_path / "other", log.folder)]
    assert len(set(states)) == 3 and {state[:16] for state in states} == {log.fingerprint}
