"""`vitrine compile` and `vitrine run --from-compiled`."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tfx_pipeline.commands.run import refused_stages
from tfx_pipeline.commands.run import stage_lines
from tfx_pipeline.stages.table import STAGES
from tfx_pipeline.stages.table import StageEntry

if TYPE_CHECKING:
    from tfx_pipeline.runners.kubeflow.emulator.run import CompiledRun

# Outputs from which the metrics of a run are gathered.
_MEASURED = {"model", "model_run", "combination", "evaluation", "blessing", "pushed_model"}
NEEDS_KFP = (
    "This needs Kubeflow's own packages, which the extra `kubeflow` holds: "
    '`pip install ".[pipeline,kubeflow]"` in a clone.'
)


def compile_to(name_or_path: str, overrides: tuple[str, ...], output: Path) -> str:
    """Compiles a configuration; says what a run of it has to be told.

    Raises:
        ValueError: The configuration is not valid, or Kubeflow Pipelines would not take it.
        RuntimeError: kfp is not installed.
    """
    _require_kfp()
    from tfx_pipeline.runners.kubeflow.compile import compile_config
    from tfx_pipeline.runners.kubeflow.emulator.spec import read_compiled

    compile_config(name_or_path, overrides, output)
    compiled = read_compiled(output)
    lines = [f"compiled  {output}, {len(compiled.tasks)} tasks", "a run may set:"]
    for name, definition in compiled.parameters.items():
        value = definition.get("defaultValue")
        lines.append(f"  {name:<28} " + ("has to be given" if value is None else str(value)))
    lines.append(f"submit    vitrine submit {output} --host ... --root s3://...")
    return "\n".join(lines)


def run_compiled_file(
    file: Path, parameters: tuple[str, ...], work_dir: Path | None, root: str, started: float
) -> tuple[str, bool]:
    """Runs a compiled file task by task on this machine.

    Args:
        file: What `vitrine compile` wrote.
        parameters: `name=value` pairs.
        work_dir: Where tasks run; `runs/<pipeline>-compiled` by default.
        root: Address of artifacts; a folder plays an object store if it is empty.
        started: When the command began, in seconds since the epoch.

    Returns:
        What to tell the user, and whether the gates let every model through.

    Raises:
        ValueError: Kubeflow Pipelines would not take the file, or a parameter.
        RuntimeError: A task failed, or kfp is not installed.
    """
    _require_kfp()
    from tfx_pipeline.runners.kubeflow.emulator.run import run_compiled
    from tfx_pipeline.runners.kubeflow.emulator.spec import read_compiled

    compiled = read_compiled(file)
    place = work_dir or Path("runs", f"{compiled.name}-compiled")
    run = run_compiled(compiled, named(parameters), place, root, click.echo)
    from tfx_pipeline.evaluation.run_metrics import write_run_metrics

    metrics = write_run_metrics(place / "metrics.json", run.fetch(place / "results", _MEASURED))
    lines: list[str] = []
    for stage in STAGES.values():
        if found := stage.metrics_in(metrics):
            lines += stage_lines(stage, found)
            lines += pushed_lines(stage, run)
    lines += [f"wall   {time.time() - started:.0f} s", f"all    {place / 'metrics.json'}"]
    return "\n".join(lines), not refused_stages(metrics)


def pushed_lines(stage: StageEntry, run: CompiledRun) -> list[str]:
    """Says which version is served now, if the stage's pusher pushed one or found it pushed."""
    outputs = run.outputs.get(stage.component_id("pusher"))
    facts = outputs.artifacts["pushed_model"]["metadata"] if outputs else {}
    if not facts.get("pushed"):
        return []
    folder, _, version = str(facts["pushed_destination"]).rpartition("/")
    return [
        f"push   version {version} in {folder}",
        f"serve  vitrine serve --base-path {shlex.quote(folder)}",
    ]


def named(pairs: Iterable[str]) -> dict[str, str]:
    """Returns parameters of a run by name; `a.b=1` is `a_b`.

    Raises:
        ValueError: One has no `=`.
    """
    found = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator:
            raise ValueError(f"A parameter is written name=value; received `{pair}`.")
        found[name.strip().replace(".", "_")] = value
    return found


def _require_kfp() -> None:
    try:
        import kfp.pipeline_spec  # noqa: F401
    except ModuleNotFoundError:
        raise RuntimeError(NEEDS_KFP) from None
