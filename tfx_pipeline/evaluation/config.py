"""Configuration of metrics, slices and thresholds. Free of TensorFlow."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import ClassVar
from typing import Literal

from pydantic import Field
from pydantic import model_validator

from transforms import features
from transforms.base_config import Config
from transforms.label_config import LabelConfig
from transforms.nearest import nearest

RANKED = ("hr", "recall", "ndcg", "mrr")  # metrics of where the targets stand
MOST_POPULAR = "most_popular/"  # before the name of a metric: what the popular items reach
NEIGHBOURS = "neighbours/"  # likewise, what neighbours of the history reach
OVER_NEIGHBOURS = "over_neighbours/"  # likewise, how far the model is above them
SLICE_PARTS = ", "
SLICE_EQUALS = "="
_NUMBER = re.compile(r"\d+")

CLICK_METRICS = ("auc", "gauc", "page_ndcg", "log_loss", "calibration")  # of a head's scores
HEAD_COUNTS = ("positives",)
PAGE_COUNTS = ("users", "pages", "candidates")
SLICE_POSITION = "slice/position"  # the evaluation makes it of `candidate/position`


class EvaluationConfig(Config):
    """Configuration that the evaluations of all stages have in common.

    Attributes:
        min_users: Fewest test users over whom a model is blessed; a mean over a handful
            of users says little about it.
        min_slice_users: Slices with fewer users are not reported.
        confidence_intervals: Whether each metric gets a 95 % confidence interval by
            Poisson bootstrap over users (the evaluation then takes about ten times as
            long).
        popularity_timelines: Training timelines of which popularity is counted, at most.
    """

    STAGE: ClassVar[Literal["retrieval", "ranking"]]

    min_users: int = Field(default=100, ge=1)
    min_slice_users: int = Field(default=1, ge=1)
    confidence_intervals: bool = False
    popularity_timelines: int = Field(default=200_000, gt=0)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names of all metrics, in the order of reports."""
        raise NotImplementedError

    def _known(self, where: str, names: Iterable[str], hint: str = "") -> None:
        """Raises when a name is not that of a metric, and says which is near."""
        for name in names:
            if name not in self.metric_names:
                known = self.metric_names
                near = nearest(name, known) or f"; there are {', '.join(known)}"
                raise ValueError(f"`{name}` in `{where}` is not a metric{near}. {hint}")


class RetrievalEvaluationConfig(EvaluationConfig):
    """Configuration of the evaluation of a retrieval model.

    Attributes:
        ks: Lengths of the recommended list for hr@k, recall@k, ndcg@k and mrr@k.
            Where users have several targets recall@k, which is hits / min(k, targets),
            may fall as k grows.
        list_k: Length for coverage@k, popularity@k and seen@k, which look at
            what is recommended and not at the targets.
        thresholds: Lowest value of a metric that is blessed, e.g.
            `{"hr@10": 0.18}`.
        change_thresholds: Lowest change against the served model that is blessed,
            e.g. `{"hr@10": -0.005}`; not checked on the first run, nor where the
            served model has seen the test (`held_out.py`).
        beats_neighbours: By how much the model's metric that chose the epoch
            (`trainer.validation.monitor`) has to be above what neighbours reach on the same
            users; by default it is at least equal, and null asks for nothing. Neighbours come
            from counting alone (`sources.neighbours`), so that a model below them is not
            worth its training.
        slices: Features by whose values users are grouped; several features
            in one entry are crossed. In `slice/activity=0` are the users of
            whom no event is known: every user, asked a second time without
            history.
        slice_thresholds: Thresholds of single slices, e.g.
            `{"slice/activity=1-9": {"hr@10": 0.1}, "slice/activity=0": {"hr@10": 0.02}}`.

    The others are as `EvaluationConfig` says; a test user is one with a target.
    """

    STAGE = "retrieval"

    ks: tuple[int, ...] = (10, 50, 100)
    list_k: int = Field(default=10, gt=0)
    thresholds: dict[str, float] = {}
    change_thresholds: dict[str, float] = {}
    beats_neighbours: float | None = Field(default=0.0, ge=-1.0, le=1.0)
    slices: tuple[tuple[str, ...], ...] = (
        (features.SLICE_ACTIVITY,),
        (features.SLICE_TARGET_POPULARITY,),
        (features.SLICE_TARGET_AGE,),
    )
    slice_thresholds: dict[str, dict[str, float]] = {}

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names of all metrics, in the order of reports."""
        ranked = tuple(f"{name}@{k}" for name in RANKED for k in self.ks)
        listed = tuple(f"{name}@{self.list_k}" for name in ("coverage", "popularity", "seen"))
        return (*ranked, *listed, "repeat_share", "users", "users_without_target")

    @model_validator(mode="after")
    def _check(self) -> RetrievalEvaluationConfig:
        if not self.ks or min(self.ks) < 1 or len(set(self.ks)) != len(self.ks):
            raise ValueError(f"`ks` should hold different positive numbers; received {self.ks}.")
        hint = f"{', '.join(RANKED)} come at each of `ks`."
        self._known("thresholds", self.thresholds, hint)
        self._known("change_thresholds", self.change_thresholds, hint)
        for name, thresholds in self.slice_thresholds.items():
            parse_slice(name)
            self._known(f"slice_thresholds[{name}]", thresholds, hint)
        return self


class Bounds(Config):
    """Values of a metric that are blessed.

    Attributes:
        lower: The least; None is any.
        upper: The greatest; None is any.
    """

    lower: float | None = None
    upper: float | None = None

    @model_validator(mode="after")
    def _hold_something(self) -> Bounds:
        if self.lower is None and self.upper is None:
            raise ValueError("Give `lower`, `upper` or both.")
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise ValueError(f"No value is above {self.lower} and below {self.upper}.")
        return self


Threshold = float | Bounds


class RankingEvaluationConfig(EvaluationConfig):
    """Configuration of the evaluation of a ranking model.

    Metrics of the first head have their plain names, those of further heads end on the
    head's: `auc`, `auc/buy`. log_loss is better when lower and calibration is best at 1;
    everything else is better when higher. So a plain number in a threshold is the lowest
    blessed value of every metric but log_loss, where it is the highest, and calibration
    asks for both bounds.

    Attributes:
        label: What was labelled: the heads and their bits. As the examples have it.
        thresholds: Blessed values, e.g.
            `{"auc": 0.7, "log_loss": 0.3, "calibration": {"lower": 0.9, "upper": 1.1}}`.
            Whatever they are, a model whose auc is not above one half is not blessed.
        change_thresholds: The change against the served model that is blessed still, e.g.
            `{"auc": -0.002, "log_loss": 0.001}`: the lowest where higher is better, the
            highest for log_loss. Not checked on the first run, nor where the served
            model has seen the test (`held_out.py`).
        slices: Features by whose values candidates are grouped; several features in one
            entry are crossed. Those of a page (`slice/history`, `slice/query`) hold its
            candidates together, those of candidates (`slice/candidate_*`,
            `slice/position`) hold these alone.
        slice_thresholds: Thresholds of single slices, e.g.
            `{"slice/history=0": {"auc": 0.6}}`.

    The others are as `EvaluationConfig` says; a test user is one with a page.
    """

    STAGE = "ranking"

    label: LabelConfig = LabelConfig()
    thresholds: dict[str, Threshold] = {}
    change_thresholds: dict[str, float] = {}
    slices: tuple[tuple[str, ...], ...] = (
        (features.SLICE_HISTORY,),
        (features.SLICE_QUERY,),
        (SLICE_POSITION,),
        (features.SLICE_CANDIDATE_POPULARITY,),
        (features.SLICE_CANDIDATE_AGE,),
    )
    slice_thresholds: dict[str, dict[str, Threshold]] = {}

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names of all metrics, in the order of reports."""
        heads = range(len(self.label.heads))
        values = (*CLICK_METRICS, *HEAD_COUNTS)
        return (*(self.name_of(value, head) for head in heads for value in values), *PAGE_COUNTS)

    def name_of(self, value: str, head: int) -> str:
        """Returns the name of a metric of a head, e.g. `auc` or `auc/buy`."""
        return value if head == 0 else f"{value}/{self.label.heads[head]}"

    @model_validator(mode="after")
    def _check(self) -> RankingEvaluationConfig:
        hint = f"{', '.join(CLICK_METRICS)} come for each head: {', '.join(self.label.heads)}."
        self._known("thresholds", self.thresholds, hint)
        self._known("change_thresholds", self.change_thresholds, hint)
        for name in self.change_thresholds:
            if best_at_1(name):
                raise ValueError(
                    f"`{name}` is best at 1, so that no change of it is good or bad: "
                    "use `thresholds`."
                )
        for name, thresholds in self.slice_thresholds.items():
            parse_slice(name)
            self._known(f"slice_thresholds[{name}]", thresholds, hint)
        for thresholds in (self.thresholds, *self.slice_thresholds.values()):
            for name, threshold in thresholds.items():
                bounds_of(name, threshold)
        return self


def lower_is_better(name: str) -> bool:
    """Returns whether a metric of ranking is better when lower."""
    return name.partition("/")[0] == "log_loss"


def best_at_1(name: str) -> bool:
    """Returns whether a metric of ranking is best at 1, and worse on both sides."""
    return name.partition("/")[0] == "calibration"


def bounds_of(name: str, threshold: Threshold) -> Bounds:
    """Returns the bounds of a metric of ranking that a threshold stands for.

    Raises:
        ValueError: The threshold is a number, and the metric is best at 1.
    """
    if isinstance(threshold, Bounds):
        return threshold
    if best_at_1(name):
        raise ValueError(
            f"`{name}` is best at 1: give both bounds, e.g. "
            f"{{lower: 0.9, upper: 1.1}}; received {threshold}."
        )
    return Bounds(upper=threshold) if lower_is_better(name) else Bounds(lower=threshold)


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


def value_order(value: str) -> tuple[bool, int, str]:
    """Orders values such as `<1d`, `1-7d`, `10-49` by their first number, words behind them."""
    found = _NUMBER.search(value)
    first = 0 if value.startswith("<") or not found else int(found.group())
    return found is None, first, value
