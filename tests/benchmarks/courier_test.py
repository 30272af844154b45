"""The benchmark of image features: rows differ in what they say they differ in."""

import numpy as np

from benchmarks.courier import SOURCES
from benchmarks.courier import USES
from benchmarks.courier import declared
from benchmarks.courier import pipeline
from benchmarks.courier import ranker
from benchmarks.courier import rows
from benchmarks.courier import section
from benchmarks.courier import starting_from
from benchmarks.courier import write_vectors
from transforms.arrow import read_table


def test_a_use_adds_one_way_to_read_a_source():
    none = ranker("none", "none").model
    for use in USES:
        model = ranker("courier", use).model
        added = set(model.candidate.features) - set(none.candidate.features)
        assert (
            added
            == {
                "vector": {"vector/courier"},
                "similarity": set(),
                "cluster_id": {"token/courier_cluster"},
            }[use]
        )
        assert model.similarity == (("vector/courier",) if use == "similarity" else ())
        same = {"candidate": none.candidate, "similarity": ()}
        assert model.model_copy(update=same) == none


def test_every_source_is_in_the_table():
    every = rows(("none", *SOURCES))
    assert every[0] == ("none", "none") and len(every) == len(set(every)) == 2 + 7 * len(USES)
    assert rows(["hashing"]) == [("hashing", "cluster_id")]
    assert section("simclr").trainer.model.objective == "simclr"


def test_courier_starts_from_the_frozen_backbone_of_simclr():
    trainer = section("courier_simclr").trainer
    of_views = section("simclr").trainer.model.backbone
    assert trainer.model.objective == "courier" and trainer.model.backbone.frozen
    assert trainer.model.backbone.channels == of_views.channels
    started = starting_from(trainer, "a/folder").model
    assert started.backbone.weights == "a/folder"
    emptied = started.backbone.model_copy(update={"weights": ""})
    assert started.model_copy(update={"backbone": emptied}) == trainer.model


def test_what_is_written_is_declared(tmp_path):
    world = tmp_path / "truth" / "world"
    world.mkdir(parents=True)
    np.save(world / "item_style.npy", np.zeros([3, 2]))
    write_vectors(tmp_path, "style", np.array([7, 8, 9]), np.array([[1.0, 0], [0, 2], [0, 1]]))
    fields = declared(tmp_path)
    assert fields == {"vectors": {"style": 2}, "tokens": ["style_cluster"]}
    config = pipeline(tmp_path, tmp_path / "run", fields).timeline.catalogue_fields
    assert config.names == ("style", "style_cluster")
    tokens = read_table(tmp_path / "features" / "style_cluster" / "part-0.parquet")
    found = tokens["tokens"].to_pylist()
    assert tokens["entity_id"].to_pylist() == ["7", "8", "9"] and found[1] == found[2] != found[0]
