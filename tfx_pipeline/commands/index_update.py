"""`vitrine index update`: the newest version with some candidates more, less or changed."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from serving.index.updating.changes import Changes
from serving.index.updating.changes import sift
from serving.index.updating.update import embed_rows
from serving.index.updating.update import open_version
from serving.index.updating.update import update
from serving.publishing.config import PusherConfig
from serving.publishing.labels import current_version
from serving.publishing.labels import read_labels
from serving.publishing.push import push
from tfx_pipeline.commands.index_changes import read_deletes
from tfx_pipeline.commands.index_changes import read_upserts
from tfx_pipeline.commands.index_images import image_fields
from tfx_pipeline.commands.index_place import Place
from tfx_pipeline.datasets.problem import counted
from transforms.arrow import csv
from transforms.arrow import pa
from transforms.catalogue_fields import CatalogueFields


def update_index(
    place: Place,
    upserts: Sequence[Path],
    deletes: Sequence[Path],
    dead_letters: Path,
    rebalance: bool = False,
    encoder: Path | None = None,
) -> tuple[str, bool]:
    """Pushes the next version: the same towers over a changed catalogue.

    The version's origin is that of the one before: it is the same candidate,
    so that a repeated run finds it served and does not push over it. What was
    changed is in its `update.json`.

    Args:
        place: The version to start from, the newest of its push directory that was not
            rolled back.
        upserts: Files of rows; see `index_changes.read_upserts`.
        deletes: Files of ids; see `index_changes.read_deletes`.
        dead_letters: CSV file for rows that could not be used, with reasons.
        rebalance: Whether ScaNN trains leaves and codes again.
        encoder: What makes features of images, in place of what the version's run made.

    Returns:
        What to tell the user, and whether a version was pushed.

    Raises:
        ValueError: A file cannot be read, or nothing in the files can be used.
        OSError: The disk is full; what was served stays whole.
        RuntimeError: Another push is running, or came in between.
    """
    if place.version is None:
        raise ValueError(f"`{place.index}` is no pushed version; only those are updated.")
    push_dir = place.version.parent
    current = current_version(push_dir)  # also fails before anything is done
    if place.version.name != str(current):
        raise ValueError(
            f"`{place.version}` is not the newest version there that was not rolled back, "
            f"which is {current}."
        )
    taken_out = read_deletes(deletes)
    config = place.config
    version = open_version(place.version, place.section("index") or None)
    images = bool(config.get("timeline", {}).get("include_images"))
    fields = CatalogueFields.model_validate(config.get("timeline", {}).get("catalogue_fields", {}))
    made = image_fields(place, encoder, images)
    fill = made.fill if made else None
    rows, unusable = read_upserts(upserts, partial(embed_rows, version), images, fields, fill)
    read = Changes(rows, taken_out)
    changes, refused = sift(read, version.index, version.config.candidate_types)
    refused = pa.concat_tables([unusable, refused])
    lines = [*_keep(refused, dead_letters), *(made.lines() if made else [])]
    if not len(changes.upserts) + len(changes.deletes):
        raise ValueError("\n".join(["There is nothing to change in these files.", *lines]))
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch, "servable")
        report = update(
            version, changes, target, Path(scratch, "work"), place.timelines(), rebalance
        )
        measured = (
            f"recall@{report['scann']['recall_at']} {report['scann']['recall']:.4f} of ScaNN, "
            f"{report['answer']['recall']:.4f} of {report['backend']} search, on "
            f"{report['queries']:,} {report['asked']}"
        )
        lines += [
            f"changed {counted(len(changes.upserts), 'candidate')} put in, "
            f"{len(changes.deletes):,} taken out, {report['candidates']:,} now",
            f"recall  {measured}",
        ]
        if not report["blessed"]:
            return "\n".join([*lines, f"REFUSED, nothing was pushed: {_all(report)}"]), False
        number = _push(place.version, target, config.get("name"), place.section("push"))
    return "\n".join([*lines, f"pushed  {push_dir / str(number)}"]), True


def _push(base: Path, servable: Path, name: str | None, section: dict[str, object]) -> int:
    push_dir = base.parent
    labels = read_labels(push_dir)
    model = labels.model if labels else name or push_dir.name

    def check(_: Path) -> None:  # called with the push directory locked
        current = current_version(push_dir)
        if current != int(base.name):
            raise RuntimeError(
                f"Version {current} took its place while version {base.name} was being updated; "
                "nothing was pushed. Start the update again: it then changes that one."
            )

    return push(push_dir, servable, check, model, PusherConfig.model_validate(section))


def _keep(refused: pa.Table, path: Path) -> list[str]:
    if not len(refused):
        return []
    path.parent.mkdir(parents=True, exist_ok=True)
    csv.write_csv(refused.combine_chunks(), path)
    reasons = refused["reason"].value_counts().to_pylist()
    named = "; ".join(f"{one['counts']:,} x {one['values']}" for one in reasons)
    return [f"refused {counted(len(refused), 'row')}, see {path}: {named}"]


def _all(report: dict[str, object]) -> str:
    reasons = report["reasons"]
    assert isinstance(reasons, list)
    return "; ".join(reasons)
