"""The Trainer: `run_fn` for TFX, and the same training as a function."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from models.config import TrainerConfig
from models.export.towers import save_towers
from models.input.catalogue import load_catalogue
from models.input.target_batches import evaluation_batches
from models.input.target_batches import target_frequencies
from models.input.target_rule import TargetRule
from models.input.vocabulary_sizes import Sizes
from models.retrieval.catalogue_ranking import CatalogueRanking
from models.retrieval.model import RetrievalModel
from models.sequence.model import SequenceModel
from models.training.callbacks import Progress
from models.training.callbacks import Validation
from models.training.checkpoints import Checkpoints
from models.training.checkpoints import fingerprint
from models.training.memory import keep_memory
from models.training.optimizers import make_optimizer
from models.training.replicas import WHOLE
from models.training.replicas import InputPart
from models.training.replicas import is_chief
from models.training.replicas import training_strategy
from models.training.replicas import worker_count
from models.training.warm_start import warm_start
from models.two_tower.model import TwoTower
from transforms import names
from transforms.vocabulary import target_counts

if TYPE_CHECKING:
    import tensorflow_transform as tft
    from tfx import v1 as tfx

_CATALOGUE = "/Split-catalogue/"
_MODELS: dict[str, type[RetrievalModel]] = {"two_tower": TwoTower, "sequence": SequenceModel}


def run_fn(fn_args: tfx.components.FnArgs) -> None:
    """Trains as TFX's Trainer asks for, and exports the towers.

    Args:
        fn_args: `train_files` hold the splits `train` and `catalogue`,
            `eval_files` the split `validation`; `custom_config["config"]` is a
            `TrainerConfig` as JSON, `custom_config["code_version"]` what checkpoints of
            other code are told by.
    """
    import tensorflow_transform as tft

    config = TrainerConfig.model_validate_json(fn_args.custom_config["config"])
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    files = _expanded(fn_args.train_files)
    # Beside the directories of single runs: a rerun has another one of them.
    checkpoints = os.path.join(os.path.dirname(fn_args.model_run_dir.rstrip("/")), "checkpoints")
    model, report = train(
        config,
        transform,
        train_files=[name for name in files if _CATALOGUE not in name],
        catalogue_files=[name for name in files if _CATALOGUE in name],
        validation_files=_expanded(fn_args.eval_files),
        run_dir=fn_args.model_run_dir,
        earlier=_earlier_model(config, fn_args.base_model),
        checkpoints=checkpoints if config.checkpoints and worker_count() == 1 else None,
        code_version=fn_args.custom_config.get("code_version", ""),
    )
    if not is_chief():
        return
    save_towers(model, transform.transform_features_layer(), fn_args.serving_model_dir)
    tf.io.gfile.makedirs(fn_args.model_run_dir)
    with tf.io.gfile.GFile(os.path.join(fn_args.model_run_dir, "training.json"), "w") as file:
        file.write(json.dumps(report, indent=1))
    if tf.io.gfile.exists(checkpoints):  # what they were for is exported
        tf.io.gfile.rmtree(checkpoints)


def train(
    config: TrainerConfig,
    transform: tft.TFTransformOutput,
    train_files: Sequence[str],
    catalogue_files: Sequence[str],
    validation_files: Sequence[str],
    run_dir: str | None = None,
    earlier: str | None = None,
    checkpoints: str | None = None,
    code_version: str = "",
) -> tuple[RetrievalModel, dict[str, Any]]:
    """Trains a model and keeps its best epoch on the validation split.

    Args:
        config: The model and how it is trained.
        transform: What Transform wrote.
        train_files: Transformed timelines to cut targets from.
        catalogue_files: The transformed catalogue.
        validation_files: Transformed timelines with held-out targets.
        run_dir: Where logs for TensorBoard go; none are written when None.
        earlier: A SavedModel whose weights training starts from; fresh ones when None.
        checkpoints: Where the training is kept after each epoch, and taken up where it was
            killed (`models.training.checkpoints`); nowhere when None.
        code_version: Checkpoints of other code are not taken up.

    Returns:
        The model with the best epoch's weights, and the report of the training
        (`training.json`): the configuration, the best epoch's metrics and popularity's
        beside them, both also where all users are asked without their history,
        every epoch's metrics, examples, steps and seconds.

    Raises:
        ValueError: No files, no targets or no candidates.
    """
    if config.max_minutes and worker_count() > 1:
        raise ValueError(
            "`max_minutes` is for one worker: several would not stop after the same epoch. "
            "Choose `epochs`, or `validation.patience`."
        )
    keep_memory()
    strategy = training_strategy()
    _seed(config)
    start = time.monotonic()
    spec, sizes = transform.transformed_feature_spec(), Sizes.of(transform)
    counts = target_counts(transform)
    counts[0] = 0
    rule = TargetRule(counts > 0, _indices(transform, config.target_events))
    if rule.types == ():
        raise ValueError(
            f"Expected `target_events` to name event types of the log, received "
            f"{list(config.target_events)}, none of which it has. Choose some of its event types, "
            "and the same for the example generator and Transform, or `*` for all."
        )
    drawn = counts.astype(np.float64)
    if config.input.targets_per_timeline:
        limit = config.input.targets_per_timeline
        drawn = target_frequencies(train_files, spec, rule, limit)
    table = load_catalogue(catalogue_files, spec, sizes.entity, config.towers.candidate)
    seen = _indices(transform, config.exclude_seen)
    with strategy.scope():
        model = _MODELS[config.model](config, sizes, table, drawn, seen)
    steps = config.steps_per_epoch or model.count_batches(train_files, spec, rule)

    def batches_of(part: InputPart, done: int) -> tf.data.Dataset:
        # Without an end: parts of the data have more batches than others, and Keras stops
        # training where a dataset ends early.
        made = model.training_batches(train_files, spec, rule, part).repeat()
        return made.skip(done * steps * max(1, part.replicas // part.number))

    held_out = evaluation_batches(validation_files, spec, model.window_spec(training=False))
    ranking = CatalogueRanking(
        held_out,
        table.candidates(config.candidate_types),
        sizes.entity,
        config.validation.k,
        config.validation.users,
        table.available_from,
    )
    with strategy.scope():
        ranking.embed_one(model.embed_queries, model.embed_items)  # makes the weights
        if earlier:
            warm_start(model, transform, earlier)
        model.compile(optimizer=make_optimizer(config.optimizer, steps * config.epochs))
        validation = _validation(model, config, ranking)
        kept = None
        if checkpoints:
            read = [*train_files, *catalogue_files, *validation_files]
            graph = transform.transform_savedmodel_dir
            name = fingerprint(read, config.to_json(), graph, earlier or "", code_version)
            kept = Checkpoints(checkpoints, name, validation)
        _fit(model, config, batches_of, steps, validation, kept, run_dir)
    report = {
        "config": config.model_dump(mode="json"),
        "best": validation.best,
        "most_popular": ranking.evaluate_popularity(counts),
        "without_history": {
            "best": ranking.evaluate(model.embed_queries, model.embed_items, without_history=True),
            "most_popular": ranking.evaluate_popularity(counts, without_history=True),
        },
        "epochs": validation.epochs,
        "targets_per_epoch": float(drawn.sum()),
        "steps_per_epoch": steps,
        "wall_seconds": time.monotonic() - start,
    }
    return model, report


def _validation(
    model: RetrievalModel, config: TrainerConfig, ranking: CatalogueRanking
) -> Validation:
    embed_queries = tf.function(model.embed_queries, reduce_retracing=True)
    embed_items = tf.function(model.embed_items, reduce_retracing=True)
    return Validation(
        lambda: ranking.evaluate(embed_queries, embed_items),
        config.validation.watch,
        config.validation.patience,
        config.max_minutes,
    )


def _fit(
    model: RetrievalModel,
    config: TrainerConfig,
    batches_of: Callable[[InputPart, int], tf.data.Dataset],
    steps: int,
    validation: Validation,
    checkpoints: Checkpoints | None,
    run_dir: str | None,
) -> None:
    """Trains for the epochs that an earlier process has not had."""
    done = checkpoints.restore(model) if checkpoints else 0
    strategy = tf.distribute.get_strategy()
    if strategy.num_replicas_in_sync > 1:
        batches = strategy.distribute_datasets_from_function(
            lambda context: batches_of(InputPart.of(context), done)
        )
    else:
        batches = batches_of(WHOLE, done)
    callbacks = [Progress(config.input.batch_size, steps, config.epochs), validation]
    if checkpoints:
        callbacks.append(checkpoints)
    if config.tensorboard and run_dir:
        board = tf.keras.callbacks.TensorBoard(run_dir, write_graph=False, profile_batch=0)
        callbacks.append(board)
    logging.info("%s: %d steps an epoch, at most %d epochs", config.model, steps, config.epochs)
    model.fit(
        batches,
        epochs=config.epochs,
        initial_epoch=config.epochs if validation.is_over else done,
        steps_per_epoch=steps,
        callbacks=callbacks,
        verbose=0,
    )


def _earlier_model(config: TrainerConfig, base_model: str | None) -> str | None:
    """Returns the SavedModel to start from; None where there is no baseline."""
    if not config.warm_start:
        return None
    if not base_model or not tf.io.gfile.exists(os.path.join(base_model, "saved_model.pb")):
        logging.info("warm start: there is no baseline, so training starts afresh")
        return None
    return base_model


def _seed(config: TrainerConfig) -> None:
    tf.keras.utils.set_random_seed(config.seed)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()


def _indices(
    transform: tft.TFTransformOutput, event_types: Sequence[str]
) -> tuple[int, ...] | None:
    """Returns the indices of event types, None for all of them (`*`)."""
    if "*" in event_types:
        return None
    known = [name.decode() for name in transform.vocabulary_by_name(names.EVENT_TYPE)]
    absent = sorted(set(event_types) - set(known))
    if absent:
        logging.warning("no event of the types %s; the log has %s", absent, known)
    return tuple(known.index(name) + 1 for name in event_types if name in known)


def _expanded(patterns: Sequence[str]) -> list[str]:
    return sorted(name for pattern in patterns for name in tf.io.gfile.glob(pattern))
