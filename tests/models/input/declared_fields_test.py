"""Declared fields, from tables of an event log to what trained and exported models answer."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from models.config import RankingTrainerConfig
from models.din.model import DIN
from models.fixed_values import retrieval_trainer
from models.input.catalogue import CatalogueTable
from models.input.catalogue import load_catalogue
from models.input.config import CandidateTowerConfig
from models.trainer import train
from models.training.data import TrainingData
from models.training.replicas import WHOLE
from models.training.warm_start import warm_start
from serving.client import Candidate
from serving.client import Event
from serving.client import RankRequest
from serving.client.ranking import rank_inputs
from tests.helpers.timelines import row
from tests.helpers.timelines import run_transform
from tests.tfx_pipeline.components.timeline_example_gen.logs import event
from tests.tfx_pipeline.components.timeline_example_gen.logs import run as generate
from tests.tfx_pipeline.components.timeline_example_gen.logs import write_log
from transforms.catalogue_fields import CatalogueFields
from transforms.vocabulary import entity_vocabulary

GROUPS, ITEMS, USERS, EVENTS = 3, 30, 60, 8
STYLES = np.array([[1.0, 0.0, 0.1, 0.0], [0.0, 2.0, 0.0, 0.1], [0.1, 0.0, 0.0, 3.0]], np.float32)
FIELDS = CatalogueFields(vectors={"style": 4}, tokens=("cluster",))
READ = ("vector/style", "token/cluster")


@dataclasses.dataclass(frozen=True)
class Declared:
    """A log with two fields for items, as models read it; videos have neither."""

    data: TrainingData

    @property
    def layer(self) -> tf.keras.layers.Layer:
        return self.data.transform.transform_features_layer()

    def index(self, entity: str) -> int:
        return entity_vocabulary(self.data.transform).index(entity.encode()) + 1

    def table(self, **config: Any) -> CatalogueTable:
        size = self.data.sizes.entity
        chosen = CandidateTowerConfig(**{"features": READ, **config})
        return load_catalogue(self.data.catalogue_files, self.data.spec, size, chosen)


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> Declared:
    import tensorflow_transform as tft

    home = tmp_path_factory.mktemp("declared")
    generator = np.random.default_rng(0)
    events, day = [], 86_400_000_000
    for user in range(USERS):  # each likes one group of items
        chosen = generator.choice(np.arange(user % GROUPS, ITEMS, GROUPS), EVENTS)
        events += [
            event(f"u{user}", str(item), 1_700_000_000_000_000 + step * day)
            for step, item in enumerate(chosen)
        ]
    entities = [("item", str(i)) for i in range(ITEMS)] + [("item", "new"), ("video", "1")]
    catalogue = [{"entity_type": kind, "entity_id": name} for kind, name in entities]
    log = write_log(home / "log", events, catalogue)
    names = [str(i) for i in range(ITEMS)] + ["new"]
    groups = [i % GROUPS for i in range(ITEMS)] + [1]
    columns = {"entity_type": ["item"] * len(names), "entity_id": names}
    for field, column, values in (
        ("style", "vector", pa.array([STYLES[g].tolist() for g in groups])),
        ("cluster", "tokens", pa.array([[f"c{g}"] for g in groups])),
    ):
        (log / "features" / field).mkdir(parents=True)
        pq.write_table(pa.table(columns | {column: values}), log / "features" / field / "a.parquet")
    generate(log, home / "examples", catalogue_fields=FIELDS)
    folders = run_transform(home / "examples", home / "transform", fields=FIELDS)
    parts = [
        [str(path) for path in sorted(folders["transformed_examples"].glob(f"Split-{name}/*"))]
        for name in ("train", "catalogue", "validation")
    ]
    return Declared(TrainingData(tft.TFTransformOutput(str(folders["transform_graph"])), *parts))


@pytest.fixture(scope="module")
def towers(declared: Declared, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Path]:
    """A two-tower that reads the two fields beside ids, its SavedModel, and where that is."""
    config = retrieval_trainer(
        {
            "model": {
                "dim": 8,
                "query": {"window": 4, "hidden_units": []},
                "loss": "full_softmax",
                "candidate": {"features": list(READ), "id_dropout": 0.5},
            },
            "input": {"batch_size": 64, "pool": 32},
            "validation": {"k": [5], "monitor": "hr@5", "patience": 0},
            "optimizer": {"learning_rate": 0.02},
            "epochs": 4,
            "checkpoints": False,
        }
    )
    model, _ = train(config, declared.data)
    path = tmp_path_factory.mktemp("towers")
    model.export(declared.layer, str(path))
    return model, tf.saved_model.load(str(path)), path


def embed(towers: tuple[Any, Any, Path], *rows: bytes) -> np.ndarray:
    answer = towers[1].signatures["embed_candidate"](examples=tf.constant(rows))
    return answer["embedding"].numpy()


def fields_of(group: int) -> dict[str, Any]:
    return {"vector/style": STYLES[group].tolist(), "token/cluster": [f"c{group}"]}


def test_fields_are_tables_by_entity_and_zero_where_a_type_has_none(declared: Declared) -> None:
    table = declared.table()
    style, cluster = (table.features[name] for name in READ)
    assert table.widths == {"vector/style": 4, "token/cluster": 1}
    for entity, group in (("item:4", 1), ("item:5", 2), ("item:new", 1)):
        np.testing.assert_array_equal(style[declared.index(entity)], STYLES[group])
    assert cluster[declared.index("item:new")] == cluster[declared.index("item:4")] != 0
    assert cluster[declared.index("item:4")] != cluster[declared.index("item:5")]
    for values in (style, cluster):
        assert not values[declared.index("video:1")].any() and not values[0].any()
    # The most frequent token comes first; group 1 has one item more, the others tie.
    assert [x.decode() for x in declared.data.transform.vocabulary_by_name("token_cluster")] == [
        "c1",
        "c2",
        "c0",
    ]
    assert declared.data.sizes.declared == {"token/cluster": 4}


def test_fields_that_are_not_declared_are_an_error_and_others_are_not_read(
    declared: Declared,
) -> None:
    assert declared.table(features=["token/cluster", "title"]).widths == {"token/cluster": 1}
    with pytest.raises(ValueError, match=r"names `vector/look`, but .* \['token/cluster', 'vector"):
        declared.table(features=["vector/look"])
    with pytest.raises(ValueError, match="Received: `titel`; the nearest is `title`"):
        CandidateTowerConfig(features=("titel",))


def test_a_new_item_is_embedded_by_its_fields(towers: tuple[Any, Any, Path]) -> None:
    groups = [embed(towers, row(f"item:unheard-{g}", **fields_of(g)))[0] for g in range(GROUPS)]
    items = embed(towers, *(row(f"item:{i}", **fields_of(i % GROUPS)) for i in range(ITEMS)))
    items = items.reshape(-1, GROUPS, items.shape[1]).mean(axis=0)  # [G, d]
    near = np.stack(groups) - np.mean(groups, axis=0)
    assert (np.argmax(near @ (items - items.mean(axis=0)).T, axis=1) == np.arange(GROUPS)).all()


@pytest.mark.parametrize("field", READ)
def test_values_of_a_field_reach_the_embedding(
    towers: tuple[Any, Any, Path], declared: Declared, field: str
) -> None:
    other = {field: fields_of(2)[field]}
    whole, changed, less, bare = embed(
        towers,
        row("item:4", **fields_of(1)),
        row("item:4", **fields_of(1) | other),
        row("item:4", **{k: v for k, v in fields_of(1).items() if k != field}),
        row("item:4"),
    )
    assert np.abs(whole - changed).max() > 1e-2
    assert np.abs(whole - less).max() > 1e-2
    assert np.abs(whole - bare).max() > 1e-2
    model = towers[0]
    known = model.embed_items(tf.constant([declared.index("item:4")], tf.int64)).numpy()
    np.testing.assert_allclose(known[0], whole, atol=1e-6)


def test_an_item_without_fields_is_its_id_alone(
    towers: tuple[Any, Any, Path], declared: Declared
) -> None:
    """And a token that training never saw adds nothing."""
    index = tf.constant([declared.index("video:1")], tf.int64)
    tower = towers[0].candidate_tower
    np.testing.assert_array_equal(tower.describe(tower.look_up(index)), np.zeros([1, 8]))
    unheard, bare = embed(towers, row("video:1", **{"token/cluster": ["c99"]}), row("video:1"))
    np.testing.assert_allclose(unheard, bare, atol=1e-6)


def test_tables_of_tokens_follow_their_vocabulary_in_a_warm_start(
    towers: tuple[Any, Any, Path], declared: Declared
) -> None:
    model, _, path = towers
    before = {weight.name: weight.numpy() for weight in model.trainable_variables}
    (table,) = [name for name in before if "token_cluster/table" in name]
    for weight in model.trainable_variables:
        weight.assign(tf.zeros_like(weight))
    taken = warm_start(model, declared.data.transform, str(path))
    assert taken["left"] == 0
    for weight in model.trainable_variables:
        if weight.name == table:
            np.testing.assert_array_equal(weight.numpy()[1:], before[table][1:])
        weight.assign(before[weight.name])


def test_a_ranker_reads_fields_of_the_catalogue_and_of_sent_rows(
    declared: Declared, tmp_path: Path
) -> None:
    config = RankingTrainerConfig.model_validate(
        {
            "model": {"family": "din", "dim": 8, "window": 4, "candidate": {"features": READ}},
            "label": {"source": "events", "negatives": 2},
        }
    )
    model = DIN.of(config, declared.data)
    model.compute_loss(next(iter(model.training_batches(declared.data, WHOLE))))
    for number, weight in enumerate(model.trainable_variables):
        weight.assign(tf.random.stateless_normal(weight.shape, [number, 3]) * 0.1)
    model.export(declared.layer, str(tmp_path))
    rank = tf.saved_model.load(str(tmp_path)).signatures["rank"]

    def scores(*sent: bytes) -> np.ndarray:
        ids = ["item:4", "item:4", "item:unheard", "item:unheard"]
        history = [Event("item:1", "watch", 1), Event("item:2", "watch", 2)]
        candidates = [Candidate(*one) for one in zip(ids, sent, strict=True)]
        given = rank_inputs([RankRequest(history, candidates, request_time=10)])
        inputs = {name: tf.constant(values) for name, values in given.items()}
        return rank(**inputs)["scores"].numpy()[0]

    known, same, like_known, other = scores(
        b"",
        row("item:4", **fields_of(1)),
        row("item:unheard", **fields_of(1)),
        row("item:unheard", **fields_of(2)),
    )
    np.testing.assert_allclose(same, known, atol=1e-6)
    assert abs(like_known - other) > 1e-4
