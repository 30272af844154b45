"""Transform's entry point: raw timelines and catalogue rows to model features."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from transforms import features as f
from transforms import names
from transforms import vocabulary_counts as vocabularies
from transforms.config import TransformConfig
from transforms.encoders import encoded_vectors
from transforms.lookup import Lookup
from transforms.prices import log_prices
from transforms.text import clean
from transforms.text import merge_texts
from transforms.text import words

# Raw queries, and the names under which their words come out.
_QUERIES = {
    f.EVENT_QUERY: names.EVENT_QUERY_TOKENS,
    f.PAGE_QUERY: names.PAGE_QUERY_TOKENS,
    f.REQUEST_QUERY: names.REQUEST_QUERY_TOKENS,
}
_COUNTED_QUERIES = (f.EVENT_QUERY, f.PAGE_QUERY)


def preprocessing_fn(
    inputs: dict[str, tf.RaggedTensor], custom_config: dict[str, Any] | None = None
) -> dict[str, tf.RaggedTensor]:
    """Turns raw features into model features; what Transform analyses and applies.

    Every output keeps its raw name, its row of the batch and its ragged shape;
    ids become int64 indices, of which 0 is unknown or none. Each output reads
    only the raw feature that it is named after (and the vocabularies), so that
    a request that lacks some features still gets all others; a vector that has an encoder
    reads the title, or the image, of its row, too.

    Args:
        inputs: The raw features of `transforms.schema`, each [B, (values)].
        custom_config: `{"config": TransformConfig as JSON}`; defaults without it.

    Returns:
        Model features, each a ragged tensor with B rows; transforms/README.md
        lists them.
    """
    text = (custom_config or {}).get("config")
    config = TransformConfig.model_validate_json(text) if text else TransformConfig()

    titles = merge_texts(words(clean(inputs[f.CATALOGUE_TITLE]), config.title_length))
    queries = {name: clean(inputs[name]) for name in _QUERIES}
    query_words = {name: words(queries[name], config.query_length) for name in _QUERIES}
    paths = vocabularies.count(
        vocabularies.entities(inputs, config)
        + vocabularies.tokens(inputs, config)
        + vocabularies.texts(
            titles,
            [queries[name] for name in _COUNTED_QUERIES],
            [query_words[name] for name in _COUNTED_QUERIES],
            config,
        )
    )
    oov_buckets = {names.QUERY: config.query_oov_buckets}
    ngrams = dict.fromkeys((names.TITLE_TOKEN, names.QUERY_TOKEN), config.ngrams)
    look_up = {
        name: Lookup(path, oov_buckets.get(name, 0), ngrams.get(name))
        for name, path in paths.items()
    }

    outputs = dict(inputs) | encoded_vectors(inputs, config)
    for feature, vocabulary in (names.INDEXED | names.declared_tokens(inputs)).items():
        outputs[feature] = look_up[vocabulary](inputs[feature])
    outputs[f.CATALOGUE_TITLE] = look_up[names.TITLE_TOKEN](titles)
    for feature, words_name in _QUERIES.items():
        outputs[feature] = look_up[names.QUERY](queries[feature])
        outputs[words_name] = look_up[names.QUERY_TOKEN](query_words[feature])
    outputs[names.REQUEST_QUERY_TOKENS] = merge_texts(outputs[names.REQUEST_QUERY_TOKENS])
    outputs[f.CATALOGUE_PRICE], outputs[names.CATALOGUE_PRICE_BUCKET] = log_prices(
        inputs[f.CATALOGUE_PRICE], config.price_buckets
    )
    return outputs
