"""The exported ranker: what a SavedModel of a ranking model answers."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import tensorflow as tf

from models.export.history_codes import CODED_INPUTS
from models.export.history_codes import HistoryCodes
from models.export.requests import CONTEXT_INPUTS
from models.export.requests import QUERY_INPUTS
from models.export.requests import REQUEST_FEATURES
from models.export.requests import as_ragged
from models.export.requests import dense_signature
from models.export.requests import distinct_queries
from models.export.requests import raw_context
from models.export.requests import raw_request
from models.export.requests import row_spec
from models.export.requests import save_signatures
from models.export.requests import words_of_events
from models.input import batch as b
from models.input.catalogue import ENTITY
from models.input.catalogue import candidate_features
from models.input.page_batches import candidate_mask
from models.input.page_batches import page_requests
from transforms import features as f
from transforms import names
from transforms.parsing import page_spec

if TYPE_CHECKING:
    from models.ranking.model import RankingModel

# As `serving.publishing.servable_file` describes it, which this side does not import.
SERVABLE = "servable.json"
_EXAMPLES = tf.TensorSpec([None], tf.string, name="examples")
CANDIDATE_INPUTS = (
    tf.TensorSpec([None, None], tf.string, name="candidate_ids"),
    tf.TensorSpec([None], tf.int64, name="candidate_length"),
    tf.TensorSpec([None, None], tf.string, name="candidate_rows"),
)
RANK_INPUTS = (
    *QUERY_INPUTS,
    tf.TensorSpec([None, None], tf.float32, name="history_values"),
    tf.TensorSpec([None, None], tf.string, name="history_queries"),
    tf.TensorSpec([None, None], tf.int32, name="history_query_index"),
    *CANDIDATE_INPUTS,
)
RANK_CODES_INPUTS = (*CODED_INPUTS, *CONTEXT_INPUTS, *CANDIDATE_INPUTS)


def save_ranker(model: RankingModel, tft_layer: tf.keras.layers.Layer, path: str) -> None:
    """Writes a ranking model as a servable: a SavedModel, and what it says of itself.

    - `serving_default`: `examples` [B] string, raw serialised page examples -> `scores` [B, C].
    - `rank`: the dense `RANK_INPUTS`, histories oldest first -> `scores` [B, C].

    `history_queries` are the distinct queries of a history, and `history_query_index` says which
    of them led to each event; the empty string is no query. With `history_codes` there is also

    - `rank_codes`: `RANK_CODES_INPUTS`, histories as codes -> the same as `rank`.

    Scores are probabilities of the first head, 0 where a page has no candidate; each
    further head is an output of its own name. A candidate whose `candidate_rows` is a
    serialised catalogue row is judged by that, whether or not the export knows it; the
    empty string stands for the exported catalogue.

    Args:
        model: A trained model whose variables exist.
        tft_layer: Transform's graph (`TFTransformOutput.transform_features_layer()`).
        path: The directory to write.
    """
    signatures = {
        "serving_default": _serving_default(model, tft_layer),
        "rank": _rank(model, tft_layer),
    }
    required = ["saved_model.pb", "variables/variables.index", SERVABLE]
    more = {}
    if codes := model.codes_of_histories:
        signatures["rank_codes"] = _rank_codes(model, tft_layer, codes)
        required += codes.vocabularies
        more["history_codes"] = codes.describe()
    save_signatures(signatures, model.saved_weights(), tft_layer, path)
    description = {
        "stage": "ranking",
        "signatures": sorted(signatures),
        "required": required,
        "heads": list(model.heads),
        **more,
    }
    with tf.io.gfile.GFile(os.path.join(path, SERVABLE), "w") as file:
        file.write(json.dumps(description, indent=1, sort_keys=True) + "\n")


def _serving_default(model: RankingModel, tft_layer: tf.keras.layers.Layer) -> tf.function:
    wanted = [*REQUEST_FEATURES, f.EVENT_VALUE, f.CANDIDATE_ENTITY]
    if model.pages.windows.event_query_tokens:
        wanted.append(f.EVENT_QUERY)
    spec = {name: page_spec()[name] for name in wanted}

    @tf.function(input_signature=[_EXAMPLES], autograph=False)
    def serving_default(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        features = tft_layer(tf.io.parse_example(examples, spec))
        return _scores(model, page_requests(features, model.pages.windows))

    return serving_default


def _rank(model: RankingModel, tft_layer: tf.keras.layers.Layer) -> tf.function:
    def rank(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        raw = raw_request(inputs) | _raw_candidates(inputs)
        raw[f.EVENT_VALUE] = as_ragged(inputs["history_values"], inputs["history_length"])
        reads_queries = model.pages.windows.event_query_tokens > 0
        if reads_queries:
            raw[f.EVENT_QUERY] = distinct_queries(inputs["history_queries"])
        features = dict(tft_layer(raw))
        if reads_queries:
            del features[f.EVENT_QUERY]  # of distinct queries, where its neighbours are of events
            index = as_ragged(inputs["history_query_index"], inputs["history_length"])
            words = features[names.EVENT_QUERY_TOKENS]
            features[names.EVENT_QUERY_TOKENS] = words_of_events(words, index)
        return _answer(model, tft_layer, features, inputs)

    return dense_signature(rank, RANK_INPUTS)


def _rank_codes(
    model: RankingModel, tft_layer: tf.keras.layers.Layer, codes: HistoryCodes
) -> tf.function:
    def rank_codes(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        raw = raw_context(inputs) | _raw_candidates(inputs)
        if codes.layout.queries:
            raw[f.EVENT_QUERY] = distinct_queries(inputs["history_queries"])
        features = dict(tft_layer(raw))
        features.pop(f.EVENT_QUERY, None)  # of distinct queries, as above
        events = codes.events(inputs, features.get(names.EVENT_QUERY_TOKENS))
        return _answer(model, tft_layer, features | events, inputs)

    return dense_signature(rank_codes, RANK_CODES_INPUTS)


def _raw_candidates(inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.RaggedTensor]:
    length = inputs["candidate_length"]
    return {f.CANDIDATE_ENTITY: as_ragged(inputs["candidate_ids"], length)}


def _answer(
    model: RankingModel,
    tft_layer: tf.keras.layers.Layer,
    features: Mapping[str, tf.RaggedTensor],
    inputs: Mapping[str, tf.Tensor],
) -> dict[str, tf.Tensor]:
    """Scores the candidates of requests: [B, C] float32 of each head, C as wide as was sent."""
    page = page_requests(dict(features), model.pages.windows)
    rows = as_ragged(inputs["candidate_rows"], inputs["candidate_length"]).flat_values  # [I]
    ids = tf.boolean_mask(page[b.CANDIDATE_ENTITY], candidate_mask(page))
    found = _scores(model, page, _features(model, tft_layer, ids, rows))
    # What was sent may be wider than the longest page.
    beyond = tf.shape(inputs["candidate_ids"])[1] - tf.shape(page[b.CANDIDATE_ENTITY])[1]
    return {name: tf.pad(values, [[0, 0], [0, beyond]]) for name, values in found.items()}


def _features(
    model: RankingModel, tft_layer: tf.keras.layers.Layer, ids: tf.Tensor, rows: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Returns features of candidates: the sent rows' where there is one, else the catalogue's.

    Args:
        model: Holds the exported catalogue.
        tft_layer: Transform's graph.
        ids: [I] int64, entities.
        rows: [I] string, serialised catalogue rows or "".
    """
    items = model.features.items
    known = items.look_up(ids)
    sent = tf.not_equal(rows, "")  # [I]
    spec = row_spec(items.widths)

    def from_rows() -> dict[str, tf.Tensor]:
        given = candidate_features(tft_layer(tf.io.parse_example(rows, spec)), items.widths)
        return {
            name: values
            if name == ENTITY
            else tf.where(sent[:, None], tf.cast(given[name], values.dtype), values)
            for name, values in known.items()
        }

    return tf.cond(tf.reduce_any(sent), from_rows, lambda: known)


def _scores(
    model: RankingModel,
    page: Mapping[str, tf.Tensor],
    features: Mapping[str, tf.Tensor] | None = None,
) -> dict[str, tf.Tensor]:
    probabilities = model.probabilities(page, features)  # [B, C, H]
    heads = ("scores", *model.heads[1:])
    return {name: probabilities[:, :, index] for index, name in enumerate(heads)}
