"""Origin of a pushed version: its inputs, and the version served when it was made.

TFX's cache answers a component whose inputs and properties it has seen. The
push directory is neither, and yet it decides which version a candidate is
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
from pathlib import Path
from typing import Any

from serving.index.files import directory_fingerprint
from serving.publishing.config import PusherConfig
from serving.publishing.labels import current_version
from serving.publishing.labels import read_labels
from serving.publishing.labels import served_versions
from serving.publishing.versions import pushed_versions
from serving.publishing.versions import withdrawn_versions

ORIGIN = "origin.json"
EVALUATION = "evaluation"  # of a version: what blessed it
NOT_PUSHED = "NOT_PUSHED"  # a note in place of a version
NO_BASELINE = "NO_BASELINE"  # a note in place of a model; object stores drop empty directories


def candidate_id(components: Iterable[Any], *more: str) -> str:
    """Hashes what a candidate is made of.

    Args:
        components: The TFX components that prepare the data. Their properties hold
            configurations, code versions and the fingerprint of the event log.
        *more: Configurations and code versions of what makes the candidate of it.

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


def serving_state(push_dir: str | Path, candidate: str) -> str:
    """Names the state of a push directory, as a candidate has to see it.

    Args:
        push_dir: Directory of the versions.
        candidate: What `candidate_id` gave.

    Returns:
        The state that the newest version was made in, withdrawn or not, if it was
        made of this very candidate. Otherwise the newest version, the time at which
        a version last came or went, and the labels.

    Raises:
        ValueError: `models.config` cannot be read, or not as the push wrote it.
    """
    newest, origin = _newest(push_dir)
    if origin.get("candidate") == candidate:
        return str(origin["state"])
    changed = Path(push_dir).stat().st_mtime_ns if Path(push_dir).is_dir() else 0
    labels = read_labels(push_dir)
    moved = f" {labels}, before {list(labels.earlier)}" if labels else ""
    return f"{newest}@{changed}{moved}"


def baseline_version(push_dir: str | Path, candidate: str) -> int:
    """Returns the version to compare a candidate with, and to start from.

    It is the newest that the labels say is served and that was not made of this
    candidate, else the one that was stable last; never one that was rolled back.

    Returns:
        Its number; 0 if there is none.

    Raises:
        ValueError: `models.config` cannot be read, or not as the push wrote it.
    """
    for version in served_versions(push_dir):
        if read_origin(Path(push_dir) / str(version)).get("candidate") != candidate:
            return version
    return 0


def content_id(servable: Path, config: PusherConfig) -> str:
    """Hashes what makes one pushed version of a candidate unlike another to those who ask it."""
    warmup = f"{config.warmup_requests} in batches of {config.largest_warmup}"
    return hashlib.sha256(f"{directory_fingerprint(servable)}\0{warmup}".encode()).hexdigest()[:16]


def pushed_already(push_dir: Path, candidate: str, content: str) -> int | None:
    """Returns the version that is this very servable, if it is the newest or served.

    The newest one may have been withdrawn. An updated index carries the origin of
    the version that it was made of, so that the update is not pushed over either.
    """
    current = current_version(push_dir) or 0
    for version, origin in (
        _newest(push_dir),
        (current, read_origin(push_dir / str(current))),
    ):
        if (origin.get("candidate"), origin.get("content")) == (candidate, content):
            return version
    return None


def _newest(push_dir: str | Path) -> tuple[int, dict[str, str]]:
    """Returns the newest version, withdrawn or not, and its origin; 0 where there is none."""
    places = {version: Path(push_dir) / str(version) for version in pushed_versions(push_dir)}
    places |= withdrawn_versions(push_dir)
    newest = max(places, default=0)
    return newest, read_origin(places[newest]) if places else {}


def write_origin(version_dir: Path, candidate: str, state: str, content: str = "") -> None:
    """Writes what `read_origin` reads; `content` is what `content_id` gave."""
    text = json.dumps({"candidate": candidate, "content": content, "state": state}, indent=1)
    (version_dir / ORIGIN).write_text(text + "\n", encoding="utf-8")


def read_origin(version_dir: Path) -> dict[str, str]:
    """Returns `candidate`, `content` and `state` of a version; nothing when it has no such note."""
    try:
        found = json.loads((version_dir / ORIGIN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
