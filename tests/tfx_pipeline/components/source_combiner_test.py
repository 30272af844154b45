"""The component on validation timelines whose targets follow from neighbour lists."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tensorflow as tf

import tfx_pipeline
from serving.index.config import ServeConfig
from serving.sources import combination
from serving.sources.combination import Settings
from serving.sources.config import FitConfig
from tests.helpers.artifacts import artifact
from tests.helpers.artifacts import raw_examples
from tests.helpers.artifacts import towers_model
from tests.helpers.examples import timeline
from tests.helpers.servables import seal_without_scann
from tests.helpers.servables import write_vectors
from tests.helpers.sources import write_neighbours
from tests.tfx_pipeline.components.conftest import do

IDS = [f"item:{i}" for i in range(80)]
SERVE = ServeConfig(k=10, exclude_seen=("*",))


def inputs(folder: Path):
    """Towers that know nothing; what follows an item is its next neighbour, or a popular one."""
    model = towers_model(folder / "model")
    towers = tf.saved_model.load(str(folder / "model" / "Format-Serving"))
    vectors = tf.random.stateless_normal([len(IDS), 16], [1, 2]).numpy()
    assert towers is not None
    write_vectors(folder / "index", IDS, vectors)
    seal_without_scann(folder / "index", folder / "model" / "Format-Serving")
    lists = {name: {IDS[(i + 1) % 80]: 0.5, IDS[(i + 7) % 80]: 0.25} for i, name in enumerate(IDS)}
    write_neighbours(folder / "neighbours", lists, {name: 80 - i for i, name in enumerate(IDS)})
    validation = [
        timeline(
            f"u{i}",
            [IDS[i % 80], IDS[(i + 11) % 80]] if i % 4 else [],
            targets=[IDS[(i + (12 if i % 3 else 18)) % 80]] if i % 4 else [IDS[i % 8]],
        )
        for i in range(240)
    ]
    return {
        "model": model,
        "index": artifact(tfx_pipeline.RetrievalIndex, folder / "index"),
        "neighbours": artifact(tfx_pipeline.NeighbourLists, folder / "neighbours"),
        "examples": raw_examples(folder / "examples", {"validation": validation}),
    }


def run(given, target: Path):
    from tfx_pipeline.components.source_combiner import Executor

    made = artifact(tfx_pipeline.SourceCombination, target)
    properties = {
        "settings": Settings().to_json(),
        "fit": FitConfig(without_history=20).to_json(),
        "serve": SERVE.to_json(),
        "monitor": "ndcg@10",
    }
    do(Executor, given, {"combination": made}, properties)
    return made


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("combiner")
    given = inputs(folder)
    return folder, given, run(given, folder / "combination")


def test_neighbours_order_histories_and_popularity_users_without(learned):
    found = combination.read(learned[0] / "combination")
    table = found.report["validation"]["with_history"]
    assert table["joined"]["ndcg@10"] > 0.6 > table["tower"]["ndcg@10"] + 0.3
    without = found.report["validation"]["without_history"]
    best = found.report["chosen"]["without_history"]
    assert best in ("popularity", "joined")
    assert without[best]["ndcg@10"] >= without["popularity"]["ndcg@10"]
    assert found.report["recall"]["with_history"]["neighbours"] == 1.0
    assert found.report["examples"] == 260
    chosen = learned[2].get_string_custom_property("chosen")
    assert json.loads(chosen) == found.report["chosen"]


def test_the_same_inputs_give_the_same_file(learned, tmp_path):
    run(learned[1], tmp_path)
    first, again = (one / "combination.json" for one in (learned[0] / "combination", tmp_path))
    assert first.read_text() == again.read_text()


def test_the_servable_answers_with_what_was_learned(learned, tmp_path):
    from tfx.types import standard_artifacts
    from tfx.utils import path_utils

    from tfx_pipeline.components.servable_builder import Executor

    servable = artifact(standard_artifacts.Model, tmp_path)
    given = {name: learned[1][name] for name in ("model", "index", "neighbours")}
    do(
        Executor,
        {**given, "combination": learned[2]},
        {"servable": servable},
        {"config": SERVE.to_json()},
    )
    path = path_utils.serving_model_path(servable.uri)
    served = tf.saved_model.load(path).signatures["serving_default"]
    answer = served(examples=tf.constant([timeline("u", IDS[20:21]), timeline("u", [])]))
    classes = answer["classes"].numpy().astype(str)
    assert set(classes[0, :2]) == {IDS[21], IDS[27]}
    assert classes[1, 0] in IDS[:8]


def test_a_split_without_targets_is_named(learned, tmp_path):
    empty = raw_examples(tmp_path / "examples", {"validation": [timeline("u", IDS[:2])]})
    with pytest.raises(ValueError, match="sources.enabled: false"):
        run({**learned[1], "examples": empty}, tmp_path / "combination")
