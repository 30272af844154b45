"""The vocabularies, counted over training timelines and the catalogue."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from collections.abc import Sequence

import tensorflow as tf
import tensorflow_transform as tft

from transforms import features as f
from transforms import names
from transforms.config import TransformConfig
from transforms.counting import CountValues
from transforms.counting import VocabularySpec
from transforms.ragged import first_or
from transforms.targets import counted_events
from transforms.targets import target_events

Inputs = Mapping[str, tf.RaggedTensor]


@dataclasses.dataclass(frozen=True)
class Counted:
    """Counts of one vocabulary.

    Attributes:
        spec: How the vocabulary is written.
        values: [V] string; empty strings and those with line breaks are left out.
        weights: [V] int64, what each value counts; 1 each when None.
    """

    spec: VocabularySpec
    values: tf.Tensor
    weights: tf.Tensor | None = None


def count(counted: Sequence[Counted]) -> dict[str, tf.Tensor]:
    """Counts values over the analysed splits, all vocabularies in one pass.

    Equal values of a batch are summed inside the graph, so that Beam sees each
    value once a batch.

    Args:
        counted: The vocabularies.

    Returns:
        For each vocabulary by name the deferred path of its file, scalar string.
    """
    inputs = []
    for one in counted:
        values, index = tf.unique(one.values, out_idx=tf.int64)  # [U], [V]
        weights = tf.ones_like(index) if one.weights is None else one.weights
        inputs += [values, tf.math.unsorted_segment_sum(weights, index, tf.size(values))]
    specs = [one.spec for one in counted]
    paths = tft.experimental.ptransform_analyzer(
        inputs,
        CountValues(specs),
        output_dtypes=[tf.string] * len(specs),
        output_shapes=[[]] * len(specs),
        output_asset_default_values=[names.NOTHING] * len(specs),
        name="vocabularies",
    )
    return {spec.name: path for spec, path in zip(specs, paths, strict=True)}


def entities(inputs: Inputs, config: TransformConfig) -> list[Counted]:
    """Returns the entities, and how often each is a training target.

    `entity` holds the entities of training events, which count, and of the
    catalogue, which count 0. `entity_counts` holds those that may be drawn as a
    training target with how often they may, one `count entity` a line.

    Args:
        inputs: The raw features, each [B, (values)].
        config: Which events and entities may be targets.
    """
    events = inputs[f.EVENT_ENTITY]
    rows = inputs[f.CATALOGUE_ENTITY].flat_values
    context = first_or(inputs[f.CONTEXT_LENGTH], 0)
    counts = tf.cast(counted_events(events, context), tf.int64)
    eligible = target_events(
        events,
        inputs[f.EVENT_TYPE],
        context,
        first_or(inputs[f.CHUNK], 0),
        config.target_events,
        config.candidate_types,
    )
    return [
        Counted(
            VocabularySpec(names.ENTITY, config.max_entities, min_count=0),
            tf.concat([events.flat_values, rows], axis=0),
            tf.concat([counts, tf.zeros_like(rows, tf.int64)], axis=0),
        ),
        Counted(
            VocabularySpec(names.ENTITY_COUNTS, top_k=None, with_counts=True),
            tf.boolean_mask(events.flat_values, eligible),
        ),
    ]


def tokens(inputs: Inputs, config: TransformConfig) -> list[Counted]:
    """Returns event types, categories, attributes and declared tokens.

    Args:
        inputs: The raw features, each [B, (values)].
        config: How many of each are kept.
    """
    sources = {
        names.EVENT_TYPE: (f.EVENT_TYPE, config.max_event_types),
        names.CATEGORY: (f.CATALOGUE_CATEGORIES, config.max_categories),
        names.ATTRIBUTE: (f.CATALOGUE_ATTRIBUTES, config.max_attributes),
        names.USER_ATTRIBUTE: (f.USER_ATTRIBUTES, config.max_user_attributes),
    }
    for feature, name in names.declared_tokens(inputs).items():
        sources[name] = (feature, config.max_tokens)
    return [
        Counted(VocabularySpec(name, top_k), inputs[feature].flat_values)
        for name, (feature, top_k) in sources.items()
    ]


def texts(
    titles: tf.RaggedTensor,
    queries: Sequence[tf.RaggedTensor],
    query_words: Sequence[tf.RaggedTensor],
    config: TransformConfig,
) -> list[Counted]:
    """Returns words of titles, whole queries and words of queries.

    Args:
        titles: [B, (words)] string.
        queries: Cleaned whole queries, each [B, (queries)] string.
        query_words: Their words, each [B, (queries), (words)] string.
        config: How many of each are kept.
    """

    def spec(name: str, top_k: int) -> VocabularySpec:
        return VocabularySpec(name, top_k, min_count=config.min_token_count)

    return [
        Counted(spec(names.TITLE_TOKEN, config.max_title_tokens), titles.flat_values),
        Counted(
            spec(names.QUERY_TOKEN, config.max_query_tokens),
            tf.concat([one.flat_values for one in query_words], axis=0),
        ),
        Counted(
            VocabularySpec(names.QUERY, config.max_queries),
            tf.concat([one.flat_values for one in queries], axis=0),
        ),
    ]
