"""Dense requests: their tensors, and the raw timelines that they stand for."""

from __future__ import annotations

import tensorflow as tf

from transforms import features as f

# What a model reads of a request; never a target.
REQUEST_FEATURES = (
    f.EVENT_ENTITY,
    f.EVENT_TYPE,
    f.EVENT_TIMESTAMP,
    f.USER_ATTRIBUTES,
    f.REQUEST_TIME,
    f.REQUEST_QUERY,
)
# What a model reads of a catalogue row.
ROW_FEATURES = (
    f.CATALOGUE_ENTITY,
    f.CATALOGUE_TITLE,
    f.CATALOGUE_CATEGORIES,
    f.CATALOGUE_ATTRIBUTES,
    f.CATALOGUE_PRICE,
    f.CATALOGUE_IMAGE_VECTOR,
    f.CATALOGUE_TEXT_VECTOR,
)

# The dense inputs of `embed_query`, `recommend` and `rank`, all with a batch dimension.
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


def raw_request(
    history_ids: tf.Tensor,
    history_events: tf.Tensor,
    history_timestamps: tf.Tensor,
    history_length: tf.Tensor,
    request_time: tf.Tensor,
    query: tf.Tensor,
    user_attributes: tf.Tensor,
    user_attributes_length: tf.Tensor,
) -> dict[str, tf.RaggedTensor]:
    """Makes raw timelines of the dense inputs `QUERY_INPUTS`.

    Returns:
        Raw features by name, B rows each, as Transform's graph takes them.
    """
    one = tf.ones_like(request_time)
    return {
        f.EVENT_ENTITY: as_ragged(history_ids, history_length),
        f.EVENT_TYPE: as_ragged(history_events, history_length),
        f.EVENT_TIMESTAMP: as_ragged(history_timestamps, history_length),
        f.USER_ATTRIBUTES: as_ragged(user_attributes, user_attributes_length),
        f.REQUEST_TIME: as_ragged(request_time[:, None], one),
        f.REQUEST_QUERY: as_ragged(query[:, None], one),
    }


def as_ragged(values: tf.Tensor, lengths: tf.Tensor) -> tf.RaggedTensor:
    """Keeps the first values of each row; lengths beyond the row are cut off."""
    lengths = tf.clip_by_value(lengths, 0, tf.shape(values, tf.int64)[1])
    return tf.RaggedTensor.from_tensor(values, lengths=lengths, row_splits_dtype=tf.int64)
