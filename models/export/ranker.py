"""The exported ranker: what a SavedModel of a ranking model answers."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import tensorflow as tf
from absl import logging

from models.export.requests import QUERY_INPUTS
from models.export.requests import REQUEST_FEATURES
from models.export.requests import as_ragged
from models.export.requests import dense_signature
from models.export.requests import raw_request
from models.export.requests import row_spec
from models.export.requests import save_signatures
from models.input import batch as b
from models.input.catalogue import ENTITY
from models.input.catalogue import candidate_features
from models.input.page_batches import candidate_mask
from models.input.page_batches import page_requests
from transforms import features as f
from transforms.parsing import page_spec

if TYPE_CHECKING:
    from models.ranking.model import RankingModel

# As `serving.publishing.servable_file` describes it, which this side does not import.
SERVABLE = "servable.json"
_EXAMPLES = tf.TensorSpec([None], tf.string, name="examples")
RANK_INPUTS = (
    *QUERY_INPUTS,
    tf.TensorSpec([None, None], tf.float32, name="history_values"),
    tf.TensorSpec([None, None], tf.string, name="candidate_ids"),
    tf.TensorSpec([None], tf.int64, name="candidate_length"),
    tf.TensorSpec([None, None], tf.string, name="candidate_rows"),
)


def save_ranker(model: RankingModel, tft_layer: tf.keras.layers.Layer, path: str) -> None:
    """Writes a ranking model as a servable: a SavedModel, and what it says of itself.

    - `serving_default`: `examples` [B] string, raw serialised page examples -> `scores` [B, C].
    - `rank`: the dense `RANK_INPUTS`, histories oldest first -> `scores` [B, C].

    `rank` has no place for the queries of events yet: a model that reads them scores there as if
    no event had one, which is logged, and the serving validator refuses it where events have.

    Scores are probabilities of the first head, 0 where a page has no candidate; each
    further head is an output of its own name. A candidate whose `candidate_rows` is a
    serialised catalogue row is judged by that, whether or not the export knows it; the
    empty string stands for the exported catalogue.

    Args:
        model: A trained model whose variables exist.
        tft_layer: Transform's graph (`TFTransformOutput.transform_features_layer()`).
        path: The directory to write.
    """
    if model.pages.windows.event_query_tokens:
        logging.warning(
            "`use_event_query`: requests of `rank` do not carry the queries of events, which are "
            "read by `serving_default` alone."
        )
    signatures = {
        "serving_default": _serving_default(model, tft_layer),
        "rank": _rank(model, tft_layer),
    }
    save_signatures(signatures, model.saved_weights(), tft_layer, path)
    description = {
        "stage": "ranking",
        "signatures": sorted(signatures),
        "required": ["saved_model.pb", "variables/variables.index", SERVABLE],
        "heads": list(model.heads),
    }
    with tf.io.gfile.GFile(os.path.join(path, SERVABLE), "w") as file:
        file.write(json.dumps(description, indent=1, sort_keys=True) + "\n")


def _serving_default(model: RankingModel, tft_layer: tf.keras.layers.Layer) -> tf.function:
    wanted = [*REQUEST_FEATURES, f.EVENT_VALUE, f.CANDIDATE_ENTITY]
    if model.pages.windows.event_query_tokens:
        wanted.append(f.EVENT_QUERY)
    spec = {name: page_spec()[name] for name in wanted}

    @tf.function(input_signature=[_EXAMPLES])
    def serving_default(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        features = tft_layer(tf.io.parse_example(examples, spec))
        return _scores(model, page_requests(features, model.pages.windows))

    return serving_default


def _rank(model: RankingModel, tft_layer: tf.keras.layers.Layer) -> tf.function:
    def rank(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        raw, length = raw_request(inputs), inputs["candidate_length"]
        raw[f.EVENT_VALUE] = as_ragged(inputs["history_values"], inputs["history_length"])
        raw[f.CANDIDATE_ENTITY] = as_ragged(inputs["candidate_ids"], length)
        if model.pages.windows.event_query_tokens:
            raw[f.EVENT_QUERY] = tf.ragged.map_flat_values(tf.zeros_like, raw[f.EVENT_ENTITY])
        page = page_requests(tft_layer(raw), model.pages.windows)
        rows = as_ragged(inputs["candidate_rows"], length).flat_values  # [I]
        ids = tf.boolean_mask(page[b.CANDIDATE_ENTITY], candidate_mask(page))
        found = _scores(model, page, _features(model, tft_layer, ids, rows))
        # As wide as what was sent, which may be wider than the longest page.
        beyond = tf.shape(inputs["candidate_ids"])[1] - tf.shape(page[b.CANDIDATE_ENTITY])[1]
        return {name: tf.pad(values, [[0, 0], [0, beyond]]) for name, values in found.items()}

    return dense_signature(rank, RANK_INPUTS)


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
    names = ("scores", *model.heads[1:])
    return {name: probabilities[:, :, index] for index, name in enumerate(names)}
