"""Logs at the edges: no prices, no words, no targets, nothing at all."""

from __future__ import annotations

import pytest
import tensorflow as tf
import tensorflow_transform as tft

from tests.helpers.timelines import row
from tests.helpers.timelines import run_transform
from tests.helpers.timelines import timeline
from tests.helpers.timelines import write_examples
from transforms import features as f
from transforms import names
from transforms.config import TransformConfig
from transforms.vocabulary import entity_vocabulary
from transforms.vocabulary import index_sizes
from transforms.vocabulary import target_counts


def _run(tmp_path, train, catalogue, config=None):
    write_examples(tmp_path / "examples", {"train": train, "catalogue": catalogue})
    folders = run_transform(tmp_path / "examples", tmp_path, config)
    return tft.TFTransformOutput(str(folders["transform_graph"]))


@pytest.mark.slow
def test_a_log_of_ids_alone_with_a_bounded_vocabulary(tmp_path):
    ids = ["a", "a", "b", "c", "c"]
    events = [("watch", f"movie:{name}", time) for time, name in enumerate(ids)]
    bare = timeline("u", events, **{f.EVENT_QUERY: [], f.EVENT_VALUE: [], f.CONTEXT_LENGTH: []})
    config = TransformConfig(max_entities=2)
    output = _run(tmp_path, [bare], [row("movie:a"), row("movie:d")], config)

    # Twice each; that movie:a is in the catalogue, too, does not count.
    assert entity_vocabulary(output) == [b"movie:c", b"movie:a"]
    # Both twice, a user's first event among them; movie:b, beyond the bound, is entry 0.
    assert target_counts(output).tolist() == [1, 2, 2]
    sizes = index_sizes(output)
    assert sizes[f.EVENT_ENTITY] == 3
    assert sizes[f.CATALOGUE_TITLE] == sizes[names.EVENT_QUERY_TOKENS] == 2
    layer = output.transform_features_layer()
    prices = tf.ragged.constant([[3.0], []], dtype=tf.float32, row_splits_dtype=tf.int64)
    got = layer({f.CATALOGUE_PRICE: prices})
    assert got[f.CATALOGUE_PRICE].to_list() == [[0.0], []]


def test_nothing_to_recommend_is_an_error(tmp_path):
    assets = tmp_path / "transform_fn" / "assets"
    assets.mkdir(parents=True)
    (assets / names.ENTITY).write_bytes(names.NOTHING + b"\n")
    with pytest.raises(ValueError, match="at least one entity"):
        entity_vocabulary(tft.TFTransformOutput(str(tmp_path)))


def test_a_directory_without_vocabularies_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="Run Transform with"):
        entity_vocabulary(tft.TFTransformOutput(str(tmp_path)))
