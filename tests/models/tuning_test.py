"""Tests of the search for hyperparameters, on functions whose best values are known."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
import tensorflow as tf

from models.config import TRAINERS
from models.config import RankingTrainerConfig
from models.families import FAMILIES
from models.fixed_values import retrieval_trainer
from models.search_space import Choices
from models.tuning import Report
from models.tuning import search_space
from models.tuning import tune

CONFIG = retrieval_trainer({"optimizer": {"learning_rate": 0.0005}, "epochs": 3})


def quality(config: Any) -> float:
    """Best at a rate of .005 and without dropout."""
    distance = abs(math.log(config.optimizer.learning_rate / 0.005))
    return 1.0 - 0.1 * distance - 0.2 * config.model.query.dropout


class Trainings:
    """Trains nothing, and remembers what it was asked to."""

    def __init__(self, interrupt_at: int | None = None) -> None:
        self.asked: list[Any] = []
        self.epochs: list[int] = []  # of each trial
        self.ended = 0
        self._interrupt_at = interrupt_at

    def __call__(self, config: Any, report: Report) -> float:
        self.asked.append(config)
        if len(self.asked) == self._interrupt_at:
            raise KeyboardInterrupt
        value = quality(config)
        self.epochs.append(0)
        for epoch in range(1, 4):
            self.epochs[-1] = epoch
            report(epoch, value * epoch / 3)
        self.ended += 1
        return value


def test_the_first_trial_is_what_was_given_and_the_best_is_better(tmp_path: Path) -> None:
    trainings = Trainings()
    found = tune(CONFIG, trainings, tmp_path / "study.sqlite", "log", 5.0, 12)
    first = trainings.asked[0]
    assert first.model == CONFIG.model and first.optimizer == CONFIG.optimizer
    assert found.default == pytest.approx(quality(CONFIG))
    assert found.best > found.default and found.trials == len(trainings.asked) == 12
    assert found.stopped == 12 - trainings.ended > 0  # the median stops bad ones
    assert {*trainings.epochs} == {2, 3}  # after their second epoch
    best = max(trainings.asked, key=quality)
    assert found.values["optimizer.learning_rate"] == best.optimizer.learning_rate
    assert found.values["epochs"] == 3  # what followed from the log is kept, too
    assert f"{found.default:.4f} before" in str(found)


def test_equal_seeds_search_equally(tmp_path: Path) -> None:
    asked = []
    for name in "ab":
        trainings = Trainings()
        tune(CONFIG, trainings, tmp_path / f"{name}.sqlite", "log", 5.0, 6)
        asked.append([one.optimizer.learning_rate for one in trainings.asked])
    assert asked[0] == asked[1]


def test_an_interrupted_search_gives_the_best_so_far_and_goes_on(tmp_path: Path) -> None:
    storage = tmp_path / "study.sqlite"
    first = tune(CONFIG, Trainings(interrupt_at=3), storage, "log", 5.0, 8)
    assert first.trials == 2 and first.default == pytest.approx(quality(CONFIG))
    again = Trainings()
    whole = tune(CONFIG, again, storage, "log", 5.0, 8)
    assert whole.trials == 8 and len(again.asked) == 6
    assert all(one.model != CONFIG.model for one in again.asked)  # the given one has ended
    assert whole.best >= first.best
    other = Trainings()  # what other data gave does not count
    assert tune(CONFIG, other, storage, "another log", 5.0, 1).trials == len(other.asked) == 1


def test_an_interrupted_first_trial_is_tried_again(tmp_path: Path) -> None:
    storage = tmp_path / "study.sqlite"
    with pytest.raises(RuntimeError, match="No trial ended"):
        tune(CONFIG, Trainings(interrupt_at=1), storage, "log", 5.0, 1)
    again = Trainings()
    assert tune(CONFIG, again, storage, "log", 5.0, 1).default == pytest.approx(quality(CONFIG))


class Clock:
    """Stands for the clock of a search, and goes on by a minute an epoch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        monkeypatch.setattr("models.tuning.time", SimpleNamespace(monotonic=lambda: self.seconds))

    def train(self, config: Any, report: Report) -> float:
        """Trains nothing, for as long as it may."""
        start = self.seconds
        value = quality(config)
        for epoch in range(1, config.epochs + 1):
            self.seconds += 60.0
            report(epoch, value * epoch / config.epochs)
            if self.seconds - start >= 60.0 * config.max_minutes:
                break
        return value * epoch / config.epochs


def test_a_default_that_the_time_cut_is_no_default_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, storage = Clock(monkeypatch), tmp_path / "study.sqlite"
    cut = tune(CONFIG, clock.train, storage, "log", 1.5)  # two of three epochs
    assert (cut.default, cut.trials, cut.cut) == (None, 0, 1)
    assert cut.best == pytest.approx(quality(CONFIG) * 2 / 3)  # the best so far
    assert "1 that the end of the time cut" in str(cut) and "no whole trial yet" in str(cut)
    whole = tune(CONFIG, clock.train, storage, "log", 3.0)  # just as long as it takes
    assert whole.best == whole.default == pytest.approx(quality(CONFIG))
    assert (whole.trials, whole.cut) == (1, 1)


def test_a_trial_that_the_time_cut_is_no_figure_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, storage = Clock(monkeypatch), tmp_path / "study.sqlite"
    found = tune(CONFIG, clock.train, storage, "log", 4.0)  # the second one has an epoch
    assert (found.trials, found.cut) == (1, 1) and found.default == pytest.approx(quality(CONFIG))
    [study] = optuna.get_all_study_names(f"sqlite:///{storage}")
    trials = optuna.load_study(study_name=study, storage=f"sqlite:///{storage}").trials
    assert [trial.state.name for trial in trials] == ["COMPLETE", "FAIL"]


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (tf.errors.ResourceExhaustedError(None, None, "OOM"), "ResourceExhaustedError: OOM"),
        (ValueError("no pages"), "ValueError: no pages"),
        (MemoryError(), "MemoryError"),
        (None, "ValueError: `hr@10` is not a number"),
    ],
)
def test_a_trial_that_fails_by_its_values_is_told_and_the_search_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, failure: Exception | None, message: str
) -> None:
    trainings = Trainings()

    def train(config: Any, report: Report) -> float:
        value = trainings(config, report)
        if len(trainings.asked) != 3:
            return value
        if failure:
            raise failure
        return math.nan

    found = tune(CONFIG, train, tmp_path / "study.sqlite", "log", 5.0, 4)
    assert len(trainings.asked) == 4 and found.trials == 3
    [told] = [one for one in caplog.messages if "trial 2 failed by its values" in one]
    rate = trainings.asked[2].optimizer.learning_rate
    assert message in told and str(rate) in told


def test_a_first_trial_that_fails_ends_the_search(tmp_path: Path) -> None:
    def train(config: Any, report: Report) -> float:
        raise ValueError("no candidates")

    with pytest.raises(ValueError, match="no candidates"):
        tune(CONFIG, train, tmp_path / "study.sqlite", "log", 5.0, 4)


def test_a_mistake_in_the_code_ends_the_search(tmp_path: Path) -> None:
    trainings = Trainings()

    def train(config: Any, report: Report) -> float:
        if trainings.asked:
            raise AttributeError("a typing error")
        return trainings(config, report)

    with pytest.raises(AttributeError):
        tune(CONFIG, train, tmp_path / "study.sqlite", "log", 5.0, 4)


def test_a_loss_is_minimised(tmp_path: Path) -> None:
    config = RankingTrainerConfig.model_validate({"validation": {"monitor": "log_loss"}})

    def train(chosen: Any, report: Report) -> float:
        return float(chosen.model.dropout)

    found = tune(config, train, tmp_path / "study.sqlite", "log", 5.0, 8)
    assert found.default == 0.1 and found.best < 0.1


def test_a_space_holds_what_is_given_and_what_the_configuration_has() -> None:
    space = search_space(retrieval_trainer({"model": {"dim": 48, "loss": "full_softmax"}}))
    assert 48 in space["model.dim"].values
    assert "model.loss.negatives" not in space
    bounded = search_space(retrieval_trainer({"context_events": 60}))
    assert bounded["model.query.window"] == Choices((20, 50))


@pytest.mark.parametrize(
    "family",
    [family for family in FAMILIES if family.stage != "representation"],  # no run searches for one
    ids=lambda family: family.name,
)
def test_every_family_has_a_table_of_its_own_keys(family: Any) -> None:
    values = {"model": {"family": family.name}}
    if family.stage == "retrieval":
        config = retrieval_trainer(values | {"model": values["model"] | {"normalize": True}})
    else:
        config = TRAINERS[family.stage].model_validate(values)
    assert set(search_space(config)) == set(config.model.SEARCH)
