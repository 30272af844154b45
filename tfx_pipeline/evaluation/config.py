"""What is measured and what a model has to reach. Free of TensorFlow."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pydantic import Field
from pydantic import model_validator

from transforms import features
from transforms.base_config import Config

RANKED = ("hr", "recall", "ndcg", "mrr")  # metrics of where the targets stand
MOST_POPULAR = "most_popular/"  # before the name of a metric: what the popular items reach
SLICE_PARTS = ", "
SLICE_EQUALS = "="


class EvaluationConfig(Config):
    """The section `evaluation` of a pipeline's configuration.

    Attributes:
        ks: Lengths of the recommended list for hr@k, recall@k, ndcg@k and mrr@k.
            Where users have several targets recall@k, which is hits / min(k, targets),
            may fall as k grows.
        list_k: Length for coverage@k, popularity@k and seen@k, which look at
            what is recommended and not at the targets.
        min_users: Fewest test users with a target over whom a model is blessed;
            a mean over a handful of users says little about it.
        thresholds: Lowest value of a metric that is blessed, e.g.
            `{"hr@10": 0.18}`.
        change_thresholds: Lowest change against the served model that is blessed,
            e.g. `{"hr@10": -0.005}`; not checked on the first run, nor where the
            served model has seen the test (`held_out.py`).
        slices: Features by whose values users are grouped; several features
            in one entry are crossed. In `slice/activity=0` are the users of
            whom no event is known: every user, asked a second time without
            history.
        slice_thresholds: Thresholds of single slices, e.g.
            `{"slice/activity=1-9": {"hr@10": 0.1}, "slice/activity=0": {"hr@10": 0.02}}`.
        min_slice_users: Slices with fewer users are not reported.
        confidence_intervals: Whether each metric gets a 95 % confidence
            interval by Poisson bootstrap (the evaluation then takes about ten
            times as long).
        popularity_timelines: Training timelines of which events are counted
            for popularity@k, at most.
    """

    ks: tuple[int, ...] = (10, 50, 100)
    list_k: int = Field(default=10, gt=0)
    min_users: int = Field(default=100, ge=1)
    thresholds: dict[str, float] = {}
    change_thresholds: dict[str, float] = {}
    slices: tuple[tuple[str, ...], ...] = (
        (features.SLICE_ACTIVITY,),
        (features.SLICE_TARGET_POPULARITY,),
        (features.SLICE_TARGET_AGE,),
    )
    slice_thresholds: dict[str, dict[str, float]] = {}
    min_slice_users: int = Field(default=1, ge=1)
    confidence_intervals: bool = False
    popularity_timelines: int = Field(default=200_000, gt=0)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names of all metrics, in the order of reports."""
        ranked = tuple(f"{name}@{k}" for name in RANKED for k in self.ks)
        listed = tuple(f"{name}@{self.list_k}" for name in ("coverage", "popularity", "seen"))
        return (*ranked, *listed, "repeat_share", "users", "users_without_target")

    @model_validator(mode="after")
    def _check(self) -> EvaluationConfig:
        if not self.ks or min(self.ks) < 1 or len(set(self.ks)) != len(self.ks):
            raise ValueError(f"`ks` should hold different positive numbers; received {self.ks}.")
        self._known("thresholds", self.thresholds)
        self._known("change_thresholds", self.change_thresholds)
        for name, thresholds in self.slice_thresholds.items():
            parse_slice(name)
            self._known(f"slice_thresholds[{name}]", thresholds)
        return self

    def _known(self, where: str, names: Iterable[str]) -> None:
        """Raises when a name is not that of a metric, and says which is near."""
        for name in names:
            if name not in self.metric_names:
                near = difflib.get_close_matches(name, self.metric_names, n=1, cutoff=0.0)[0]
                raise ValueError(
                    f"`{name}` in `{where}` is not a metric; the nearest is `{near}`. "
                    f"{', '.join(RANKED)} come at each of `ks`."
                )


def parse_slice(name: str) -> dict[str, str]:
    """Returns the features and values of a slice written `feature=value, feature=value`.

    Raises:
        ValueError: A part has no `=`.
    """
    parts = [part.partition(SLICE_EQUALS) for part in name.split(SLICE_PARTS)]
    if not all(feature and equals for feature, equals, _ in parts):
        raise ValueError(
            f"A slice is written feature=value, e.g. `{features.SLICE_ACTIVITY}=1-9`; "
            f"received `{name}`."
        )
    return {feature: value for feature, _, value in parts}


def format_slice(values: Iterable[tuple[str, str]]) -> str:
    """Returns the name of the slice with these features and values; `parse_slice` reads it."""
    return SLICE_PARTS.join(f"{feature}{SLICE_EQUALS}{value}" for feature, value in values)
