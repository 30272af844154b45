"""Trains a ranking model on transformed timelines and measures it on the split `test_pages`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from unittest import mock

from models.config import PretrainingTrainerConfig
from models.config import RankingTrainerConfig
from tfx_pipeline.runners.transformed import Transformed
from transforms.features import PAGE_SPLITS

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf

    from models.ranking.model import PageEvaluation
    from models.training.data import TrainingData

VALIDATION, TEST = PAGE_SPLITS


def run_ranking(
    config: RankingTrainerConfig,
    data: Transformed,
    control: bool = False,
    export: Path | None = None,
    earlier: Path | None = None,
    rare: int | None = None,
    compare: Callable[[PageEvaluation], dict[str, float]] | None = None,
) -> dict[str, Any]:
    """Trains, chooses the epoch and calibrates on `validation_pages`, and tests.

    Args:
        config: What is trained.
        data: The timelines and page examples.
        control: Whether every page gets the history of another page.
        export: Where the SavedModel is written; nowhere when None.
        earlier: A SavedModel whose weights training starts from; fresh ones when None.
        rare: Candidates that training has at most so often are measured apart, too; None leaves
            that out.
        compare: Measures the trained model on the test split in another way.

    Returns:
        The report of `models.trainer.train`, and the best epoch's metrics on the
        test split as `test`; with `rare` also `auc_rare` and `candidates_rare` there, and what
        `compare` returns.
    """
    import tensorflow as tf

    from models.input.timeline_files import held_in_memory
    from models.ranking import model as ranking
    from models.trainer import train
    from models.training.data import TrainingData

    tf.keras.backend.clear_session()
    transform = data.output()
    splits = (data.files(name) for name in ("train", "catalogue", VALIDATION))
    given = TrainingData(transform, *splits)
    with exchanged_histories() if control else contextlib.nullcontext():
        model, report = train(config, given, earlier=str(earlier) if earlier else None)
        assert isinstance(model, ranking.RankingModel)
        batches = ranking.evaluation_pages(data.files(TEST), given.spec, model.pages)
        evaluation = ranking.PageEvaluation(model, held_in_memory(batches))
        scored = evaluation.scored()
        report["test"] = evaluation.metrics(*scored)
        if rare is not None:
            chosen = rare_candidates(evaluation.batches, given, rare)
            found = evaluation.metrics(*(values[chosen] for values in scored))
            report["test"] |= {f"{name}_rare": found[name] for name in ("auc", "candidates")}
        if compare:
            report["test"] |= compare(evaluation)
    if export:
        model.export(transform.transform_features_layer(), str(export))
    return report


def rare_candidates(
    batches: Iterable[Mapping[str, tf.Tensor]], data: TrainingData, most: int
) -> np.ndarray:
    """Says which candidates training has at most so often, as events or impressions.

    Args:
        batches: Of pages.
        data: What was learned from.
        most: How often.

    Returns:
        [n] bool, of all candidates of all pages.
    """
    import numpy as np
    import tensorflow as tf

    from models.input import batch as b
    from models.input.page_batches import candidate_mask
    from models.input.page_batches import count_items

    counts = count_items(data.train_files, data.spec, data.sizes.entity)
    ids = [tf.boolean_mask(batch[b.CANDIDATE_ENTITY], candidate_mask(batch)) for batch in batches]
    return np.concatenate([counts[part.numpy()] <= most for part in ids])


def pretrain(config: PretrainingTrainerConfig, data: Transformed, export: Path) -> dict[str, Any]:
    """Trains and writes a model for `run_ranking` to start from.

    Args:
        config: What is trained.
        data: The timelines and page examples.
        export: Where the SavedModel is written.

    Returns:
        The report of `models.trainer.train`.
    """
    import tensorflow as tf

    from models.trainer import train
    from models.training.data import TrainingData

    tf.keras.backend.clear_session()
    transform = data.output()
    splits = (data.files(name) for name in ("train", "catalogue", VALIDATION))
    model, report = train(config, TrainingData(transform, *splits))
    model.export(transform.transform_features_layer(), str(export))
    return report


def is_same_ranking(kept: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Returns whether two Trainer's configurations say the same; see `Results`."""
    try:
        return RankingTrainerConfig.model_validate(kept) == RankingTrainerConfig.model_validate(
            wanted
        )
    except ValueError:  # an option that the kept one has is gone
        return False


def exchange_histories(batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Gives each page of a batch the history of the page that is half the batch away.

    Training pages are shuffled across users; held-out pages come user by user, and few
    users have as many as half a batch.
    """
    import tensorflow as tf

    from models.input import batch as b

    half = tf.shape(batch[b.HISTORY_LENGTH])[0] // 2
    return {
        name: tf.roll(values, half, axis=0) if name.startswith(b.HISTORY_PREFIXES) else values
        for name, values in batch.items()
    }


@contextlib.contextmanager
def exchanged_histories() -> Iterator[None]:
    """Lets ranking models read batches with exchanged histories, in training and evaluation."""
    from models.ranking import model as ranking

    own, held_out = ranking.page_batches, ranking.evaluation_pages

    def exchanged(batches: tf.data.Dataset) -> tf.data.Dataset:
        return batches.map(exchange_histories)

    with (
        mock.patch.object(ranking, "page_batches", lambda *given: exchanged(own(*given))),
        mock.patch.object(ranking, "evaluation_pages", lambda *given: exchanged(held_out(*given))),
    ):
        yield
