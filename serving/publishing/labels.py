"""Labels of a model's versions, kept in `models.config` itself.

One file holds them all, what was stable before in a comment of it. So a label
and its history can never disagree, whenever a process is killed.

TF Serving reads the file every few seconds and checks the labels before it
looks at the policy: a label that moves to a version which is not loaded makes
it refuse the whole file, policy included, at every look. A policy that named
versions could therefore never bring in what a label waits for. With the policy
`all` versions load as they appear in the directory, and the label follows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from serving.client import protos
from serving.publishing.models_config import MODELS_CONFIG
from serving.publishing.models_config import parse_models_config
from serving.publishing.versions import pushed_versions
from transforms.storage import place
from transforms.storage import replace_text

STABLE = "stable"
CANARY = "canary"
_HEAD = "# Written by the push and by `vitrine push`; servers look at it every few seconds.\n"
_NOTE = "# vitrine: "
_HISTORY = 20  # versions that were stable, and that were withdrawn


@dataclass(frozen=True)
class Labels:
    """Labels of a model's versions.

    Attributes:
        model: What requests call it.
        base_path: The push directory as servers see it.
        versions: Label -> version.
        earlier: Versions that were stable before, the last one at the end.
        withdrawn: Versions that were rolled back, the last one at the end. Their
            directories are renamed once servers have moved on.
    """

    model: str
    base_path: str
    versions: Mapping[str, int] = field(default_factory=dict)
    earlier: tuple[int, ...] = ()
    withdrawn: tuple[int, ...] = ()

    def __str__(self) -> str:
        """Returns for example `stable 3 · canary 4`."""
        first = [label for label in (STABLE, CANARY) if label in self.versions]
        rest = sorted(self.versions.keys() - {STABLE, CANARY})
        return " · ".join(f"{label} {self.versions[label]}" for label in (*first, *rest))


def read_labels(push_dir: str | Path) -> Labels | None:
    """Returns the labels of the versions in a push directory; None before the first push.

    Raises:
        ValueError: `models.config` cannot be read, or not as the push wrote it.
    """
    path = place(push_dir) / MODELS_CONFIG
    if not path.is_file():
        return None
    message = parse_models_config(path)
    lines = path.read_text(encoding="utf-8").splitlines()
    notes = [line.removeprefix(_NOTE) for line in lines if line.startswith(_NOTE)]
    try:
        note = json.loads(notes[0])
        model, earlier = str(note["model"]), tuple(int(version) for version in note["earlier"])
        withdrawn = tuple(int(version) for version in note.get("withdrawn", ()))
        (entry,) = (one for one in message.model_config_list.config if one.name == model)
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} should have a line `{_NOTE}{{...}}` and the model that it names, as the push "
            "writes it. Restore them, or delete the file: the next push writes a new one."
        ) from error
    return Labels(model, entry.base_path, dict(entry.version_labels), earlier, withdrawn)


def current_version(push_dir: str | Path) -> int | None:
    """Returns the newest version that was not rolled back: of the canary and the stable one.

    Returns:
        The newest version where none has a label; None where there is no version.

    Raises:
        ValueError: `models.config` cannot be read, or not as the push wrote it.
    """
    return next(iter(served_versions(push_dir) or pushed_versions(push_dir)[::-1]), None)


def served_versions(push_dir: str | Path) -> list[int]:
    """Returns the versions that are served, then those that were until another was promoted.

    One that was rolled back is in neither group.

    Returns:
        The newer of the canary and the stable one, the older, and what was stable before,
        the last one first; every version, the newest first, where there are no labels yet.

    Raises:
        ValueError: `models.config` cannot be read, or not as the push wrote it.
    """
    versions, labels = pushed_versions(push_dir), read_labels(push_dir)
    if labels is None:
        return versions[::-1]
    named = {labels.versions[label] for label in (CANARY, STABLE) if label in labels.versions}
    order = dict.fromkeys((*sorted(named, reverse=True), *labels.earlier[::-1]))
    return [version for version in order if version in versions]


def write_labels(push_dir: str | Path, labels: Labels) -> None:
    """Writes what `read_labels` reads; other models in the file stay.

    Raises:
        OSError: The file cannot be written; the old one stays.
        ValueError: The file that is there cannot be read.
    """
    path = place(push_dir) / MODELS_CONFIG
    message = parse_models_config(path) if path.is_file() else protos.ModelServerConfig()
    entry = _entry(message, labels.model)
    entry.name, entry.base_path, entry.model_platform = labels.model, labels.base_path, "tensorflow"
    entry.model_version_policy.all.SetInParent()
    entry.version_labels.clear()
    entry.version_labels.update(labels.versions)
    note = {
        "earlier": labels.earlier[-_HISTORY:],
        "model": labels.model,
        "withdrawn": labels.withdrawn[-_HISTORY:],
    }
    replace_text(path, f"{_HEAD}{_NOTE}{json.dumps(note)}\n{text_format.MessageToString(message)}")


def _entry(message: Any, model: str) -> Any:
    """Returns the entry of a model, a new one if there is none."""
    for entry in message.model_config_list.config:
        if entry.name == model:
            return entry
    return message.model_config_list.config.add()
