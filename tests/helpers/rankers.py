"""Small rankers with random weights, exported as the Trainer exports them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.helpers.timelines import run_transform
from tests.helpers.timelines import small_log
from tests.helpers.timelines import write_examples

ITEMS = 12
SMALL_DIN = {"family": "din", "dim": 8, "window": 5, "use_event_values": True, "use_time": True}


def export_ranker(
    data: Any, path: Path, model: Mapping[str, Any] = SMALL_DIN, scale: float = 0.15
) -> None:
    """Exports a ranker that has learned nothing.

    Args:
        data: A `TrainingData` to make the model for.
        path: The SavedModel to write.
        model: The section `model` of its configuration.
        scale: Deviation of its weights.
    """
    import tensorflow as tf

    from models.config import RankingTrainerConfig
    from models.families import find_family
    from models.training.replicas import WHOLE

    label = {"source": "events", "negatives": 2}
    config = RankingTrainerConfig.model_validate({"model": dict(model), "label": label})
    tf.keras.utils.set_random_seed(1)
    ranker = find_family(config.model.family).load().of(config, data)
    ranker.compute_loss(next(iter(ranker.training_batches(data, WHOLE))))
    for number, weight in enumerate(ranker.trainable_variables):
        weight.assign(tf.random.stateless_normal(weight.shape, [number, 3]) * scale)
    ranker.export(data.transform.transform_features_layer(), str(path))


def small_data(scratch: Path) -> Any:
    """Returns the `TrainingData` of a log of 8 users and `ITEMS` items, `item:0` and on."""
    import tensorflow_transform as tft

    from models.training.data import TrainingData

    write_examples(scratch / "examples", small_log(users=8, items=ITEMS, events=6))
    folders = run_transform(scratch / "examples", scratch / "transform")
    examples = folders["transformed_examples"]
    files = {
        name: sorted(str(path) for path in (examples / f"Split-{name}").glob("*"))
        for name in ("train", "catalogue", "validation")
    }
    transform = tft.TFTransformOutput(str(folders["transform_graph"]))
    return TrainingData(transform, files["train"], files["catalogue"], files["validation"])
