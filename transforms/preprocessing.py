"""Transform's entry point: raw timelines and catalogue rows to model features."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from transforms import features as f
from transforms import names
from transforms.config import TransformConfig
from transforms.lookup import Vocabulary
from transforms.prices import log_prices
from transforms.text import clean
from transforms.text import merge_texts
from transforms.text import words
from transforms.vocabularies import Inputs
from transforms.vocabularies import count_targets
from transforms.vocabularies import entity_vocabulary
from transforms.vocabularies import simple_vocabularies
from transforms.vocabularies import text_vocabularies

_QUERIES = {
    f.EVENT_QUERY: names.EVENT_QUERY_TOKENS,
    f.PAGE_QUERY: names.PAGE_QUERY_TOKENS,
    f.REQUEST_QUERY: names.REQUEST_QUERY_TOKENS,
}


def preprocessing_fn(
    inputs: dict[str, tf.RaggedTensor], custom_config: dict[str, Any] | None = None
) -> dict[str, tf.RaggedTensor]:
    """Turns raw features into model features; what Transform analyses and applies.

    Every output keeps its raw name, its row of the batch and its ragged shape;
    ids become int64 indices, of which 0 is unknown or none. Each output reads
    only the raw features that it is named after (and the vocabularies), so that
    a request that lacks some features still gets all others.

    Args:
        inputs: The raw features of `transforms.schema`, each [B, (values)].
        custom_config: `{"config": TransformConfig as JSON}`; defaults without it.

    Returns:
        Model features, each a ragged tensor with B rows; see transforms/README.md.
    """
    text = (custom_config or {}).get("config")
    config = TransformConfig.model_validate_json(text) if text else TransformConfig()
    count_targets(inputs, config)
    vocabularies = {names.ENTITY: entity_vocabulary(inputs, config)}
    vocabularies |= simple_vocabularies(inputs, config)
    outputs = dict(inputs)
    outputs |= _texts(inputs, config)
    outputs |= {
        feature: vocabularies[vocabulary](inputs[feature])
        for feature, vocabulary in names.INDEXED.items()
    }
    outputs[f.CATALOGUE_PRICE], outputs[names.CATALOGUE_PRICE_BUCKET] = log_prices(
        inputs[f.CATALOGUE_PRICE], config.price_buckets
    )
    return outputs


def _texts(inputs: Inputs, config: TransformConfig) -> dict[str, tf.RaggedTensor]:
    """Indices of title words, whole queries and query words, by output name."""
    titles = merge_texts(words(clean(inputs[f.CATALOGUE_TITLE]), config.title_length))
    queries = {feature: clean(inputs[feature]) for feature in _QUERIES}
    tokens = {feature: words(queries[feature], config.query_length) for feature in _QUERIES}
    counted = (f.EVENT_QUERY, f.PAGE_QUERY)
    vocabularies: dict[str, Vocabulary] = text_vocabularies(
        titles, [queries[name] for name in counted], [tokens[name] for name in counted], config
    )
    outputs = {f.CATALOGUE_TITLE: vocabularies[names.TITLE_TOKEN](titles)}
    for feature, tokens_name in _QUERIES.items():
        outputs[feature] = vocabularies[names.QUERY](queries[feature])
        outputs[tokens_name] = vocabularies[names.QUERY_TOKEN](tokens[feature])
    outputs[names.REQUEST_QUERY_TOKENS] = merge_texts(outputs[names.REQUEST_QUERY_TOKENS])
    return outputs
