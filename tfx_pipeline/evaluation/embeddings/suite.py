"""The suite: its tasks, and the one score.

A task's value v is the mean over what is read of it: its probes, budgets of labels and, of user
attributes, the attributes. Its skill is

    skill = (v - r) / (1 - r),

with r what random embeddings reach there, the mean over `REFERENCES` seeds: 0 for embeddings
that tell no more than random numbers do, 1 for a perfect answer, below 0 for less (a skill
score as in forecasting, with chance for the reference and 1 the best value of every metric
here). r depends on the log alone, and so a score does not depend on what else is scored. The
score is the mean skill over the log's tasks. Probes overfit random numbers, so that zeros for all
(`constant_embeddings`), which leave them the labels' frequencies alone, are above 0.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfx_pipeline.evaluation.embeddings.item_tasks import ITEM_TASKS
from tfx_pipeline.evaluation.embeddings.log import DividedLog
from tfx_pipeline.evaluation.embeddings.pair_tasks import PAIR_TASKS
from tfx_pipeline.evaluation.embeddings.task import Aligned
from tfx_pipeline.evaluation.embeddings.task import Readings
from tfx_pipeline.evaluation.embeddings.task import Task
from tfx_pipeline.evaluation.embeddings.task import align
from tfx_pipeline.evaluation.embeddings.user_tasks import USER_TASKS
from tfx_pipeline.evaluation.embeddings.vectors import Embeddings
from tfx_pipeline.evaluation.embeddings.vectors import Vectors
from tfx_pipeline.evaluation.measured import Measured

TASKS: tuple[Task, ...] = (*USER_TASKS, *ITEM_TASKS, *PAIR_TASKS)
REFERENCES = 3
REFERENCE_DIM = 64
_INTERVAL = (2.5, 97.5)  # percent


@dataclass(frozen=True)
class Scored:
    """What embeddings are good for.

    Attributes:
        name: Of the embeddings.
        values: The value of each task; without users or items some tasks are not measured.
        skills: The skill of each task; `reference` and 1 are its 0 and 1.
        readings: All that was read of each task.
        score: The mean skill; None where a task is not measured.
        missing_users: Users without an embedding, who counted with zeros.
        missing_items: Items without one.
        events: Of the log that they were made from, where it is known.
    """

    name: str
    values: Mapping[str, Measured]
    skills: Mapping[str, Measured]
    readings: Mapping[str, Mapping[str, Measured]]
    score: Measured | None
    missing_users: int
    missing_items: int
    events: int | None = None


class Suite:
    """The tasks of a log, and what random embeddings reach in them.

    Attributes:
        log: The divided log.
        tasks: Those that the log has, by name.
        without: Why it lacks the others.
        reference: What random embeddings reach, by task.
    """

    def __init__(self, log: DividedLog, tasks: Sequence[Task] = TASKS) -> None:
        """Finds the tasks of a log and measures random embeddings.

        Args:
            log: The divided log.
            tasks: Those that are wanted.

        Raises:
            ValueError: The log has none of them.
        """
        self.log = log
        reasons = {task.name: task.missing(log) for task in tasks}
        self.tasks = {task.name: task for task in tasks if not reasons[task.name]}
        self.without = {name: reason for name, reason in reasons.items() if reason}
        if not self.tasks:
            raise ValueError(f"`{log.name}` has no task for embeddings: {self.without}")
        drawn = [random_embeddings(log, seed) for seed in range(REFERENCES)]
        random = [self._measure(one, align(one, log)) for one in drawn]
        self.reference = {
            name: float(np.mean([task.value(one[name])[0] for one in random]))
            for name, task in self.tasks.items()
        }

    def score(self, embeddings: Embeddings) -> Scored:
        """Scores embeddings.

        Raises:
            ValueError: They have users, or items, of which none is in the log.
        """
        aligned = self._aligned(embeddings)
        found = self._measure(embeddings, aligned)
        values = {name: self.tasks[name].value(readings) for name, readings in found.items()}
        skills = {
            name: (value - self.reference[name]) / (1 - self.reference[name])
            for name, value in values.items()
        }
        whole = len(values) == len(self.tasks)
        return Scored(
            name=embeddings.name,
            values={name: measured(one) for name, one in values.items()},
            skills={name: measured(one) for name, one in skills.items()},
            readings={
                task: {name: measured(one) for name, one in readings.items()}
                for task, readings in found.items()
            },
            score=measured(np.mean(list(skills.values()), axis=0)) if whole else None,
            missing_users=aligned.missing_users,
            missing_items=aligned.missing_items,
            events=embeddings.events,
        )

    def _aligned(self, embeddings: Embeddings) -> Aligned:
        aligned = align(embeddings, self.log)
        sides = (
            ("users", embeddings.users, aligned.missing_users, self.log.users),
            ("items", embeddings.items, aligned.missing_items, self.log.items),
        )
        for table, given, missing, keys in sides:
            if given is not None and missing == len(keys):
                example = f", but e.g. `{given.keys[0]}`" if len(given.keys) else ""
                raise ValueError(
                    f"None of the {table} of `{embeddings.name}` is in the log: it has none of "
                    f"`{keys[0]}` and {len(keys) - 1:,} others{example}."
                )
        return aligned

    def _measure(self, embeddings: Embeddings, aligned: Aligned) -> dict[str, Readings]:
        """Measures the tasks that embeddings have tables for."""
        there = {"user": embeddings.users, "item": embeddings.items}
        return {
            name: task.measure(self.log, aligned)
            for name, task in self.tasks.items()
            if all(there[kind] is not None for kind in there if task.kind in (kind, "pair"))
        }


def measured(samples: np.ndarray) -> Measured:
    """Returns a value and the interval of its bootstrap, [S] with the value first."""
    low, high = np.nanpercentile(samples[1:], _INTERVAL)
    return Measured(float(samples[0]), float(low), float(high))


def random_embeddings(log: DividedLog, seed: int, dim: int = REFERENCE_DIM) -> Embeddings:
    """Draws standard normal embeddings for a log's users and items."""
    tables = []
    for name, keys in (("users", log.users), ("items", log.items)):
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        drawn = rng.standard_normal((len(keys), 1, dim), dtype=np.float32)
        tables.append(Vectors(keys, drawn))
    return Embeddings("random", *tables)


def constant_embeddings(log: DividedLog) -> Embeddings:
    """Returns zeros for all users and items: what probes know without any embedding."""
    made = (
        Vectors(keys, np.zeros((len(keys), 1, 1), np.float32)) for keys in (log.users, log.items)
    )
    return Embeddings("constant", *made)
