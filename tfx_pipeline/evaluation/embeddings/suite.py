"""The suite: its tasks, and the one score.

A task's value v is the mean over what is read of it: its probes, budgets of labels and, of user
attributes, the attributes. Its skill is

    skill = (v - r) / (1 - r),

with r what random embeddings reach there, the mean over `REFERENCES` seeds: 0 for embeddings
that tell no more than chance, 1 for a perfect answer, below 0 for less than chance (a skill
score as in forecasting, with chance for the reference and 1 the best value of every metric
here). r depends on the log alone, and so a score does not depend on what else is scored. The
score is the mean skill over the log's tasks.
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
        values: The value of each task.
        skills: The skill of each task; `reference` and 1 are its 0 and 1.
        readings: All that was read of each task.
        score: The mean skill.
        missing_users: Users without an embedding, who counted with zeros.
        missing_items: Items without one.
    """

    name: str
    values: Mapping[str, Measured]
    skills: Mapping[str, Measured]
    readings: Mapping[str, Mapping[str, Measured]]
    score: Measured
    missing_users: int
    missing_items: int


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
        random = [self._measure(random_embeddings(log, seed)) for seed in range(REFERENCES)]
        self.reference = {
            name: float(np.mean([task.value(one[name])[0] for one in random]))
            for name, task in self.tasks.items()
        }

    def score(self, embeddings: Embeddings) -> Scored:
        """Scores embeddings."""
        found = self._measure(embeddings)
        values = {name: task.value(found[name]) for name, task in self.tasks.items()}
        skills = {
            name: (value - self.reference[name]) / (1 - self.reference[name])
            for name, value in values.items()
        }
        aligned = align(embeddings, self.log)
        return Scored(
            name=embeddings.name,
            values={name: measured(one) for name, one in values.items()},
            skills={name: measured(one) for name, one in skills.items()},
            readings={
                task: {name: measured(one) for name, one in readings.items()}
                for task, readings in found.items()
            },
            score=measured(np.mean(list(skills.values()), axis=0)),
            missing_users=aligned.missing_users,
            missing_items=aligned.missing_items,
        )

    def _measure(self, embeddings: Embeddings) -> dict[str, Readings]:
        aligned = align(embeddings, self.log)
        return {name: task.measure(self.log, aligned) for name, task in self.tasks.items()}


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
