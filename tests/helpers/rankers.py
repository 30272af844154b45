"""Small rankers: with random weights, as the Trainer exports them, and one that counts."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.helpers.timelines import run_transform
from tests.helpers.timelines import small_log
from tests.helpers.timelines import write_examples

ITEMS = 12
CLICKED = {"source": "events", "negatives": 2}
SMALL_DIN = {"family": "din", "dim": 8, "window": 5, "use_event_values": True, "use_time": True}


def export_ranker(
    data: Any,
    path: Path,
    model: Mapping[str, Any] = SMALL_DIN,
    scale: float = 0.15,
    label: Mapping[str, Any] = CLICKED,
) -> None:
    """Exports a ranker that has learned nothing.

    Args:
        data: A `TrainingData` to make the model for.
        path: The SavedModel to write.
        model: The section `model` of its configuration.
        scale: Deviation of its weights.
        label: The section `label`.
    """
    import tensorflow as tf

    from models.config import RankingTrainerConfig
    from models.families import find_family
    from models.training.replicas import WHOLE

    sections = {"model": dict(model), "label": dict(label)}
    config = RankingTrainerConfig.model_validate(sections)
    tf.keras.utils.set_random_seed(1)
    ranker = find_family(config.model.family).load().of(config, data)
    ranker.compute_loss(next(iter(ranker.training_batches(data, WHOLE))))
    for number, weight in enumerate(ranker.trainable_variables):
        weight.assign(tf.random.stateless_normal(weight.shape, [number, 3]) * scale)
    ranker.export(data.transform.transform_features_layer(), str(path))


def small_data(scratch: Path, train: Sequence[bytes] = (), config: Any = None) -> Any:
    """Returns the `TrainingData`, without validation, of the items `item:0` and on.

    Args:
        scratch: Where the examples go.
        train: Raw timelines; 8 users without impressions when empty.
        config: A `TransformConfig`; the default when None.
    """
    import tensorflow_transform as tft

    from models.training.data import TrainingData

    log = small_log(users=8, items=ITEMS, events=6)
    log["train"] = list(train) or log["train"]
    splits = ("train", "catalogue")  # whose Transform is what takes the time here
    write_examples(scratch / "examples", {name: log[name] for name in splits})
    folders = run_transform(scratch / "examples", scratch / "transform", config)
    examples = folders["transformed_examples"]
    files = {
        name: sorted(str(path) for path in (examples / f"Split-{name}").glob("*"))
        for name in splits
    }
    transform = tft.TFTransformOutput(str(folders["transform_graph"]))
    return TrainingData(transform, files["train"], files["catalogue"], ())


def save_tiny_ranker(path: Path, gate: threading.Event | None = None) -> Any:
    """Saves a ranker that scores an id `...:<number>` by its number / 10, plus the row's bytes.

    Args:
        path: The SavedModel to write.
        gate: Is waited for before each answer.

    Returns:
        What must be kept while it is served with a gate.
    """
    import tensorflow as tf

    from tests.serving.local_server.tiny import RECOMMEND_INPUTS

    query = {n: spec for n, spec in RECOMMEND_INPUTS.items() if not n.startswith("exclude_")}
    inputs = query | {
        "history_values": tf.TensorSpec([None, None], tf.float32, "history_values"),
        "history_queries": tf.TensorSpec([None, None], tf.string, "history_queries"),
        "history_query_index": tf.TensorSpec([None, None], tf.int32, "history_query_index"),
        "candidate_ids": tf.TensorSpec([None, None], tf.string, "candidate_ids"),
        "candidate_length": tf.TensorSpec([None], tf.int64, "candidate_length"),
        "candidate_rows": tf.TensorSpec([None, None], tf.string, "candidate_rows"),
    }

    def wait(scores: np.ndarray) -> np.ndarray:
        assert gate is not None
        gate.wait(60)
        return scores

    class Ranker(tf.Module):
        @tf.function(input_signature=[inputs])
        def rank(self, inputs: Any) -> Any:
            ids = inputs["candidate_ids"]
            rank = tf.strings.to_number(tf.strings.regex_replace(ids, ".*:|^$", "0"))
            rows = tf.cast(tf.strings.length(inputs["candidate_rows"]), tf.float32)
            scores = rank / 10.0 + rows  # [B, C]
            if gate is not None:
                shape = scores.shape
                scores = tf.ensure_shape(tf.numpy_function(wait, [scores], tf.float32), shape)
            return {"scores": scores, "buy": -scores}

    ranker = Ranker()
    tf.saved_model.save(ranker, str(path), signatures={"rank": ranker.rank})
    return ranker
