"""The exported towers: what a SavedModel of a retrieval model answers."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from models.export.requests import QUERY_INPUTS
from models.export.requests import REQUEST_FEATURES
from models.export.requests import dense_signature
from models.export.requests import raw_request
from models.export.requests import row_spec
from models.export.requests import save_signatures
from models.input.catalogue import candidate_features
from models.input.windows import cut_last_windows
from models.layers.mixture import Mixture
from models.retrieval.retriever import Retriever
from transforms.parsing import timeline_spec

_EXAMPLES = tf.TensorSpec([None], tf.string, name="examples")

Signature = Callable[..., dict[str, tf.Tensor]]


def save_towers(model: Any, tft_layer: tf.keras.layers.Layer, path: str) -> None:
    """Writes the towers as a SavedModel with the signatures that the servable is made of.

    - `serving_default`: `examples` [B] string, raw serialised timelines -> `embedding` [B, d].
    - `embed_query`: the dense `QUERY_INPUTS`, histories oldest first -> `embedding` [B, d].
    - `embed_candidate`: `examples` [B] string, raw serialised catalogue rows -> `embedding` [B, d].
    - `transform_features`: `examples` [B] string, raw serialised timelines -> model features.

    The score of a pair is the dot product of its embeddings. A model with K
    interests answers [B, K, d] for queries, and the best of the K scores counts;
    if it answers `weight` [B, K] besides, for queries in both forms, the scores
    are the logits of a mixture (`serving.index.searching.searcher.combine`).

    Args:
        model: A trained `Retriever` whose variables exist.
        tft_layer: Transform's graph (`TFTransformOutput.transform_features_layer()`).
        path: The directory to write.
    """
    signatures = {
        "serving_default": _serving_default(model, tft_layer),
        "embed_query": _embed_query(model, tft_layer),
        "embed_candidate": _embed_candidate(model, tft_layer),
        "transform_features": _transform_features(tft_layer),
    }
    save_signatures(signatures, model.saved_weights(), tft_layer, path)


def _serving_default(model: Retriever, tft_layer: tf.keras.layers.Layer) -> Signature:
    spec = _chosen(timeline_spec(), REQUEST_FEATURES)

    @tf.function(input_signature=[_EXAMPLES])
    @tf.autograph.experimental.do_not_convert
    def serving_default(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return _embed_timelines(model, tft_layer(tf.io.parse_example(examples, spec)))

    return serving_default


def _embed_query(model: Retriever, tft_layer: tf.keras.layers.Layer) -> Signature:
    def embed_query(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return _embed_timelines(model, tft_layer(raw_request(inputs)))

    return dense_signature(embed_query, QUERY_INPUTS)


def _embed_candidate(model: Retriever, tft_layer: tf.keras.layers.Layer) -> Signature:
    spec = row_spec(model.feature_widths)

    @tf.function(input_signature=[_EXAMPLES])
    @tf.autograph.experimental.do_not_convert
    def embed_candidate(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = tft_layer(tf.io.parse_example(examples, spec))
        features = candidate_features(rows, model.feature_widths)
        return {"embedding": model.embed_features(features)}

    return embed_candidate


def _transform_features(tft_layer: tf.keras.layers.Layer) -> Signature:
    spec = timeline_spec()

    @tf.function(input_signature=[_EXAMPLES])
    @tf.autograph.experimental.do_not_convert
    def transform_features(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        flat = {}
        for name, values in tft_layer(tf.io.parse_example(examples, spec)).items():
            flat[f"{name}.values"] = values.flat_values
            for depth, splits in enumerate(values.nested_row_splits):
                flat[f"{name}.row_splits" + (f"_{depth}" if depth else "")] = splits
        return flat

    return transform_features


def _embed_timelines(
    model: Retriever, timelines: Mapping[str, tf.RaggedTensor]
) -> dict[str, tf.Tensor]:
    batch = cut_last_windows(timelines, model.window_spec(training=False))
    queries = model.embed_queries(batch)
    if isinstance(queries, Mixture):
        return {"embedding": queries.vectors, "weight": tf.exp(queries.log_weight)}
    return {"embedding": queries}


def _chosen(
    spec: Mapping[str, tf.io.RaggedFeature], wanted: tuple[str, ...]
) -> dict[str, tf.io.RaggedFeature]:
    return {name: spec[name] for name in wanted}
