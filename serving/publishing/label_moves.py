"""Labels move: a push brings a canary, it is promoted, and rolled back."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from absl import logging

from serving.publishing.labels import CANARY
from serving.publishing.labels import STABLE
from serving.publishing.labels import Labels
from serving.publishing.labels import read_labels
from serving.publishing.labels import write_labels
from serving.publishing.lock import locked
from serving.publishing.publish import missing_files
from serving.publishing.versions import bring_back
from serving.publishing.versions import pushed_versions
from serving.publishing.versions import set_aside
from serving.publishing.versions import withdrawn_versions


class Move(NamedTuple):
    """Labels before and after."""

    before: Labels
    after: Labels

    @property
    def withdrawn(self) -> list[int]:
        """The versions that this move took back."""
        return sorted(set(self.after.withdrawn) - set(self.before.withdrawn))


def introduce(push_dir: Path, version: int, model: str, base_path: str) -> Labels:
    """Labels a version that was just pushed `canary`, and `stable` if no other can be.

    The caller holds the lock of the push directory.

    Args:
        push_dir: The push directory.
        version: The new version, in its place.
        model: What requests call the model.
        base_path: The push directory as servers see it.

    Returns:
        The labels as written. Those of versions that are gone are dropped, for
        TF Serving refuses a file that names one.
    """
    old = read_labels(push_dir) or Labels(model, base_path)
    present = pushed_versions(push_dir)
    kept = {label: number for label, number in old.versions.items() if number in present}
    for label in sorted(old.versions.keys() - kept.keys()):
        logging.warning("Label %s: version %d is gone.", label, old.versions[label])
    older = [number for number in present if number < version]
    stable = next((n for n in (*old.earlier[::-1], *older[::-1]) if n in older), version)
    versions = {STABLE: stable} | kept | {CANARY: version}
    labels = Labels(model, base_path, versions, old.earlier, old.withdrawn)
    write_labels(push_dir, labels)
    return labels


def promote(push_dir: Path, version: int | None = None) -> Move:
    """Makes a version the stable one, also one that was withdrawn.

    Args:
        push_dir: The push directory.
        version: Which; the canary when None.

    Raises:
        RuntimeError: A push is running.
        ValueError: The version is stable already, not there or half-written, or
            nothing was pushed yet.
    """
    with locked(_checked(push_dir)):
        before = _labels(push_dir)
        target = before.versions.get(CANARY) if version is None else version
        if target is None:
            raise ValueError(f"No version has the label `{CANARY}`; choose one with `--version`.")
        stable = before.versions.get(STABLE)
        if target == stable:
            raise ValueError(f"Version {target} is stable already; there is nothing to promote.")
        _require_whole(push_dir, target, withdrawn_versions(push_dir).get(target))
        bring_back(push_dir, target)
        earlier = before.earlier if stable is None else (*before.earlier, stable)
        return _move(push_dir, before, {STABLE: target}, earlier)


def rollback(push_dir: Path, canary_only: bool = False) -> Move:
    """Gives the labels back to the version that was stable before.

    The canary goes back too: one that servers cannot load would make them
    refuse the whole file, and with it the rollback. What loses its label is
    withdrawn: `set_withdrawn_aside` renames it, once servers have followed.

    Args:
        push_dir: The push directory.
        canary_only: Whether the canary alone goes back, to the stable version.

    Raises:
        RuntimeError: A push is running.
        ValueError: No version was stable before, that version is gone or
            half-written, or nothing was pushed yet.
    """
    with locked(_checked(push_dir)):
        before = _labels(push_dir)
        stable = before.versions.get(STABLE)
        if canary_only:
            if stable is None or before.versions.get(CANARY) == stable:
                raise ValueError(f"There is no canary to take back; the labels are {before}.")
            _require_whole(push_dir, stable)
            canary = {before.versions[CANARY]} if CANARY in before.versions else set()
            return _move(push_dir, before, {CANARY: stable}, before.earlier, canary)
        earlier = list(before.earlier)
        while earlier and earlier[-1] == stable:  # what a push fell back to
            earlier.pop()
        if not earlier:
            raise ValueError(
                f"There is nothing to go back to; the labels are {before}. `--canary` takes back a "
                "canary that was not promoted."
            )
        target = earlier.pop()
        _require_whole(push_dir, target)
        labelled = {before.versions[name] for name in (STABLE, CANARY) if name in before.versions}
        moved = {STABLE: target, CANARY: target}
        return _move(push_dir, before, moved, tuple(earlier), labelled)


def set_withdrawn_aside(push_dir: Path) -> list[int]:
    """Renames versions that were withdrawn, and returns them.

    A server that starts would otherwise try to load them, and one of them may
    be broken. Before servers have seen the labels move, they still answer from
    them: wait for that, or leave it to the next push. The caller holds the lock.

    Raises:
        ValueError: `models.config` cannot be read.
    """
    labels = read_labels(push_dir)
    present = pushed_versions(push_dir)
    gone = set(labels.withdrawn) - set(labels.versions.values()) if labels else set()
    found = sorted(gone.intersection(present))
    for version in found:
        set_aside(push_dir, version)
        logging.info("Version %d was withdrawn, and is set aside.", version)
    return found


def _checked(push_dir: Path) -> Path:
    """Returns the push directory if something was pushed there."""
    if not pushed_versions(push_dir):
        raise ValueError(f"{push_dir} has no version yet. Push one first: `vitrine run CONFIG`.")
    return push_dir


def _labels(push_dir: Path) -> Labels:
    labels = read_labels(push_dir)
    if labels is None:
        raise ValueError(f"{push_dir} has no labels yet; the next push writes them.")
    return labels


def _require_whole(push_dir: Path, version: int, withdrawn: Path | None = None) -> None:
    present = pushed_versions(push_dir)
    directory = push_dir / str(version)
    if withdrawn is not None and not directory.is_dir():
        directory = withdrawn
    if version not in present and not directory.is_dir():
        there = ", ".join(map(str, present))
        raise ValueError(f"There is no version {version} in {push_dir}; there are {there}.")
    missing = missing_files(directory)
    if missing:
        raise ValueError(
            f"Version {version} is half-written: {directory} lacks {', '.join(missing)}."
        )


def _move(
    push_dir: Path,
    before: Labels,
    moved: dict[str, int],
    earlier: tuple[int, ...],
    taken_back: Collection[int] = (),
) -> Move:
    """Writes the labels without those whose version is gone."""
    versions = {**before.versions, **moved}
    present = pushed_versions(push_dir)
    named = {label: number for label, number in versions.items() if number in present}
    lost = dict.fromkeys((*before.withdrawn, *sorted(taken_back)))
    withdrawn = tuple(number for number in lost if number not in named.values())
    earlier = tuple(number for number in earlier if number not in withdrawn)
    after = dataclasses.replace(before, versions=named, earlier=earlier, withdrawn=withdrawn)
    write_labels(push_dir, after)
    return Move(before, after)
