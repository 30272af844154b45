"""The Trainer: `run_fn` for TFX, and the same training as a function.

    TF_CONFIG=... python -m models.trainer ARGUMENTS.json

is one of several workers, for the arguments that a pipeline's Trainer wrote, which waits for them.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING
from typing import Any

import tensorflow as tf
from absl import logging

from models.config import TRAINERS
from models.config import RetrievalTrainerConfig
from models.config import TrainerConfig
from models.defaults import changed
from models.defaults import is_whole
from models.defaults import resolve
from models.families import find_family
from models.input.log_statistics import log_statistics
from models.training.callbacks import Progress
from models.training.callbacks import Validation
from models.training.checkpoints import Checkpoints
from models.training.checkpoints import fingerprint
from models.training.data import TrainingData
from models.training.learner import Learner
from models.training.learner import seed_everything
from models.training.memory import keep_memory
from models.training.optimizers import make_optimizer
from models.training.replicas import WHOLE
from models.training.replicas import InputPart
from models.training.replicas import is_chief
from models.training.replicas import training_strategy
from models.training.replicas import worker_count
from models.training.warm_start import warm_start

if TYPE_CHECKING:
    from tfx import v1 as tfx

_CATALOGUE = "/Split-catalogue/"
ARGUMENTS = "arguments.json"


def run_fn(fn_args: tfx.components.FnArgs) -> None:
    """Trains as TFX's Trainer asks for, and exports the towers.

    Args:
        fn_args: `train_files` hold the splits `train` and `catalogue`,
            `eval_files` the split `validation`; `custom_config` has the `stage`, as JSON
            the `config` of its Trainer, and the `code_version` that checkpoints of other
            code are told by. `hyperparameters` are values of the configuration that a
            search found, by dotted key. `base_model` is an exported model that training starts
            from: what is served, or what was pretrained.

    Raises:
        ValueError: `TF_CONFIG` names another number of workers than the configuration.
    """
    import tensorflow_transform as tft

    stage = fn_args.custom_config["stage"]
    config = TRAINERS[stage].model_validate_json(fn_args.custom_config["config"])
    if fn_args.hyperparameters:
        config = changed(config, fn_args.hyperparameters)
    if config.workers > 1 and worker_count() not in (1, config.workers):
        raise ValueError(
            f"`TF_CONFIG` names {worker_count()} workers and the configuration {config.workers}: "
            "set `workers` of the Trainer to how many there are."
        )
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    files = _expanded(fn_args.train_files)
    data = TrainingData(
        transform,
        train_files=[name for name in files if _CATALOGUE not in name],
        catalogue_files=[name for name in files if _CATALOGUE in name],
        validation_files=_expanded(fn_args.eval_files),
    )
    # Beside the directories of single runs: a rerun has another one of them.
    runs = os.path.dirname(fn_args.model_run_dir.rstrip("/"))
    checkpoints = os.path.join(runs, "checkpoints")
    arguments = os.path.join(runs, ARGUMENTS)
    if config.workers > worker_count():
        _call_workers(fn_args, arguments, config.workers)
    model, report = train(
        config,
        data,
        run_dir=fn_args.model_run_dir,
        earlier=_earlier_model(fn_args.base_model),
        checkpoints=checkpoints if config.checkpoints else None,
        code_version=fn_args.custom_config.get("code_version", ""),
    )
    if not is_chief() or 1 < worker_count() == config.workers:
        return  # the chief exports, or the Trainer that waits for it
    model.export(transform.transform_features_layer(), fn_args.serving_model_dir)
    tf.io.gfile.makedirs(fn_args.model_run_dir)
    with tf.io.gfile.GFile(os.path.join(fn_args.model_run_dir, "training.json"), "w") as file:
        file.write(json.dumps(report, indent=1))
    if tf.io.gfile.exists(checkpoints):  # what they were for is exported
        tf.io.gfile.rmtree(checkpoints)
    if config.workers > 1:
        tf.io.gfile.remove(arguments)


def train(
    config: TrainerConfig,
    data: TrainingData,
    run_dir: str | None = None,
    earlier: str | None = None,
    checkpoints: str | None = None,
    code_version: str = "",
    callbacks: Sequence[tf.keras.callbacks.Callback] = (),
) -> tuple[Learner, dict[str, Any]]:
    """Trains a model and keeps its best epoch on the validation split.

    Args:
        config: The model and how it is trained; what it leaves out follows from the data.
        data: What it learns from.
        run_dir: Where logs for TensorBoard go; none are written when None.
        earlier: A SavedModel whose weights training starts from, of which frozen parts keep
            theirs; fresh ones when None.
        checkpoints: Where the training is kept after each epoch, and taken up where it was
            killed (`models.training.checkpoints`); nowhere when None.
        code_version: Checkpoints of other code are not taken up.
        callbacks: Called after each epoch's validation, whose metrics are `val_<name>` in the logs.

    Returns:
        The model with the best epoch's weights, and the report of the training
        (`training.json`): the configuration, every value of it that follows from the log
        (`chosen`) and the log's counts (`log`), the best epoch's metrics, what the stage
        measures beside them (popularity's metrics, and both where all users are asked
        without their history), every epoch's metrics, examples, steps and seconds.

    Raises:
        ValueError: No files, no targets or no candidates.
    """
    if config.max_minutes and worker_count() > 1:
        raise ValueError(
            "`max_minutes` is for one worker: several would not stop after the same epoch. "
            "Choose `epochs`, or `validation.patience`."
        )
    strategy = training_strategy()
    seed_everything(config)
    start = time.monotonic()
    config, said = resolved(config, data)
    family = find_family(config.model.family).load()
    with strategy.scope():
        model = family.of(config, data)
    counted = model.count_batches(data)  # also where an epoch ends early: it counts the targets
    steps = config.steps_per_epoch or counted

    def batches_of(part: InputPart, done: int) -> tf.data.Dataset:
        # Without an end: parts of the data have more batches than others, and Keras stops
        # training where a dataset ends early.
        made = model.training_batches(data, part).repeat()
        return made.skip(done * steps * max(1, part.replicas // part.number))

    evaluation = model.validation(data)
    with strategy.scope():
        evaluation.run_one()  # makes the weights
        if earlier:
            warm_start(model, data.transform, earlier)
            model.freeze(getattr(config, "freeze", ()))
        else:
            model.start(data)
        model.compile(optimizer=make_optimizer(config.optimizer, steps * config.epochs))
        # A step that makes variables is traced twice, as what makes them may run only once.
        model.optimizer.build(model.trainable_variables)
        validation = Validation(
            evaluation.evaluate,
            config.validation.monitor,
            config.validation.patience,
            config.max_minutes,
        )
        kept = None
        if checkpoints:
            read = [*data.train_files, *data.catalogue_files, *data.validation_files]
            graph = data.transform.transform_savedmodel_dir
            name = fingerprint(read, config.to_json(), graph, earlier or "", code_version)
            kept = Checkpoints(checkpoints, name, validation)
            if config.workers > worker_count():
                kept.wait()
        if model.learns:
            with keep_memory():
                _fit(model, config, batches_of, steps, validation, kept, run_dir, callbacks)
        final = model.finish(evaluation)
    report = {
        "config": config.model_dump(mode="json"),
        **said,
        "best": validation.best | final,
        **evaluation.report(),
        "epochs": validation.epochs,
        "targets_per_epoch": model.targets_per_epoch,
        "steps_per_epoch": steps,
        "wall_seconds": time.monotonic() - start,
    }
    return model, report


def resolved(config: TrainerConfig, data: TrainingData) -> tuple[TrainerConfig, dict[str, Any]]:
    """Gives every key that was left out its value.

    Args:
        config: What was configured.
        data: What is learned from; it is read where something was left out.

    Returns:
        The configuration, and for the report the values that were `chosen`, each with its
        reason, and the counts of the `log`; nothing where nothing was left out.
    """
    if not isinstance(config, RetrievalTrainerConfig) or is_whole(config):
        return config, {}
    counts = log_statistics(data)
    whole, chosen = resolve(config, counts)
    for key, (value, reason) in chosen.items():
        logging.info("chosen %s %s: %s", key, value, reason)
    report = {key: choice._asdict() for key, choice in chosen.items()}
    return whole, {"chosen": report, "log": dataclasses.asdict(counts)}


def _fit(
    model: Learner,
    config: TrainerConfig,
    batches_of: Callable[[InputPart, int], tf.data.Dataset],
    steps: int,
    validation: Validation,
    checkpoints: Checkpoints | None,
    run_dir: str | None,
    others: Sequence[tf.keras.callbacks.Callback],
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
    callbacks = [Progress(config.input.batch_size, steps, config.epochs), validation, *others]
    if checkpoints:
        callbacks.append(checkpoints)
    if config.tensorboard and run_dir:
        board = tf.keras.callbacks.TensorBoard(run_dir, write_graph=False, profile_batch=0)
        callbacks.append(board)
    logging.info("%s: %d steps an epoch, at most %d epochs", model.name, steps, config.epochs)
    model.fit(
        batches,
        epochs=config.epochs,
        initial_epoch=config.epochs if validation.is_over else done,
        steps_per_epoch=steps,
        callbacks=callbacks,
        verbose=0,
    )


def _call_workers(fn_args: tfx.components.FnArgs, path: str, number: int) -> None:
    """Writes the arguments of a training that others are to do, and says how they start."""
    names = (
        "train_files",
        "eval_files",
        "transform_graph_path",
        "serving_model_dir",
        "model_run_dir",
        "custom_config",
        "base_model",
        "hyperparameters",
    )
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(json.dumps({name: getattr(fn_args, name) for name in names}, indent=1))
    logging.warning(
        "The Trainer waits for %d workers: start `python -m models.trainer %s` on each.",
        number,
        path,
    )


def _earlier_model(base_model: str | None) -> str | None:
    """Returns the SavedModel to start from; None where there is no baseline."""
    if base_model and not tf.io.gfile.exists(os.path.join(base_model, "saved_model.pb")):
        logging.info("warm start: there is no baseline, so training starts afresh")
        return None
    return base_model or None


def _expanded(patterns: Sequence[str]) -> list[str]:
    return sorted(name for pattern in patterns for name in tf.io.gfile.glob(pattern))


def main() -> None:
    """Trains as a worker."""
    if len(sys.argv) != 2 or worker_count() == 1:
        sys.exit("usage: TF_CONFIG=... python -m models.trainer ARGUMENTS.json")
    logging.set_verbosity(logging.INFO)
    with tf.io.gfile.GFile(sys.argv[1]) as file:
        run_fn(SimpleNamespace(**json.loads(file.read())))


if __name__ == "__main__":
    main()
