"""Dense requests: their tensors, and the raw timelines that they stand for."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

import tensorflow as tf

from models.input.catalogue import declared_features
from transforms import features as f
from transforms.parsing import catalogue_spec

# What a model reads of a request; never a target.
REQUEST_FEATURES = (
    f.EVENT_ENTITY,
    f.EVENT_TYPE,
    f.EVENT_TIMESTAMP,
    f.USER_ATTRIBUTES,
    f.REQUEST_TIME,
    f.REQUEST_QUERY,
)
# What a model reads of a catalogue row, besides declared fields.
ROW_FEATURES = (
    f.CATALOGUE_ENTITY,
    f.CATALOGUE_TITLE,
    f.CATALOGUE_CATEGORIES,
    f.CATALOGUE_ATTRIBUTES,
    f.CATALOGUE_RELATED,
    f.CATALOGUE_PRICE,
    f.CATALOGUE_IMAGE,
    f.CATALOGUE_IMAGE_VECTOR,
    f.CATALOGUE_TEXT_VECTOR,
)

# The dense inputs of `embed_query`, `recommend` and `rank`, all with a batch dimension.
CONTEXT_INPUTS = (
    tf.TensorSpec([None], tf.int64, name="request_time"),
    tf.TensorSpec([None], tf.string, name="query"),
    tf.TensorSpec([None, None], tf.string, name="user_attributes"),
    tf.TensorSpec([None], tf.int64, name="user_attributes_length"),
)
QUERY_INPUTS = (
    tf.TensorSpec([None, None], tf.string, name="history_ids"),
    tf.TensorSpec([None, None], tf.string, name="history_events"),
    tf.TensorSpec([None, None], tf.int64, name="history_timestamps"),
    tf.TensorSpec([None], tf.int64, name="history_length"),
    *CONTEXT_INPUTS,
)


def row_spec(features: Iterable[str]) -> dict[str, tf.io.RaggedFeature]:
    """Returns the spec of what a model reads of raw serialised catalogue rows.

    Args:
        features: Features that the model reads (`models.input.catalogue`).
    """
    fields = declared_features(features)
    spec = catalogue_spec(fields)
    return {name: spec[name] for name in ROW_FEATURES + fields}


def raw_request(inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.RaggedTensor]:
    """Makes raw timelines of dense inputs.

    Args:
        inputs: At least those of `QUERY_INPUTS`, by name, B rows each.

    Returns:
        Raw features by name, B rows each, as Transform's graph takes them.
    """
    length = inputs["history_length"]
    return raw_context(inputs) | {
        f.EVENT_ENTITY: as_ragged(inputs["history_ids"], length),
        f.EVENT_TYPE: as_ragged(inputs["history_events"], length),
        f.EVENT_TIMESTAMP: as_ragged(inputs["history_timestamps"], length),
    }


def raw_context(inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.RaggedTensor]:
    """Makes what raw timelines have besides the history, of at least `CONTEXT_INPUTS`."""
    time = inputs["request_time"]
    one = tf.ones_like(time)
    return {
        f.USER_ATTRIBUTES: as_ragged(inputs["user_attributes"], inputs["user_attributes_length"]),
        f.REQUEST_TIME: as_ragged(time[:, None], one),
        f.REQUEST_QUERY: as_ragged(inputs["query"][:, None], one),
    }


def as_ragged(values: tf.Tensor, lengths: tf.Tensor) -> tf.RaggedTensor:
    """Keeps the first values of each row; lengths beyond the row are cut off."""
    lengths = tf.clip_by_value(lengths, 0, tf.shape(values, tf.int64)[1])
    return tf.RaggedTensor.from_tensor(values, lengths=lengths, row_splits_dtype=tf.int64)


def distinct_queries(queries: tf.Tensor) -> tf.RaggedTensor:
    """Makes a raw feature of the distinct queries of histories, which Transform reads once each.

    Args:
        queries: [B, Q] string; what nothing points to is padding.
    """
    return tf.RaggedTensor.from_tensor(queries, row_splits_dtype=tf.int64)


def words_of_events(words: tf.RaggedTensor, index: tf.RaggedTensor) -> tf.RaggedTensor:
    """Gives events the words of the query that led to each.

    Args:
        words: [B, (Q), (words)] int64, of the distinct queries of each history.
        index: [B, (events)] int32, positions among them.

    Returns:
        [B, (events), (words)] int64. A position without a query fails the request.
    """
    position = tf.cast(index.flat_values, tf.int64)
    row = index.value_rowids()
    there = (position >= 0) & (position < tf.gather(words.row_lengths(), row))
    message = "Expected `history_query_index` to be positions in `history_queries`."
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(there), [message])]):
        position += tf.gather(words.row_starts(), row)
    return index.with_values(tf.gather(words.values, position))


def dense_signature(
    function: Callable[..., dict[str, tf.Tensor]], inputs: Sequence[tf.TensorSpec]
) -> Callable[..., dict[str, tf.Tensor]]:
    """Traces a function of named tensors as a signature."""
    traced = tf.function(function, autograph=False)
    return traced.get_concrete_function(**{spec.name: spec for spec in inputs})


def save_signatures(
    signatures: Mapping[str, Callable[..., dict[str, tf.Tensor]]],
    weights: Sequence[tf.Variable],
    tft_layer: tf.keras.layers.Layer,
    path: str,
) -> None:
    """Writes signatures as a SavedModel.

    The variables and tables are kept, not the Keras models: Keras would trace every
    layer again.

    Args:
        signatures: By name.
        weights: What they read.
        tft_layer: Transform's graph, whose tables they read.
        path: The directory to write.
    """
    exported = tf.Module(name="exported")
    exported.weights = list(weights)
    exported.tables = list(tf.train.TrackableView(tft_layer).children(tft_layer).values())
    exported.signature_functions = dict(signatures)
    tf.saved_model.save(exported, path, signatures=exported.signature_functions)
