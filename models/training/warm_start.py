"""Starts a model from an earlier one whose vocabularies were others.

A vocabulary is sorted by frequency, so that a day's increment moves almost every
index. Rows of tables therefore follow their tokens, by name: what was known keeps
its vector, wherever its index went.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
from absl import logging

from transforms import names
from transforms.vocabulary import read_vocabulary

if TYPE_CHECKING:
    import tensorflow_transform as tft

    from models.training.learner import Learner

# Tables of item ids -> which of their rows training knew: of a retrieval model, of a ranker.
_CANDIDATE_IDS = {"ids/table": "ids/known", "features/ids/table": "features/ids/known"}
# The end of a table's name -> the vocabulary of its rows; row 0 is unknown or none. The first
# that fits counts.
_VOCABULARIES = {
    "ids/table": names.ENTITY,
    "history/table": names.ENTITY,
    "item_features/related/table": names.ENTITY,
    "item_features/categories/table": names.CATEGORY,
    "item_features/attributes/table": names.ATTRIBUTE,
    "item_features/title/table": names.TITLE_TOKEN,
    "query_tower/attributes/table": names.USER_ATTRIBUTE,
    "encoder/attributes/table": names.USER_ATTRIBUTE,
    "features/attributes/table": names.USER_ATTRIBUTE,  # of a ranker; after those of items
    "query_tower/words/table": names.QUERY_TOKEN,
    "features/words/table": names.QUERY_TOKEN,
    "types/embeddings": names.EVENT_TYPE,
    "type_bias/embeddings": names.EVENT_TYPE,
}
_DECLARED = re.compile(r"item_features/(token_\w+)/table$")  # named as its vocabulary is
_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


def warm_start(
    model: Learner, transform: tft.TFTransformOutput, saved_model: str
) -> dict[str, int]:
    """Gives a model the weights of an earlier one.

    Rows of a table keep their vectors where the earlier model knew their tokens, those of
    items that are no targets today, too. An item that is new, or was no target then either, gets
    the earlier model's vector of the unknown item: with it, its catalogue features
    decide, as they did for every item that the earlier model did not know. Other new tokens
    keep their initial vectors.
    Weights without rows of a vocabulary are copied where shapes agree.

    Args:
        model: A model whose weights exist.
        transform: What Transform wrote for it.
        saved_model: Exported towers, a servable made of them, or a ranker; a path that
            TensorFlow reads.

    Returns:
        How many `weights` were taken over whole, how many `rows` of tables, and how many
        weights were `left` as they were.

    Raises:
        ValueError: The directory holds no weights of such a model.
    """
    earlier = read_weights(saved_model)
    taken = {"weights": 0, "rows": 0, "left": 0}
    flags = {variable.name.partition(":")[0]: variable for variable in model.variables}
    for variable in (*model.trainable_variables, *model.fitted_weights()):
        name = variable.name.partition(":")[0]
        old = earlier.get(name)
        vocabulary = _vocabulary_of(name)
        if old is None or old.shape[1:] != tuple(variable.shape[1:]):
            logging.warning("warm start: %s has no counterpart of its shape", name)
            taken["left"] += 1
        elif vocabulary:
            is_candidates = name in _CANDIDATE_IDS
            known = earlier.get(_CANDIDATE_IDS[name]) if is_candidates else None
            rows = _old_rows(transform, os.path.join(saved_model, "assets", vocabulary), vocabulary)
            kept = _kept(rows, len(old), known)
            variable.assign(_follow(variable.numpy(), old, rows, kept, is_candidates))
            taken["rows"] += int(kept.sum())
            if is_candidates:
                flag = flags[_CANDIDATE_IDS[name]]
                flag.assign(flag.numpy() | (kept & (rows > 0)))
        elif old.shape == tuple(variable.shape):
            variable.assign(old)
            taken["weights"] += 1
        else:
            logging.warning("warm start: %s was %s, is %s", name, old.shape, variable.shape)
            taken["left"] += 1
    logging.info("warm start: %s", taken)
    return taken


def _vocabulary_of(weight: str) -> str | None:
    """Returns the vocabulary of a table's rows, or None for a weight without any."""
    if found := _DECLARED.search(weight):
        return found[1]
    return next((v for end, v in _VOCABULARIES.items() if weight.endswith(end)), None)


def _kept(rows: np.ndarray, number: int, known: np.ndarray | None) -> np.ndarray:
    """Says which rows of a new table have an old vector.

    Args:
        rows: [V + 1] int, the old row of each new one; -1 for a new token.
        number: W + 1, rows of the old table.
        known: [W + 1] bool, the items that the earlier model had as targets; None
            for tables of which every row was trained.

    Returns:
        [V + 1] bool.
    """
    kept = (rows >= 0) & (rows < number)
    if known is not None:
        kept &= known[np.where(kept, rows, 0)] | (np.arange(len(rows)) == 0)
    return kept


def _follow(
    fresh: np.ndarray, old: np.ndarray, rows: np.ndarray, kept: np.ndarray, unknown_first: bool
) -> np.ndarray:
    """Makes a table of old rows at their new indices.

    Args:
        fresh: [V + 1, d], the new table as it was initialised.
        old: [W + 1, d].
        rows: [V + 1] int, the old row of each new one.
        kept: [V + 1] bool, which rows have one.
        unknown_first: Whether row 0 stands for what has none.

    Returns:
        [V + 1, d].
    """
    others = old[:1] if unknown_first else fresh
    return np.where(kept[:, None], old[np.where(kept, rows, 0)], others).astype(fresh.dtype)


def _old_rows(transform: tft.TFTransformOutput, old_file: str, vocabulary: str) -> np.ndarray:
    """Returns for each row of the new vocabulary its old one, [V + 1] int; -1 where it is new."""
    new = read_vocabulary(transform.vocabulary_file_by_name(vocabulary))
    if not tf.io.gfile.exists(old_file):
        logging.warning("warm start: there is no %s, so that all its rows are new", old_file)
        return np.array([0] + [-1] * len(new))
    indices: Mapping[bytes, int] = {
        token: index for index, token in enumerate(read_vocabulary(old_file), 1)
    }
    return np.array([0] + [indices.get(token, -1) for token in new])


def read_weights(saved_model: str) -> dict[str, np.ndarray]:
    """Returns the weights of an exported model by the names that they had in the model."""
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    path = os.path.join(saved_model, "variables", "variables")
    try:
        reader = tf.train.load_checkpoint(path)
        graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(
            reader.get_tensor(_OBJECT_GRAPH)
        )
    except (tf.errors.OpError, ValueError) as error:
        raise ValueError(
            f"{saved_model} should hold an exported model to start from: {error}. Leave "
            "`warm_start` off, or push a model of this kind first."
        ) from error
    attributes = [attribute for node in graph.nodes for attribute in node.attributes]
    found = {
        attribute.full_name: reader.get_tensor(attribute.checkpoint_key)
        for attribute in attributes
        if "weights/" in attribute.checkpoint_key
    }
    if not any(name in found for name in _CANDIDATE_IDS):
        raise ValueError(
            f"{saved_model} holds none of the weights {', '.join(_CANDIDATE_IDS)}: it is no "
            "model of ours."
        )
    return found
