"""Writes an export of a run, or brings one up to date."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from serving.index import files as index_files
from serving.publishing.labels import current_version
from serving.publishing.versions import pushed_versions
from tfx_pipeline.commands.finished_run import find_run
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.export.files import FORMAT
from tfx_pipeline.export.files import MANIFEST
from tfx_pipeline.export.files import Export
from tfx_pipeline.export.files import describe_tables
from tfx_pipeline.export.files import open_export
from tfx_pipeline.export.files import put_back
from tfx_pipeline.export.files import similarity
from tfx_pipeline.export.files import take_place
from tfx_pipeline.export.job import Model
from tfx_pipeline.export.job import embed_log
from tfx_pipeline.stages.table import FEATURE_BUILDER
from transforms.storage import is_store
from transforms.storage import place


def export_embeddings(
    run_dir: Path,
    out: Path,
    earlier: Path | None,
    version: int | None,
    trained: bool,
    full: bool,
    overrides: tuple[str, ...],
) -> str:
    """Writes an export, or brings the one that is there up to date.

    Args:
        run_dir: Directory of a run, which says the log, how it is read and what is served.
        out: Directory of the export; it appears, or changes, as a whole.
        earlier: An export to go on from; what is in `out` when None.
        version: A pushed version; what is served when None.
        trained: Whether the model is the one that the run trained last.
        full: Whether to embed everything again.
        overrides: `key=value` pairs for the run's configuration.

    Returns:
        What to tell the user.

    Raises:
        FileNotFoundError: There is no event log, or `earlier` is no export.
        ValueError: There is no such run or model, or `out` holds something else.
    """
    config = find_run(run_dir, overrides)
    if config.retrieval is None:
        raise ValueError(f"{run_dir} has no retrieval stage: a ranker has no embeddings.")
    put_back(out.absolute())
    before = _earlier(out, earlier)
    model = _model(config, version, trained)
    made = out.absolute().with_name(f".{out.name}.partial")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    lines = [f"model   {config.name} {model.version}"]
    if before and before.towers != model.fingerprint:
        lines.append(f"        {before.path} is of another model: all are embedded again")
        before = None
    try:
        counts = embed_log(
            config.log_dir,
            config.timeline,
            model,
            made,
            None if full else before,
            config.beam_pipeline_args,
            _features(config),
        )
        tables = describe_tables(made, counts)
        manifest: dict[str, Any] = {
            "format": FORMAT,
            "model": {"name": config.name, "version": model.version, "towers": model.fingerprint},
            "similarity": similarity(tables),
            "log": {"dir": config.log_dir, "rows": counts["rows"]},
            "tables": tables,
        }
        (made / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        take_place(made, out.absolute())
    finally:
        shutil.rmtree(made, ignore_errors=True)
    for name, told in manifest["tables"].items():
        lines.append(
            f"{name:<8}{told['rows']:,}: {told['embedded']:,} embedded, {told['kept']:,} kept, "
            f"{told['dropped']:,} dropped"
        )
    return "\n".join([*lines, f"wrote   {out / MANIFEST}"])


def _earlier(out: Path, earlier: Path | None) -> Export | None:
    """Opens the export to go on from, if there is one."""
    if is_store(place(out)):
        raise ValueError(f"`{out}` is in an object store; exports are written to folders.")
    if (out / MANIFEST).is_file():
        return open_export(earlier or out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"`{out}` holds something else than an export. Name another directory.")
    return open_export(earlier) if earlier else None


def _model(config: PipelineConfig, version: int | None, trained: bool) -> Model:
    """Finds the towers."""
    types = config.candidate_types
    if trained:
        towers, number = _trained(config)
        fingerprint = index_files.directory_fingerprint(towers)
        return Model(str(towers), fingerprint, f"run-{number}", types)
    push_dir = place(config.push_dir_of("retrieval"))
    chosen = version or current_version(push_dir)
    if chosen is None or chosen not in pushed_versions(push_dir):
        missing = f"has no version {chosen}" if chosen else "holds no pushed version"
        raise ValueError(
            f"`{push_dir}` {missing}. `--trained` takes the model that the run trained last, "
            "whether it was pushed or not."
        )
    if is_store(push_dir):
        raise ValueError(
            f"`{push_dir}` is in an object store. Keep a copy with `vitrine push follow`, and name "
            "it with `--set push_dir=...`."
        )
    path = push_dir / str(chosen)
    info = index_files.open_index(path / index_files.INDEX_DIR, check_hashes=False).info
    return Model(str(path), str(info["towers"]), str(chosen), types)


def _features(config: PipelineConfig) -> Path | None:
    """Returns the tables of declared fields that the last run made; None where it makes none."""
    return _made(config, FEATURE_BUILDER, "features")[0] if config.makes_features else None


def _trained(config: PipelineConfig) -> tuple[Path, int]:
    """Returns the towers that a run trained last, and its number."""
    model, number = _made(config, "trainer", "model")
    return model / "Format-Serving", number


def _made(config: PipelineConfig, node: str, key: str) -> tuple[Path, int]:
    """Returns what a component of the last run wrote, and the number of the run."""
    from tfx_pipeline.runners.recorded import read_run

    run = read_run(config.run_dir)
    found = run.output(node, key)
    if found is None:
        raise ValueError(run.why_missing(node, key))
    return found, run.number
