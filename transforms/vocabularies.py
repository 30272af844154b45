"""The vocabularies, counted over training timelines and the catalogue."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from transforms import features as f
from transforms.config import TransformConfig
from transforms.lookup import Vocabulary
from transforms.lookup import count
from transforms.names import ATTRIBUTE
from transforms.names import CATEGORY
from transforms.names import ENTITY
from transforms.names import ENTITY_COUNTS
from transforms.names import EVENT_TYPE
from transforms.names import QUERY
from transforms.names import QUERY_TOKEN
from transforms.names import TITLE_TOKEN
from transforms.names import USER_ATTRIBUTE
from transforms.ragged import first_or
from transforms.targets import counted_events
from transforms.targets import target_events

Inputs = Mapping[str, tf.RaggedTensor]


def entity_vocabulary(inputs: Inputs, config: TransformConfig) -> Vocabulary:
    """Counts entities: events of training timelines, and catalogue rows with weight 0.

    Args:
        inputs: The raw features, each [B, (values)].
        config: How Transform works.

    Returns:
        The vocabulary `entity`, by descending number of training events.
    """
    events = inputs[f.EVENT_ENTITY]
    rows = inputs[f.CATALOGUE_ENTITY].flat_values
    counted = counted_events(events, first_or(inputs[f.CONTEXT_LENGTH], 0))
    return Vocabulary(
        ENTITY,
        tf.concat([events.flat_values, rows], axis=0),
        tf.concat([tf.cast(counted, tf.int64), tf.zeros_like(rows, tf.int64)], axis=0),
        top_k=config.max_entities,
    )


def count_targets(inputs: Inputs, config: TransformConfig) -> None:
    """Counts how often each entity may be drawn as a training target.

    The file `entity_counts` has lines `count entity`; `transforms.vocabulary`
    reads it.

    Args:
        inputs: The raw features, each [B, (values)].
        config: Which events and entities may be targets.
    """
    events = inputs[f.EVENT_ENTITY]
    eligible = target_events(
        events,
        inputs[f.EVENT_TYPE],
        first_or(inputs[f.CONTEXT_LENGTH], 0),
        config.target_events,
        config.candidate_types,
    )
    count(
        ENTITY_COUNTS,
        tf.boolean_mask(events.flat_values, eligible),
        top_k=config.max_entities,
        store_frequency=True,
    )


def simple_vocabularies(inputs: Inputs, config: TransformConfig) -> dict[str, Vocabulary]:
    """Counts event types, categories and attributes.

    Args:
        inputs: The raw features, each [B, (values)].
        config: How many of each are kept.

    Returns:
        Vocabularies by name.
    """
    sources = {
        EVENT_TYPE: (f.EVENT_TYPE, config.max_event_types),
        CATEGORY: (f.CATALOGUE_CATEGORIES, config.max_categories),
        ATTRIBUTE: (f.CATALOGUE_ATTRIBUTES, config.max_attributes),
        USER_ATTRIBUTE: (f.USER_ATTRIBUTES, config.max_user_attributes),
    }
    return {
        name: Vocabulary(name, inputs[feature].flat_values, top_k=top_k)
        for name, (feature, top_k) in sources.items()
    }


def text_vocabularies(
    titles: tf.RaggedTensor,
    queries: list[tf.RaggedTensor],
    query_tokens: list[tf.RaggedTensor],
    config: TransformConfig,
) -> dict[str, Vocabulary]:
    """Counts words of titles, whole queries and words of queries.

    Args:
        titles: [B, (words)] string.
        queries: Cleaned whole queries, each [B, (queries)] string.
        query_tokens: Their words, each [B, (queries), (words)] string.
        config: How many of each are kept.

    Returns:
        Vocabularies by name.
    """
    tokens = tf.concat([one.flat_values for one in query_tokens], axis=0)
    whole = tf.concat([one.flat_values for one in queries], axis=0)
    least = config.min_token_count
    return {
        TITLE_TOKEN: Vocabulary(
            TITLE_TOKEN, titles.flat_values, top_k=config.max_title_tokens, min_count=least
        ),
        QUERY: Vocabulary(
            QUERY, whole, top_k=config.max_queries, oov_buckets=config.query_oov_buckets
        ),
        QUERY_TOKEN: Vocabulary(
            QUERY_TOKEN, tokens, top_k=config.max_query_tokens, min_count=least
        ),
    }
