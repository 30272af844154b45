"""N-grams and pretrained encoders in Transform's graph, and in a servable made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from serving.client import Candidate
from serving.client import CatalogueRow
from serving.client import Event
from serving.client import RankRequest
from serving.client.ranking import rank_inputs
from tests.helpers.rankers import SMALL_DIN
from tests.helpers.rankers import export_ranker
from tests.helpers.rankers import small_data
from tests.helpers.timelines import row
from tests.helpers.timelines import timeline
from transforms import features as f
from transforms import names
from transforms.config import NgramConfig
from transforms.config import TransformConfig
from transforms.parsing import catalogue_spec

pytestmark = pytest.mark.slow

DAY = 86_400_000_000
NGRAMS = NgramConfig(words=(2,), characters=(3,), buckets=50, limit=40)


class Encoder(tf.Module):
    """Bytes of a text and how often it has an `e`, by a weight of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = tf.Variable([[1.0, 0.0], [0.0, 2.0]])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def encode(self, texts: tf.Tensor) -> tf.Tensor:
        size = tf.strings.length(texts)
        rest = tf.strings.length(tf.strings.regex_replace(texts, "e", ""))
        return tf.cast(tf.stack([size, size - rest], axis=1), tf.float32) @ self.weight


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("encoder")
    encoder = Encoder()
    tf.saved_model.save(encoder, str(path), signatures=encoder.encode)
    config = TransformConfig(ngrams=NGRAMS, text_encoder=str(path), image_encoder=str(path))
    events = [("click", f"item:{item}", DAY + item) for item in range(6)]
    queries = {f.EVENT_QUERY: ["", "red shoes", "blue hat", "", "red hat", "shoes"]}
    train = [timeline(f"u{user}", events, **queries) for user in range(3)]
    return small_data(tmp_path_factory.mktemp("log"), train, config)


def rows(data: Any, *serialised: bytes) -> dict[str, tf.RaggedTensor]:
    """Catalogue rows as the served graph transforms them."""
    raw = tf.io.parse_example(tf.constant(serialised), catalogue_spec())
    found: dict[str, tf.RaggedTensor] = data.transform.transform_features_layer()(raw)
    return found


def test_words_keep_their_indices_and_ngrams_come_behind(data: Any) -> None:
    vocabulary = [word.decode() for word in data.transform.vocabulary_by_name(names.TITLE_TOKEN)]
    size = len(vocabulary) + 1
    assert data.sizes.title_token == size + NGRAMS.buckets

    def indices(title: str) -> list[int]:
        found: list[int] = rows(data, row("item:x", title=title))[f.CATALOGUE_TITLE].to_list()[0]
        return found

    def hashed(*grams: str) -> list[int]:
        buckets = tf.strings.to_hash_bucket_fast(list(grams), NGRAMS.buckets)
        return (size + buckets.numpy()).tolist()

    red, thing = vocabulary.index("red") + 1, vocabulary.index("thing") + 1
    assert indices("Red thing") == [red, thing] + hashed(
        "red thing", "<re", "red", "ed>", "<th", "thi", "hin", "ing", "ng>"
    )
    typo = indices("thingy")
    assert typo[0] == 0 and set(typo) & set(hashed("<th", "thi", "hin", "ing"))
    assert indices("") == []


def test_queries_of_events_have_ngrams_each(data: Any) -> None:
    queries = tf.ragged.constant([["red hat", "", "hat"], []], row_splits_dtype=tf.int64)
    served = data.transform.transform_features_layer()({f.EVENT_QUERY: queries})
    words = served[names.EVENT_QUERY_TOKENS]
    assert [[len(query) for query in one] for one in words.to_list()] == [[9, 0, 4], []]
    assert data.sizes.query_token == 5 + 50 and int(tf.reduce_max(words.flat_values)) < 55


def test_encoders_fill_in_the_vectors_that_rows_lack(data: Any) -> None:
    found = rows(
        data,
        row("item:a", title="three", image=b"e"),
        row("item:b", title="three", text_vector=[5.0, 6.0]),
        row("item:c", image_vector=[1.0, 0.0]),
    )
    assert found[f.CATALOGUE_TEXT_VECTOR].to_list() == [[5.0, 4.0], [5.0, 6.0], []]
    assert found[f.CATALOGUE_IMAGE_VECTOR].to_list() == [[1.0, 2.0], [], [1.0, 0.0]]


def test_a_servable_encodes_the_rows_that_it_is_sent(data: Any, tmp_path: Path) -> None:
    features = ["text_vector", "image_vector"]
    model = SMALL_DIN | {"candidate": {"features": features}, "use_query": False}
    export_ranker(data, tmp_path / "ranker", model)
    rank = tf.saved_model.load(str(tmp_path / "ranker")).signatures["rank"]

    def scores(*given: CatalogueRow) -> Any:
        candidates = [Candidate("item:new", one) for one in given]
        inputs = rank_inputs([RankRequest([Event("item:1", "click", DAY)], candidates)])
        return rank(**{name: tf.constant(v) for name, v in inputs.items()})["scores"].numpy()[0]

    titled, vector, imaged, without = scores(
        CatalogueRow("three"),
        CatalogueRow(text_vector=[5.0, 4.0]),
        CatalogueRow("three", image=b"eee"),
        CatalogueRow(),
    )
    np.testing.assert_allclose(titled, vector, rtol=1e-5)
    assert abs(titled - without) > 1e-4 and abs(imaged - titled) > 1e-4
