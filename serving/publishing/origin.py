"""Origin of a pushed version: its inputs, and the version served when it was made.

TFX's cache answers a component whose inputs and properties it has seen. The
push directory is neither, and yet it decides which version a release candidate is
compared with and whether there is anything to push. So its state, labels
included, is a property of the components that look into it. A pushed version
keeps the state that it was made in: running the same pipeline again, with its
own product as the newest version, finds the same state and is answered from the
cache, whatever became of the labels; so it does not bring back what was rolled back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.index.files import directory_fingerprint
from serving.publishing.config import PusherConfig
from serving.publishing.labels import current_version
from serving.publishing.labels import read_labels
from serving.publishing.labels import served_versions
from serving.publishing.versions import pushed_versions
from serving.publishing.versions import withdrawn_versions
from transforms.storage import is_store
from transforms.storage import place
from transforms.stored_folders import MANIFEST

ORIGIN = "origin.json"
EVALUATION = "evaluation"  # of a version: what blessed it
NOT_PUSHED = "NOT_PUSHED"  # a note in place of a version
NO_BASELINE = "NO_BASELINE"  # a note in place of a model; object stores drop empty directories


@dataclass(frozen=True)
class PushState:
    """State of a push directory, which may be read far from where a pipeline is assembled.

    Attributes:
        newest: What the newest version was made of, withdrawn or not: `release_candidate_id`.
        made_in: The state that it was made in.
        now: The newest version, the time at which a version last came or went, and the labels.
    """

    newest: str = ""
    made_in: str = ""
    now: str = "0@0"

    def seen_by(self, release_candidate: str) -> str:
        """Names the state as a release candidate has to see it.

        The newest version may be this very release candidate: it sees the state that it was
        made in, and finds itself in TFX's cache.
        """
        return self.made_in if self.newest == release_candidate else self.now


def release_candidate_id(components: Iterable[Any], *more: str) -> str:
    """Hashes what a release candidate is made of.

    Args:
        components: The TFX components that prepare the data. Their properties hold
            configurations, code versions and the fingerprint of the event log.
        *more: Configurations and code versions of what makes the release candidate of it.

    Returns:
        Sixteen hexadecimal digits.
    """
    digest = hashlib.sha256()
    for component in components:
        digest.update(f"{component.id}\0".encode())
        for name, value in sorted(component.exec_properties.items()):
            digest.update(f"{name}={value}\0".encode())
    for text in more:
        digest.update(f"{text}\0".encode())
    return digest.hexdigest()[:16]


def read_push_state(push_dir: str | Path) -> PushState:
    """Reads the state of a push directory; that of an empty one where there is none.

    Raises:
        ValueError: `models.config` cannot be read, or not as the push wrote it.
    """
    newest, origin = _newest(push_dir)
    changed = _changed(place(push_dir))
    labels = read_labels(push_dir)
    moved = f" {labels}, before {list(labels.earlier)}" if labels else ""
    return PushState(
        origin.get("release_candidate", ""), origin.get("state", ""), f"{newest}@{changed}{moved}"
    )


def baseline_version(push_dir: str | Path, release_candidate: str) -> int:
    """Returns the version to compare a release candidate with, and to start from.

    It is the newest that the labels say is served and that was not made of this
    very one, else the one that was stable last; never one that was rolled back.

    Returns:
        Its number; 0 if there is none.

    Raises:
        ValueError: `models.config` cannot be read, or not as the push wrote it.
    """
    for version in served_versions(push_dir):
        origin = read_origin(place(push_dir) / str(version))
        if origin.get("release_candidate") != release_candidate:
            return version
    return 0


def content_id(servable: Path, config: PusherConfig) -> str:
    """Hashes what those who ask see of a servable: its files and its warm-up requests."""
    warmup = f"{config.warmup_requests} in batches of {config.largest_warmup}"
    return hashlib.sha256(f"{directory_fingerprint(servable)}\0{warmup}".encode()).hexdigest()[:16]


def pushed_already(push_dir: Path, release_candidate: str, content: str) -> int | None:
    """Returns the version that is this very servable, if it is the newest or served.

    The newest one may have been withdrawn. An updated index carries the origin of
    the version that it was made of, so that the update is not pushed over either.
    """
    current = current_version(push_dir) or 0
    for version, origin in (
        _newest(push_dir),
        (current, read_origin(push_dir / str(current))),
    ):
        made_of = origin.get("release_candidate"), origin.get("content")
        if made_of == (release_candidate, content):
            return version
    return None


def _newest(push_dir: str | Path) -> tuple[int, dict[str, str]]:
    """Returns the newest version, withdrawn or not, and its origin; 0 where there is none."""
    places = {version: place(push_dir) / str(version) for version in pushed_versions(push_dir)}
    places |= withdrawn_versions(push_dir)
    newest = max(places, default=0)
    return newest, read_origin(places[newest]) if places else {}


def _changed(push_dir: Path) -> int | str:
    """Returns what changes when a version comes or goes."""
    stored = is_store(push_dir)
    if stored:
        numbers = pushed_versions(push_dir)
        whole = [(push_dir / str(number) / MANIFEST).read_text("utf-8") for number in numbers]
        state = repr((numbers, whole, sorted(withdrawn_versions(push_dir))))
        return hashlib.sha256(state.encode()).hexdigest()[:16] if numbers else 0
    return push_dir.stat().st_mtime_ns if push_dir.is_dir() else 0


def write_origin(version_dir: Path, release_candidate: str, state: str, content: str = "") -> None:
    """Writes what `read_origin` reads; `content` is what `content_id` gave."""
    origin = {"release_candidate": release_candidate, "content": content, "state": state}
    text = json.dumps(origin, indent=1)
    (version_dir / ORIGIN).write_text(text + "\n", encoding="utf-8")


def read_origin(version_dir: Path) -> dict[str, str]:
    """Returns what a version was made of; nothing when it has no such note."""
    try:
        found = json.loads((version_dir / ORIGIN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
