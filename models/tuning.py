"""Search for hyperparameters with Optuna: seeded, resumable, bad trials stopped early."""

from __future__ import annotations

import functools
import gc
import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from absl import logging

from models.config import RetrievalTrainerConfig
from models.config import TrainerConfig
from models.defaults import changed
from models.defaults import keys_of
from models.defaults import read
from models.search_space import Choices
from models.search_space import Space

if TYPE_CHECKING:
    import optuna

    from models.training.data import TrainingData

Report = Callable[[int, float], None]
# Trains a configuration, reports each epoch's metric, and returns the best epoch's.
Train = Callable[[TrainerConfig, Report], float]
MINIMISED = ("log_loss",)
_DEFAULT = "default"  # marks the trial of the configuration as it was given
_CUT = "cut"  # marks a trial that the end of the time cut, with the metric it had by then


class _NotEnded(Exception):
    """Makes Optuna keep a trial as failed, of which neither sampler nor pruner learns."""


@dataclass(frozen=True)
class Tuned:
    """The best trial of a search.

    Attributes:
        values: By dotted key of the Trainer's configuration.
        metric: Which was compared, on the validation split.
        best: Its value.
        default: That of the configuration as it was given; None if its trial never ended.
        trials: Ended trials, those stopped early included.
        stopped: Of these, how many were stopped early.
        cut: Trials beside these that the end of the time cut. One may be the best.
    """

    values: dict[str, Any]
    metric: str
    best: float
    default: float | None
    trials: int
    stopped: int
    cut: int = 0

    def __str__(self) -> str:
        found = f"{self.metric} {self.best:.4f} on validation"
        count = f"{self.trials} trials, {self.stopped} of them stopped early"
        if self.cut:
            count += f", and {self.cut} that the end of the time cut"
        if self.default is None:
            return f"{found} ({count}); the configuration as it was given has no whole trial yet"
        gain = f" ({self.best / self.default - 1.0:+.1%})" if self.default else ""
        return f"{found}, {self.default:.4f} before{gain}; {count}"


def search_space(config: TrainerConfig) -> Space:
    """Returns what is searched: the family's table, with the given values in it.

    Keys that the configuration does not have (the negatives of a full softmax) are left out,
    as are windows beyond the context of a chunk.
    """
    values = config.model_dump(mode="json")
    space = {
        key: among.including(read(values, key))
        for key, among in config.model.SEARCH.items()
        if read(values, key) is not None
    }
    if isinstance(config, RetrievalTrainerConfig):
        key = f"model.{config.model.WINDOW_KEY}"
        window = space.get(key)
        if isinstance(window, Choices):
            fits = tuple(one for one in window.values if one <= config.context_events)
            space[key] = Choices(fits)
        if not config.model.normalize:
            space.pop("model.temperature", None)  # the lengths learn it
    return space


def tune(
    config: TrainerConfig,
    train: Train,
    storage: Path,
    data: str,
    minutes: float,
    trials: int | None = None,
) -> Tuned:
    """Searches, going on where an earlier search of the same configuration and data ended.

    Args:
        config: Whole: nothing in it follows from the log any more. It is the first trial.
        train: Trains one trial.
        storage: SQLite file of the trials; made when absent.
        data: Name of the data; trials on other data do not count.
        minutes: No trial begins after so many, and one that runs ends after its epoch.
        trials: Most ended trials, those of earlier searches included.

    Returns:
        The best of all trials. Ctrl-C ends the search, and the best so far is returned.

    Raises:
        RuntimeError: No trial ended.
        Exception: What the first trial failed by. Where a later one fails by its values, the
            log says so and the search goes on.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # trials that fail are told of here
    metric = config.validation.monitor
    storage.parent.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(f"{config.to_json()} {data}".encode()).hexdigest()[:16]
    study = optuna.create_study(
        study_name=name,
        storage=f"sqlite:///{storage.absolute()}",
        load_if_exists=True,
        direction="minimize" if metric in MINIMISED else "maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2),
    )
    # The draws of a search that goes on are others than its first ones.
    study.sampler = optuna.samplers.TPESampler(seed=config.seed + len(study.trials))
    _forget_killed(study)
    space = search_space(config)
    _begin_with_default(study, config, space)
    left = None if trials is None else max(0, trials - len(_ended(study)))
    deadline = time.monotonic() + 60.0 * minutes

    def stop_in_time(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        if time.monotonic() >= deadline:
            study.stop()

    objective = _objective(config, space, train, deadline)
    try:
        if left != 0:
            study.optimize(objective, left, catch=_NotEnded, callbacks=[stop_in_time])
    except KeyboardInterrupt:
        logging.warning("stopped; the same command goes on")
    return _best(study, config, metric)


def tune_on(
    data: TrainingData,
    config: TrainerConfig,
    storage: Path,
    name: str,
    minutes: float,
    trials: int | None = None,
) -> Tuned:
    """Searches with trainings on some data; see `tune`.

    Args:
        data: What trials learn from and are compared on.
        config: A Trainer's; what it leaves out follows from the data.
        storage: SQLite file of the trials.
        name: Name of the data.
        minutes: No trial begins after so many.
        trials: Most ended trials.

    Raises:
        ValueError: The validation split is empty.
        RuntimeError: No trial ended.
    """
    from models.trainer import resolved

    require_validation(data)
    whole, _ = resolved(config, data)
    train = functools.partial(train_trial, data)
    return tune(whole, train, storage, name, minutes, trials)


def train_trial(data: TrainingData, config: TrainerConfig, report: Report) -> float:
    """Trains one trial; returns the best epoch's metric."""
    import tensorflow as tf

    from models.trainer import train
    from models.training.callbacks import EpochReport

    tf.keras.backend.clear_session()  # graphs of the trials before
    gc.collect()
    monitor = config.validation.monitor
    _, made = train(config, data, callbacks=[EpochReport(monitor, report)])
    return float(made["best"][monitor])


def require_validation(data: TrainingData) -> None:
    """Looks whether there is anything to compare trials on.

    Raises:
        ValueError: The validation split is empty.
    """
    from models.input.timeline_files import timeline_records

    if not data.validation_files or not any(True for _ in timeline_records(data.validation_files)):
        raise ValueError(
            "Expected users in the validation split, found none, so that trials cannot be "
            "compared. Raise `timeline.validation_days`, or set `timeline.split: leave-last-out`."
        )


def _objective(
    config: TrainerConfig, space: Space, train: Train, deadline: float
) -> Callable[[optuna.Trial], float]:
    """Makes what Optuna calls for a trial."""
    import optuna

    failures = _failures()

    def objective(trial: optuna.Trial) -> float:
        params = {key: _suggest(trial, key, among) for key, among in space.items()}
        # A trial ends after the epoch in which the time is up.
        left = max((deadline - time.monotonic()) / 60.0, 1e-3)
        minutes = min(left, config.max_minutes or left)
        try:
            alone = {"max_minutes": minutes, "tensorboard": False, "workers": 1}
            chosen = changed(config, params | alone)
        except ValueError as error:
            raise optuna.TrialPruned(f"values that exclude each other: {error}") from error
        cut = False

        def report(epoch: int, value: float) -> None:
            nonlocal cut
            cut = epoch < (chosen.epochs or 0) and time.monotonic() >= deadline
            trial.report(value, epoch)
            if _DEFAULT not in trial.user_attrs and trial.should_prune():
                raise optuna.TrialPruned

        try:
            value = _trained(train, chosen, report)
        except failures as error:
            if _DEFAULT in trial.user_attrs:
                raise
            # TensorFlow's errors have no message in their `repr`, others no name in their `str`.
            told = f"{type(error).__name__}: {error}"
            logging.warning("trial %d failed by its values, %s: %s", trial.number, params, told)
            raise _NotEnded from error
        logging.info(
            "trial %d: %s %.4f, %s", trial.number, config.validation.monitor, value, params
        )
        if cut:  # a figure of fewer epochs than others have
            trial.set_user_attr(_CUT, value)
            raise _NotEnded
        return value

    return objective


def _failures() -> tuple[type[Exception], ...]:
    """Returns what a training raises where its values are bad: too large, or not for this data."""
    import tensorflow as tf

    return (ValueError, MemoryError, tf.errors.OpError)


def _trained(train: Train, config: TrainerConfig, report: Report) -> float:
    value = train(config, report)
    if math.isnan(value):
        raise ValueError(f"`{config.validation.monitor}` is not a number on the validation split")
    return value


def _suggest(trial: optuna.Trial, key: str, among: Any) -> Any:
    if isinstance(among, Choices):
        return trial.suggest_categorical(key, among.values)
    return trial.suggest_float(key, among.low, among.high, log=among.log)


def _forget_killed(study: optuna.Study) -> None:
    """Marks trials as failed whose process was killed."""
    import optuna

    state = optuna.trial.TrialState
    for trial in study.get_trials(deepcopy=False, states=(state.RUNNING,)):
        study.tell(trial.number, state=state.FAIL)


def _begin_with_default(study: optuna.Study, config: TrainerConfig, space: Space) -> None:
    """Queues the configuration as it was given, unless its trial ended or waits."""
    import optuna

    state = optuna.trial.TrialState
    there = study.get_trials(deepcopy=False, states=(state.COMPLETE, state.WAITING))
    if not any(_DEFAULT in trial.user_attrs for trial in there):
        values = config.model_dump(mode="json")
        params = {key: read(values, key) for key in space}
        study.enqueue_trial(params, user_attrs={_DEFAULT: True})


def _ended(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    import optuna

    state = optuna.trial.TrialState
    return study.get_trials(deepcopy=False, states=(state.COMPLETE, state.PRUNED))


def _best(study: optuna.Study, config: TrainerConfig, metric: str) -> Tuned:
    """Returns the best trial, and with it what followed from the log."""
    import optuna

    state = optuna.trial.TrialState
    complete = study.get_trials(deepcopy=False, states=(state.COMPLETE,))
    failed = study.get_trials(deepcopy=False, states=(state.FAIL,))
    cut = [trial for trial in failed if _CUT in trial.user_attrs]
    if not complete and not cut:
        raise RuntimeError(
            "No trial ended, so there is nothing to write. The same command goes on; give it more "
            "`--minutes`."
        )
    best = (min if metric in MINIMISED else max)([*complete, *cut], key=_figure)
    whole = changed(config, best.params).model_dump(mode="json")
    family = config.model.family if isinstance(config, RetrievalTrainerConfig) else ""
    keys = dict.fromkeys([*(keys_of(family) if family else ()), *best.params])
    default = [_figure(trial) for trial in complete if _DEFAULT in trial.user_attrs]
    trials = len(_ended(study))
    return Tuned(
        values={key: read(whole, key) for key in keys},
        metric=metric,
        best=_figure(best),
        default=default[0] if default else None,
        trials=trials,
        stopped=trials - len(complete),
        cut=len(cut),
    )


def _figure(trial: optuna.trial.FrozenTrial) -> float:
    return float(trial.user_attrs.get(_CUT, trial.value) or 0.0)
