"""Values that follow from the log where a retrieval Trainer's configuration leaves their key out.

The rules come from the shipped configurations, which were tuned on validation splits, and from
what is known of such models; `docs/defaults.md` has the reasoning in a table. A key that is given
is never changed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

from models.config import RetrievalTrainerConfig
from models.config import TrainerConfig

FEW_TARGETS = 100  # targets an item, below which directions are learned and lengths are not
SMALL_LOG = 300_000  # targets, below which a model learns the log by heart
LARGE_LOG = 2_000_000  # targets, above which batches are larger
EXACT_SOFTMAX = 5_000  # items up to which scoring all of them costs no more than sampling
EPOCH = 1_000_000  # most targets between two validations


@dataclasses.dataclass(frozen=True)
class LogStatistics:
    """Counts of a training split.

    Attributes:
        events: Events, each counted once.
        users: Users with an event.
        items: Entities that are training targets.
        targets: Training targets of an epoch.
        repeats: Share of the events whose entity the timeline had before.
        long_history: Events that 95 % of the timelines do not exceed.
        has_times: Whether timestamps are times and not only an order.
    """

    events: int
    users: int
    items: int
    targets: int
    repeats: float
    long_history: int
    has_times: bool

    @property
    def targets_an_item(self) -> float:
        """The mean number of targets of an item."""
        return self.targets / max(1, self.items)

    @property
    def is_sparse(self) -> bool:
        """Whether items have few targets each."""
        return self.targets_an_item < FEW_TARGETS

    @property
    def is_small(self) -> bool:
        """Whether few targets an item are few targets in all, too."""
        return self.is_sparse and self.targets < SMALL_LOG


class Choice(NamedTuple):
    """A value and the reason for it."""

    value: Any
    reason: str


Values = dict[str, Any]
Rule = Callable[[LogStatistics, Values], Choice]


def resolve(
    config: RetrievalTrainerConfig, log: LogStatistics
) -> tuple[RetrievalTrainerConfig, dict[str, Choice]]:
    """Gives every key that was left out its value.

    Args:
        config: What was configured.
        log: What the training split is.

    Returns:
        The configuration without a gap, and each value that was chosen, by its dotted key.

    Raises:
        ValueError: A chosen value does not fit one that was given.
    """
    values = config.model_dump(mode="json")
    chosen: dict[str, Choice] = {}
    for key, rule in (*_RETRIEVAL, *_FAMILIES.get(config.model.family, ())):
        if read(values, key) is None:
            chosen[key] = rule(log, values)
            write(values, key, chosen[key].value)
    return type(config).model_validate(values), chosen


def is_whole(config: RetrievalTrainerConfig) -> bool:
    """Returns whether no value has to follow from the log."""
    values = config.model_dump(mode="json")
    return all(read(values, key) is not None for key in keys_of(config.model.family))


def keys_of(family: str) -> tuple[str, ...]:
    """Returns the dotted keys whose values may follow from the log."""
    return tuple(key for key, _ in (*_RETRIEVAL, *_FAMILIES.get(family, ())))


def changed(config: TrainerConfig, params: Mapping[str, Any]) -> TrainerConfig:
    """Returns a configuration with other values, by dotted key.

    Raises:
        ValueError: They do not fit each other.
    """
    values = config.model_dump(mode="json")
    for key, value in params.items():
        write(values, key, value)
    return type(config).model_validate(values)


def read(values: Mapping[str, Any], key: str) -> Any:
    """Returns the value of a dotted key; None where there is none."""
    for part in key.split("."):
        if not isinstance(values, Mapping) or part not in values:
            return None
        values = values[part]
    return values


def write(values: Values, key: str, value: Any) -> None:
    """Sets a dotted key whose sections are there."""
    *sections, leaf = key.split(".")
    for section in sections:
        values = values[section]
    values[leaf] = value


def _an_item(log: LogStatistics) -> str:
    return f"{log.targets_an_item:,.0f} targets an item"


def _loss(log: LogStatistics, values: Values) -> Choice:
    name = "full_softmax" if log.items <= EXACT_SOFTMAX else "sampled_softmax"
    return Choice(name, f"{log.items:,} items")


def _normalize(log: LogStatistics, values: Values) -> Choice:
    return Choice(log.is_sparse, _an_item(log))


def _temperature(log: LogStatistics, values: Values) -> Choice:
    if values["model"]["normalize"]:
        return Choice(0.05, "vectors have length 1")
    return Choice(1.0, "vectors have lengths of their own")


def _dim(log: LogStatistics, values: Values) -> Choice:
    """Chooses for the two-tower: a larger catalogue needs more directions."""
    dim = 32 if log.items < 1_000 else 64 if log.items < 10_000 else 128
    return Choice(dim, f"{log.items:,} items")


def _sequence_dim(log: LogStatistics, values: Values) -> Choice:
    """Chooses for the sequence model, whose encoder costs the square of it."""
    if log.items < 1_000:
        dim, why = 64, f"{log.items:,} items"
    elif log.is_small and log.items >= EXACT_SOFTMAX:
        dim, why = 256, f"{log.items:,} items, and {log.targets:,} targets are soon learned"
    else:
        dim, why = 128, f"{log.items:,} items, {log.targets:,} targets"
    heads = 2 * values["model"]["encoder"]["heads"]  # rotary positions turn pairs
    return Choice(-(-dim // heads) * heads, why)


def _batch(size: int, small: int, steps: int) -> Rule:
    """Makes the rule of a batch size: less where epochs would be few steps, more on large logs."""

    def choose(log: LogStatistics, values: Values) -> Choice:
        chosen = small if log.targets < steps * size else size
        return Choice(chosen * (2 if log.targets >= LARGE_LOG else 1), f"{log.targets:,} targets")

    return choose


def _learning_rate(log: LogStatistics, values: Values) -> Choice:
    if values["model"]["normalize"]:
        return Choice(0.002, "vectors have length 1")
    return Choice(0.001, "vectors have lengths of their own")


def _sequence_learning_rate(log: LogStatistics, values: Values) -> Choice:
    """Chooses Adam's rate in inverse proportion to the width (Yang et al. 2022, muP)."""
    if not values["model"]["normalize"]:
        return Choice(0.001, "vectors have lengths of their own")
    dim = values["model"]["dim"]
    return Choice(round(min(0.006, 0.768 / dim), 5), f"vectors have length 1, dim {dim}")


def _dropout(large: float, sparse: float, dense: float) -> Rule:
    """Makes the rule of a dropout: the fewer the events, the more of it."""

    def choose(log: LogStatistics, values: Values) -> Choice:
        if log.is_small:
            return Choice(large, f"{_an_item(log)}, {log.targets:,} targets")
        return Choice(sparse if log.is_sparse else dense, _an_item(log))

    return choose


def _event_dropout(log: LogStatistics, values: Values) -> Choice:
    share = f"{log.repeats:.0%} of events are repeats"
    drop = log.is_small and log.repeats < 0.2  # a repeat is found by the one event that it repeats
    return Choice(0.2 if drop else 0.0, f"{_an_item(log)}, {share}")


def _use_time(log: LogStatistics, values: Values) -> Choice:
    return Choice(log.has_times, "events have times" if log.has_times else "an order and no times")


def _blocks(log: LogStatistics, values: Values) -> Choice:
    length = values["model"]["input"]["length"]
    return Choice(1 if length <= 50 else 2, f"windows of {length} events")


def _window(log: LogStatistics, values: Values) -> Choice:
    """Chooses for the two-tower, whose recency weights fade within it."""
    return _within_context(50, "recency weights fade within it", values)


def _window_of_two_kinds(log: LogStatistics, values: Values) -> Choice:
    """Chooses for GMN, which looks for neighbours of each kind within it."""
    query = values["model"]["query"]
    wanted = 4 * query["neighbours"]
    return _within_context(wanted, f"{query['neighbours']} neighbours of each kind", values)


def _length(log: LogStatistics, values: Values) -> Choice:
    if log.is_small:  # with long windows a batch would be of few users
        length, reason = 50, f"{_an_item(log)}, {log.targets:,} targets"
    else:
        length = next((one for one in (50, 100) if log.long_history <= one), 200)
        reason = f"95 % of timelines have at most {log.long_history:,} events"
    overlap = values["model"]["input"]["overlap"]
    return _within_context(max(length, overlap + 1), reason, values)


def _within_context(window: int, reason: str, values: Values) -> Choice:
    context = max(1, values["context_events"])
    if window > context:
        return Choice(context, f"timeline.context_events is {context}")
    return Choice(window, reason)


def _epoch(log: LogStatistics, values: Values) -> Choice:
    """Ends epochs of a large log early, for validation to see the training more often."""
    reason = f"{log.targets:,} targets"
    if values["epochs"] is not None:
        return Choice(0, "epochs are given")
    if log.targets < 2 * EPOCH:
        return Choice(0, f"{reason}: an epoch is all of them")
    steps = math.ceil(EPOCH / values["input"]["batch_size"])
    return Choice(steps, f"{reason}: validated about every {EPOCH:,}")


def _epochs(least: int, most: int, ceiling: int) -> Rule:
    """Makes the rule of the most epochs.

    The learning rate falls over all of them, so that more than are needed is no better: these
    are about as many targets as the shipped configurations learn from.

    Args:
        least: Targets that training sees in all.
        most: A large log is read once, up to so many targets.
        ceiling: Most epochs of a small one.
    """

    def choose(log: LogStatistics, values: Values) -> Choice:
        steps = values["steps_per_epoch"]  # 0 takes all
        epoch = min(log.targets, steps * values["input"]["batch_size"]) if steps else log.targets
        wanted = max(least, min(log.targets, most))
        epochs = min(ceiling, max(2, math.ceil(wanted / max(1, epoch))))
        return Choice(epochs, f"at most; {log.targets:,} targets, and validation decides")

    return choose


def _towers(window: Rule) -> tuple[tuple[str, Rule], ...]:
    """Makes the rules of models whose query tower reads a window."""
    return (
        ("model.dim", _dim),
        ("model.query.window", window),
        ("model.query.use_time", _use_time),
        ("model.query.dropout", _dropout(0.5, 0.2, 0.1)),
        ("model.query.item_dropout", _dropout(0.2, 0.2, 0.0)),
        ("optimizer.learning_rate", _learning_rate),
        ("input.batch_size", _batch(512, 128, 100)),
        ("input.pool", lambda log, values: Choice(1024, "timelines shuffled together")),
        ("steps_per_epoch", _epoch),
        ("epochs", _epochs(3_000_000, 8_000_000, 20)),
    )


# In this order: a rule sees what those before it chose.
_RETRIEVAL: tuple[tuple[str, Rule], ...] = (
    ("model.loss", _loss),
    ("model.normalize", _normalize),
    ("model.temperature", _temperature),
)
_SEQUENCES: tuple[tuple[str, Rule], ...] = (
    ("model.dim", _sequence_dim),
    ("model.input.length", _length),
    ("model.encoder.use_time", _use_time),
    ("model.encoder.blocks", _blocks),
    ("model.encoder.dropout", _dropout(0.4, 0.2, 0.2)),
    ("model.encoder.event_dropout", _event_dropout),
    ("optimizer.learning_rate", _sequence_learning_rate),
    ("input.batch_size", _batch(2048, 512, 20)),
    ("input.pool", lambda log, values: Choice(8192, "timelines sorted by length together")),
    ("steps_per_epoch", _epoch),
    ("epochs", _epochs(7_000_000, 12_000_000, 30)),
)
_FAMILIES: dict[str, tuple[tuple[str, Rule], ...]] = {
    "two_tower": _towers(_window),
    "gmn": _towers(_window_of_two_kinds),
    "sequence": _SEQUENCES,
    "guim": _SEQUENCES,
}
