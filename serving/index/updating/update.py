"""Makes the next version of a pushed servable out of the newest one and some changes.

The towers stay the very same. The ScaNN index is changed in place of being
built again (`serving.index.updating.apply`), and the stock operations of the SavedModel
are laid out over the leaves that ScaNN gave, so that both hold one truth.

Neighbour lists and the combination of sources name entities, not rows: they stay, too, and
are aligned with the changed index.

TensorFlow wraps each function of a loaded model when it is saved again: an
update adds about 2 % to the graph (30 KB with the two-tower model), until a
run pushes a version of its own.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from serving.index import files
from serving.index import processes
from serving.index.checking.validate import measure
from serving.index.checking.validate import objections
from serving.index.config import CheckConfig
from serving.index.config import IndexConfig
from serving.index.config import ServeConfig
from serving.index.embedding.sample import sample_queries
from serving.index.files import INDEX_DIR
from serving.index.searching.assemble import assemble
from serving.index.searching.quantised_vectors import FLOAT32
from serving.index.updating.changes import Changes
from serving.publishing.servable_file import SERVABLE
from serving.sources import servable_sources
from serving.sources.combination import SOURCES_DIR

NOTE = "update.json"
# What `assemble` writes anew; the rest of a version goes with it as it is.
_REWRITTEN = {
    "saved_model.pb", "fingerprint.pb", "variables", "assets", SERVABLE, INDEX_DIR, SOURCES_DIR,
    NOTE,
}  # fmt: skip


@dataclass(frozen=True)
class Version:
    """A pushed version that is going to be updated.

    Attributes:
        path: Its directory.
        servable: The loaded SavedModel.
        index: Its index.
        config: The section `index` that it was made with, results and exclusions as served.
    """

    path: Path
    servable: Any
    index: files.IndexFiles
    config: IndexConfig


def open_version(path: Path, section: dict[str, Any] | None = None) -> Version:
    """Loads a version.

    Args:
        path: Directory of a servable with its index.
        section: The section `index` of its configuration; defaults if None.

    Raises:
        FileNotFoundError: There is no servable with an index.
        IndexIntegrityError: The index is damaged, or is not the servable's.
    """
    if not (path / SERVABLE).is_file():
        raise FileNotFoundError(f"`{path}` holds no `{SERVABLE}`: it is no pushed version.")
    description = json.loads((path / SERVABLE).read_text(encoding="utf-8"))
    index = files.open_index(path / INDEX_DIR)
    if description["index"] != index.fingerprint:
        raise files.IndexIntegrityError(
            f"`{path / INDEX_DIR}` is another index than the servable beside it was made of. "
            "Push the version again."
        )
    said = {"k", "exclude_seen", "seen_events"} & description.keys()
    served = {name: description[name] for name in said}
    served["vectors"] = description.get("vectors", FLOAT32)  # not said by older versions
    config = IndexConfig.model_validate({**(section or {}), **served})
    return Version(path, tf.saved_model.load(str(path)), index, config)


def embed_rows(version: Version, examples: Sequence[bytes]) -> np.ndarray:
    """Embeds catalogue rows with the towers of a version: [U] serialised -> [U, d] float32."""
    embed = version.servable.signatures["embed_candidate"]
    size = version.config.embed_batch
    parts = [np.empty((0, version.index.info["dimension"]), np.float32)]
    for start in range(0, len(examples), size):
        batch = tf.constant(list(examples[start : start + size]), tf.string)
        parts.append(embed(examples=batch)["embedding"].numpy().astype(np.float32, copy=False))
    return np.concatenate(parts)


def update(
    version: Version,
    changes: Changes,
    target: Path,
    work_dir: Path,
    timelines: Sequence[str] = (),
    rebalance: bool = False,
) -> dict[str, Any]:
    """Writes the updated servable, unless its index does not pass the check of a built one.

    Args:
        version: The version to start from, which stays as it is.
        changes: What `changes.sift` let through.
        target: The directory to write.
        work_dir: For the index and the queries.
        timelines: TFRecord files of held-out timelines to measure with; without
            them, vectors of the index are asked.
        rebalance: Whether ScaNN trains leaves and codes again.

    Returns:
        `blessed`, `reasons` when it is not, `queries` and `asked` (how many and
        what), `scann` and `answer` with recall and latency each, `backend`,
        `candidates`, `upserted` and `deleted`.

    Raises:
        ValueError: No candidate would be left.
    """
    changes.write(work_dir / "changes")
    arguments = ["--index", str(version.index.path), "--changes", str(work_dir / "changes")]
    arguments += ["--out", str(work_dir / INDEX_DIR)] + ["--rebalance"] * rebalance
    processes.run_module("serving.index.updating.apply", arguments)
    index = files.open_index(work_dir / INDEX_DIR, check_hashes=False)
    check = version.config.section(CheckConfig)
    queries, asked = sample_queries(
        index, check.validation_queries, version.servable.towers, timelines
    )
    measured = measure(index, queries, check, work_dir)
    reasons = objections(**measured, config=check)
    report = {
        "blessed": not reasons,
        "reasons": reasons,
        "queries": len(queries),
        "asked": asked,
        **measured,
        "backend": measured["answer"]["backend"],
        "candidates": index.size,
        "upserted": len(changes.upserts),
        "deleted": len(changes.deletes),
    }
    if not reasons:
        _write(version, index, target, report)
    return report


def _write(version: Version, index: files.IndexFiles, target: Path, report: dict[str, Any]) -> None:
    measured = {"recall": report["scann"]["recall"], "recall_at": report["scann"]["recall_at"]}
    measured |= {"queries": report["queries"], "asked": report["asked"]}
    files.write_info(index.path, {**index.info, "measured": measured})
    index = files.open_index(index.path, check_hashes=False)
    folder = version.path / SOURCES_DIR
    sources = servable_sources.read(folder, folder, index) if folder.is_dir() else None
    config = version.config.section(ServeConfig)
    assemble(version.servable.towers, index, target, config, sources)
    for entry in version.path.iterdir():
        if entry.name in _REWRITTEN:
            continue
        copy = shutil.copytree if entry.is_dir() else shutil.copy2
        copy(entry, target / entry.name)
    note = {"version": int(version.path.name) if version.path.name.isdecimal() else None, **report}
    text = json.dumps(note, indent=1, sort_keys=True) + "\n"
    (target / NOTE).write_text(text, encoding="utf-8")
