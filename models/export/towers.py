"""The exported towers: what a SavedModel of a retrieval model answers."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from models.input.catalogue import candidate_features
from models.input.windows import cut_last_windows
from models.retrieval.retriever import Retriever
from transforms import features as f
from transforms.parsing import catalogue_spec
from transforms.parsing import timeline_spec

_EXAMPLES = tf.TensorSpec([None], tf.string, name="examples")

# What the query tower reads of a request; never a target.
_REQUEST = (
    f.EVENT_ENTITY,
    f.EVENT_TYPE,
    f.EVENT_TIMESTAMP,
    f.USER_ATTRIBUTES,
    f.REQUEST_TIME,
    f.REQUEST_QUERY,
)
# What the candidate tower reads of a catalogue row.
_ROW = (
    f.CATALOGUE_ENTITY,
    f.CATALOGUE_TITLE,
    f.CATALOGUE_CATEGORIES,
    f.CATALOGUE_ATTRIBUTES,
    f.CATALOGUE_PRICE,
    f.CATALOGUE_IMAGE_VECTOR,
    f.CATALOGUE_TEXT_VECTOR,
)

# The dense inputs of `embed_query`, all with a batch dimension.
QUERY_INPUTS = (
    tf.TensorSpec([None, None], tf.string, name="history_ids"),
    tf.TensorSpec([None, None], tf.string, name="history_events"),
    tf.TensorSpec([None, None], tf.int64, name="history_timestamps"),
    tf.TensorSpec([None], tf.int64, name="history_length"),
    tf.TensorSpec([None], tf.int64, name="request_time"),
    tf.TensorSpec([None], tf.string, name="query"),
    tf.TensorSpec([None, None], tf.string, name="user_attributes"),
    tf.TensorSpec([None], tf.int64, name="user_attributes_length"),
)

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
    towers = tf.Module(name="towers")
    # The variables and tables, not the Keras models: Keras would trace every layer again.
    towers.weights = saved_weights(model)
    towers.tables = list(tf.train.TrackableView(tft_layer).children(tft_layer).values())
    signatures = {
        "serving_default": _serving_default(model, tft_layer),
        "embed_query": _embed_query(model, tft_layer),
        "embed_candidate": _embed_candidate(model, tft_layer),
        "transform_features": _transform_features(tft_layer),
    }
    towers.signature_functions = signatures
    tf.saved_model.save(towers, path, signatures=signatures)


def saved_weights(model: tf.keras.Model) -> list[tf.Variable]:
    """Returns what a SavedModel keeps: all but metrics, which only all workers together read."""
    metrics = {id(variable) for metric in model.metrics for variable in metric.variables}
    return [variable for variable in model.variables if id(variable) not in metrics]


def _serving_default(model: Retriever, tft_layer: tf.keras.layers.Layer) -> Signature:
    spec = _chosen(timeline_spec(), _REQUEST)

    @tf.function(input_signature=[_EXAMPLES])
    @tf.autograph.experimental.do_not_convert
    def serving_default(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return _embed_timelines(model, tft_layer(tf.io.parse_example(examples, spec)))

    return serving_default


def _embed_query(model: Retriever, tft_layer: tf.keras.layers.Layer) -> Signature:
    @tf.function(input_signature=QUERY_INPUTS)
    @tf.autograph.experimental.do_not_convert
    def embed_query(
        history_ids: tf.Tensor,
        history_events: tf.Tensor,
        history_timestamps: tf.Tensor,
        history_length: tf.Tensor,
        request_time: tf.Tensor,
        query: tf.Tensor,
        user_attributes: tf.Tensor,
        user_attributes_length: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        raw = {
            f.EVENT_ENTITY: _ragged(history_ids, history_length),
            f.EVENT_TYPE: _ragged(history_events, history_length),
            f.EVENT_TIMESTAMP: _ragged(history_timestamps, history_length),
        }
        one = tf.ones_like(request_time)
        raw[f.USER_ATTRIBUTES] = _ragged(user_attributes, user_attributes_length)
        raw[f.REQUEST_TIME] = _ragged(request_time[:, None], one)
        raw[f.REQUEST_QUERY] = _ragged(query[:, None], one)
        return _embed_timelines(model, tft_layer(raw))

    return embed_query


def _embed_candidate(model: Retriever, tft_layer: tf.keras.layers.Layer) -> Signature:
    spec = _chosen(catalogue_spec(), _ROW)

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
    return {"embedding": model.embed_queries(batch)}


def _ragged(values: tf.Tensor, lengths: tf.Tensor) -> tf.RaggedTensor:
    """Keeps the first values of each row; lengths beyond the row are cut off."""
    lengths = tf.clip_by_value(lengths, 0, tf.shape(values, tf.int64)[1])
    return tf.RaggedTensor.from_tensor(values, lengths=lengths, row_splits_dtype=tf.int64)


def _chosen(
    spec: Mapping[str, tf.io.RaggedFeature], wanted: tuple[str, ...]
) -> dict[str, tf.io.RaggedFeature]:
    return {name: spec[name] for name in wanted}
