"""Says in plain words what is missing or malformed in an event log, and whether a run takes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.components.timeline_example_gen.plan import find_cuts
from tfx_pipeline.components.timeline_example_gen.plan import limits_for
from tfx_pipeline.datasets.limits import Limits
from tfx_pipeline.datasets.manifest import Manifest
from tfx_pipeline.datasets.matching import mismatch
from tfx_pipeline.datasets.opened_log import OpenedLog
from tfx_pipeline.datasets.opened_log import open_log
from tfx_pipeline.datasets.problem import Counts
from tfx_pipeline.datasets.problem import Findings
from tfx_pipeline.datasets.problem import Problem
from tfx_pipeline.datasets.rules import excess
from tfx_pipeline.datasets.schemas import CATALOGUE_TABLE
from tfx_pipeline.datasets.schemas import EVENTS_TABLE
from tfx_pipeline.datasets.schemas import MANIFEST_NAME
from tfx_pipeline.datasets.schemas import USERS_TABLE
from tfx_pipeline.datasets.schemas import features_table
from tfx_pipeline.datasets.summary import LogSummary
from tfx_pipeline.datasets.timestamps import date_of
from tfx_pipeline.datasets.user_tally import Held
from tfx_pipeline.datasets.user_tally import UserTally
from tfx_pipeline.datasets.validate_catalogue import check_catalogue
from tfx_pipeline.datasets.validate_catalogue import check_users
from tfx_pipeline.datasets.validate_events import HEAVY_USER_EVENTS
from tfx_pipeline.datasets.validate_events import check_events
from tfx_pipeline.datasets.validate_events import report_tally
from tfx_pipeline.datasets.validate_features import check_features
from tfx_pipeline.datasets.validate_features import guess_fields
from transforms.storage import place

# What a log is looked at with when nobody says how it is to be split: as the template does.
USUAL_SPLITS: tuple[TimelineConfig, ...] = (
    TimelineConfig(),
    *(TimelineConfig(split="time-cut", validation_days=n, test_days=n) for n in (7, 14, 28)),
)


@dataclass(frozen=True)
class SplitUsers:
    """Number of users that a split would test.

    Attributes:
        config: The split.
        validation: Users with something held out for validation.
        test: Users with something held out for the test.
    """

    config: TimelineConfig
    validation: int
    test: int

    def __str__(self) -> str:
        """Returns a line of text."""
        if self.config.split == "leave-last-out":
            how = f"leave-last-out, min_target_events {self.config.min_target_events}"
        elif self.config.split == "leave-share-out":
            how = f"leave-share-out, test_share {self.config.test_share:g}"
        else:
            days = ((key, getattr(self.config, key)) for key in ("validation_days", "test_days"))
            starts = ((k, getattr(self.config, k)) for k in ("validation_start", "test_start"))
            told = [f"{key} {value:g}" for key, value in days if value]
            told += [f"{key} {date_of(value)}" for key, value in starts if value is not None]
            how = ", ".join(["time-cut", *told])
        return f"{self.test:,} ({how})"


@dataclass(frozen=True)
class Inspection:
    """Findings of a check of an event log.

    Attributes:
        problems: What is wrong with it, errors first.
        summary: What it holds, as far as a run uses it.
        totals: Rows of each table, by the files' footers.
        ordinal: Whether its times are an order only.
        left_out: Table -> reason -> rows that a run leaves out.
        repaired: Table -> reason -> values that a run drops from their rows.
        splits: How many users the split that was asked about would test, or
            each of some usual ones.
        too_many: Of which table a run would leave out more rows than allowed; "" of none.
        refusal: Why no run uses the log, that included; "" when one does.
    """

    problems: list[Problem]
    summary: LogSummary
    totals: dict[str, int]
    ordinal: bool
    left_out: Counts
    repaired: Counts
    splits: list[SplitUsers]
    too_many: str
    refusal: str

    def text(self) -> str:
        """Returns what a run would use and leave out, a line each."""
        lines = [self.summary.text(self.ordinal)]
        for title, counts in (("left out", self.left_out), ("repaired", self.repaired)):
            for table, by_reason in counts.items():
                named = ", ".join(f"{reason} {count:,}" for reason, count in by_reason.items())
                lines.append(f"  {title}   {sum(by_reason.values()):,} of {table} ({named})")
        lines += [f"  test users {split}" for split in self.splits]
        return "\n".join(lines)


def validate_event_log(path: str | Path, config: TimelineConfig | None = None) -> list[Problem]:
    """Returns the problems that `inspect_event_log` finds."""
    return inspect_event_log(path, config).problems


def inspect_event_log(
    path: str | Path,
    config: TimelineConfig | None = None,
    images: bool = True,
    usual: Sequence[TimelineConfig] = USUAL_SPLITS,
) -> Inspection:
    """Checks an event log, every row of it, and keeps going after a problem.

    Memory stays bounded: some megabytes, 25 bytes a catalogue entity, 16 a row of a
    declared field and 8 a user; counts go through temporary files.

    Args:
        path: Directory of the event log.
        config: How timelines are to be cut from it; any usual way when None.
        images: Whether to read and check the images of the catalogue.
        usual: The usual ways.

    Returns:
        What was found.
    """
    root, findings, summary = place(path), Findings(), LogSummary()
    if not root.is_dir():
        message = (
            f"`{root}` is not a directory. An event log is a directory with events/*.parquet, "
            f"catalogue/*.parquet and {MANIFEST_NAME}."
        )
        findings.add(Problem("missing-log", "log", None, 1, message))
        return _conclude(findings, summary, {}, False, [], TimelineConfig())
    asked = config or TimelineConfig(catalogue_fields=guess_fields(root))
    opened = open_log(root, findings, asked.catalogue_fields, asked.days)
    limits = limits_for(opened, asked)
    files = opened.files
    known = check_catalogue(files[CATALOGUE_TABLE], limits, findings, summary, images)
    check_users(files[USERS_TABLE], limits, findings)
    drop_unknown = asked.unknown_entities == "dead-letter"
    for name in asked.catalogue_fields.names:
        table = features_table(name)
        summary.features[name] = check_features(
            table, files[table], known, drop_unknown, limits, findings
        )
    with UserTally(HEAVY_USER_EVENTS) as tally:
        match = check_events(files[EVENTS_TABLE], known, asked, limits, findings, summary, tally)
        cuts = _cuts(opened, config, usual, limits, findings)
        tally.finish([held for _, held in cuts])
        report_tally(tally, files[EVENTS_TABLE], findings)
    summary.users = tally.users
    splits = [SplitUsers(one, *users) for (one, _), users in zip(cuts, tally.held, strict=True)]
    if opened.manifest is not None:
        _compare_counts(opened.manifest, opened.totals, summary.users, findings)
    if not findings.refused:  # otherwise a part is unread, and nothing follows from what is not
        told = mismatch(
            root, match.known, match.total, asked.min_catalogue_match, asked.candidate_types
        )
        if told:
            findings.add(Problem("nothing-matches", EVENTS_TABLE, "entity_id", match.total, told))
        rejected = excess(findings.left_out, opened.totals, asked.max_dead_letter_fraction)
        if not rejected and not asked.allow_empty_splits:
            _require_users(splits, findings)
    return _conclude(findings, summary, opened.totals, opened.ordinal, splits, asked)


def _conclude(
    findings: Findings,
    summary: LogSummary,
    totals: dict[str, int],
    ordinal: bool,
    splits: list[SplitUsers],
    config: TimelineConfig,
) -> Inspection:
    problems = findings.close(totals)
    refusals = [str(problem) for problem in problems if problem.rule.effect == "refuse"]
    told = excess(findings.left_out, totals, config.max_dead_letter_fraction)
    if told:
        refusals += [str(problem) for problem in problems if problem.rule.effect == "reject"]
        refusals.append(told)
    return Inspection(
        problems,
        summary,
        totals,
        ordinal,
        findings.left_out,
        findings.repaired,
        splits,
        told,
        "\n".join(refusals),
    )


def _cuts(
    opened: OpenedLog,
    config: TimelineConfig | None,
    usual: Sequence[TimelineConfig],
    limits: Limits,
    findings: Findings,
) -> list[tuple[TimelineConfig, Held]]:
    """Returns the splits to count users for, and where they cut; reports what does not fit."""
    if findings.refused:
        return []
    cuts = []
    for one in usual if config is None else (config,):
        try:
            starts = find_cuts(opened, one, limits)
        except ValueError as error:
            if config is not None:
                findings.add(Problem("bad-periods", EVENTS_TABLE, "timestamp", 1, str(error)))
            continue
        targets = one.min_target_events if one.split == "leave-last-out" else 0
        by_share = one.split == "leave-share-out"
        shares = (one.validation_share, one.test_share) if by_share else None
        cuts.append((one, Held(targets, one.min_history, *starts, shares)))
    return cuts


def _require_users(splits: Sequence[SplitUsers], findings: Findings) -> None:
    """Reports a log of which no split that was looked at has anybody to test."""
    if not splits or any(split.test and split.validation for split in splits):
        return
    least = min(split.config.min_target_events for split in splits)
    message = (
        "No user can be tested: "
        + "; ".join(f"test users {split}" for split in splits)
        + f". Users need {least} events that may be targets (`leave-last-out`), or events before "
        "a cut and targets after it (other splits); see `target_events`, `candidate_types`, "
        "`min_target_events`, and the periods or shares."
    )
    findings.add(Problem("no-test-users", EVENTS_TABLE, "user_id", 1, message))


def _compare_counts(
    manifest: Manifest, totals: dict[str, int], users: int, findings: Findings
) -> None:
    """Reports a manifest that was written for other files."""
    entities = totals[CATALOGUE_TABLE]
    for name, said, found in (
        ("events", manifest.events, totals[EVENTS_TABLE]),
        ("users", manifest.users, users),
        ("entities", sum(manifest.entities.values()), entities),
    ):
        if said and said != found:
            message = (
                f"{MANIFEST_NAME} says {said:,} {name}, the files hold {found:,}. Was a file "
                f"added or lost? Correct the manifest, or leave the counts out."
            )
            findings.add(Problem("count-differs", "log", None, 1, message))
