"""Chooses the split that the first run on an imported log begins with."""

from __future__ import annotations

from pathlib import Path

from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.datasets.importer.request import Imported
from tfx_pipeline.datasets.validate import SplitUsers
from tfx_pipeline.datasets.validate import inspect_event_log

_LEAST_DAYS, _MANY_DAYS, _DAYS = 4, 42, 7
_ENOUGH, _FEW = 1_000, 100  # test users; a run pushes nothing with fewer than the template's 100


def choose_split(log: Path, found: Imported, ordinal: bool) -> SplitUsers | None:
    """Counts whom splits would test, and chooses one.

    A cut in time is first that tests 1,000 users, or else 100: with periods of a week (or a sixth
    of a log of less than six weeks), with longer ones up to a quarter of the log, or with shorter
    ones. Where no cut does, or times are an order only or span less than four days, it is
    whatever tests most users.

    Args:
        log: The log.
        found: What was imported.
        ordinal: Whether its times are an order only.

    Returns:
        The split; None where the log is refused by a run, whatever the split.
    """
    last_out = TimelineConfig()
    cuts = [] if ordinal or found.days < _LEAST_DAYS else _cuts(found.days)
    splits = inspect_event_log(log, images=False, usual=[*cuts, last_out]).splits
    for least in (_ENOUGH, _FEW):
        for one in splits:
            if one.config.split == "time-cut" and _tested(one) >= least:
                return one
    return max(splits, key=_tested, default=None)


def _cuts(days: float) -> list[TimelineConfig]:
    """Returns cuts in time: with longer and longer periods, then with shorter and shorter ones."""
    usual = _DAYS if days >= _MANY_DAYS else max(1, int(days / 6))
    longer = [usual << doubled for doubled in range(1, 16) if 4 * (usual << doubled) <= days]
    shorter = [usual >> halved for halved in range(1, 4) if usual >> halved]
    return [
        TimelineConfig(split="time-cut", validation_days=period, test_days=period)
        for period in (usual, *longer, *shorter)
    ]


def _tested(split: SplitUsers) -> int:
    return min(split.validation, split.test)
