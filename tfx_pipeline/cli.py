"""The command line. Thin and lazy: each command imports what it needs when it runs."""

from __future__ import annotations

import os
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tfx_pipeline.commands.benchmark_embeddings import benchmark_embeddings
from tfx_pipeline.commands.data_divide import divide
from tfx_pipeline.commands.data_import import import_files
from tfx_pipeline.commands.export import export
from tfx_pipeline.commands.gallery import gallery
from tfx_pipeline.commands.histories import histories
from tfx_pipeline.commands.image_features import image_features
from tfx_pipeline.commands.index import index
from tfx_pipeline.commands.options import PLACE
from tfx_pipeline.commands.options import which_run
from tfx_pipeline.commands.options import which_versions
from tfx_pipeline.commands.push import push

if TYPE_CHECKING:
    from models.families import Stage


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="vitrine")
def cli() -> None:
    """Interaction logs in; a trained, indexed, evaluated and served recommender out."""


cli.add_command(benchmark_embeddings)
cli.add_command(export)
cli.add_command(gallery)
cli.add_command(histories)
cli.add_command(image_features)
cli.add_command(index)
cli.add_command(push)


@cli.group()
def data() -> None:
    """Import your own files as an event log, prepare a public one, or check one."""


data.add_command(divide)
data.add_command(import_files)


@data.command("prepare")
@click.argument("source")
@click.option("--out", type=PLACE, help="Directory of the event log.")
@click.option("--from", "location", help="The source's files: a folder or an archive.")
@click.option("--set", "options", multiple=True, metavar="KEY=VALUE", help="Option of the source.")
@click.option("--overwrite", is_flag=True, help="Replace an event log that is there.")
def prepare(
    source: str, out: Path | None, location: str | None, options: tuple[str, ...], overwrite: bool
) -> None:
    """Turn SOURCE (movielens-1m, shop, ...) into an event log."""
    from tfx_pipeline.commands.data import prepare_log

    click.echo(prepare_log(source, out, location, options, overwrite))


@data.command("validate")
@click.argument("log_dir", type=PLACE)
@click.option("--config", help="A YAML file or a shipped name: what is to be run on the log.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="As for `run`.")
def validate(log_dir: Path, config: str | None, overrides: tuple[str, ...]) -> None:
    """Say in plain words what is missing or malformed in the event log LOG_DIR.

    With --config it is judged as a run of that configuration would judge it, and its test users
    are counted. Returns 0 when a run would use the log, 1 when not.
    """
    if overrides and not config:
        raise click.UsageError("--set changes a configuration: name one with --config.")
    from tfx_pipeline.commands.data import validate_log

    text, ok = validate_log(log_dir, config, overrides)
    click.echo(text)
    sys.exit(0 if ok else 1)


@cli.command()
@click.argument("config", required=False)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="e.g. retrieval.trainer.seed=2"
)
@click.option(
    "--from-compiled",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Run what `compile` wrote, task by task as Kubeflow would; --set gives its parameters.",
)
@click.option(
    "--work-dir", type=click.Path(path_type=Path), help="Where the tasks of a compiled file run."
)
@click.option(
    "--root",
    default="",
    metavar="ADDRESS",
    help="Artifacts of a compiled file, e.g. s3://bucket/pipelines; else a folder plays a store.",
)
def run(
    config: str | None,
    overrides: tuple[str, ...],
    from_compiled: Path | None,
    work_dir: Path | None,
    root: str,
) -> None:
    """Run the pipeline that CONFIG (a YAML file or a shipped name) describes.

    Returns 0 when the model passed its gates and is pushed, 3 when a gate refused it, 1 when the
    run failed, 2 when the command was wrongly typed.
    """
    started = time.time()  # imports count too
    if (config is None) == (from_compiled is None):
        raise click.UsageError("Name a configuration, or a file with --from-compiled.")
    from tfx_pipeline.commands.run import REFUSED
    from tfx_pipeline.commands.run import run_pipeline

    if from_compiled:
        from tfx_pipeline.commands.kubeflow import run_compiled_file

        text, blessed = run_compiled_file(from_compiled, overrides, work_dir, root, started)
    else:
        assert config
        text, blessed = run_pipeline(config, overrides, started)
    click.echo(text)
    sys.exit(0 if blessed else REFUSED)


@cli.command("compile")
@click.argument("config")
@click.option(
    "--output", type=click.Path(path_type=Path), default="pipeline.yaml", show_default=True
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="As for `run`.")
def compile_command(config: str, output: Path, overrides: tuple[str, ...]) -> None:
    """Compile CONFIG for Kubeflow Pipelines v2. Reads no event log and no push directory."""
    from tfx_pipeline.commands.kubeflow import compile_to

    click.echo(compile_to(config, overrides, output))


@cli.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--host", required=True, help="Address of Kubeflow Pipelines.")
@click.option("--root", default="", help="Artifacts, e.g. s3://bucket/pipelines.")
@click.option("--set", "parameters", multiple=True, metavar="NAME=VALUE", help="Of the run.")
@click.option("--cron", default="", help="Recurring: six fields, seconds first: '0 0 3 * * *'.")
@click.option("--experiment", default="vitrine", show_default=True)
@click.option("--name", default="", help="Of the run; the pipeline's by default.")
@click.option("--namespace", default="", help="Where Kubeflow serves several users.")
@click.option("--service-account", default="", help="That the pods run as.")
def submit(file: Path, parameters: tuple[str, ...], **where: str) -> None:
    """Submit FILE, which `compile` wrote, as a run of Kubeflow Pipelines; with --cron recurring.

    $KFP_TOKEN is sent as a token, if it is set.
    """
    from tfx_pipeline.commands.submit import Submission
    from tfx_pipeline.commands.submit import submit as submit_to

    click.echo(submit_to(file, parameters, Submission(**where)))


@cli.command()
@click.argument("config")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    required=True,
    help="Time for the search, the data stage apart.",
)
@click.option("--trials", type=click.IntRange(min=1), help="Most trials, earlier ones included.")
@click.option("--metric", help="On the validation split; the Trainer's monitor by default.")
@click.option(
    "--stage", type=click.Choice(["retrieval", "ranking"]), default="retrieval", show_default=True
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="As for `run`.")
def tune(
    config: str,
    minutes: float,
    trials: int | None,
    metric: str | None,
    stage: Stage,
    overrides: tuple[str, ...],
) -> None:
    """Search for better values of the Trainer of CONFIG on the validation split.

    The first trial is CONFIG itself. The best is written to <run_dir>/tuned.yaml, that of a ranking
    Trainer to tuned-ranking.yaml, which `run` takes. Started again, the search goes on; Ctrl-C
    ends it with the best so far.
    """
    from tfx_pipeline.commands.tune import tune_stage

    click.echo(tune_stage(config, overrides, stage, metric, minutes, trials))


@cli.command()
@which_versions
@click.option("--name", help="What requests call the model; the run's name by default.")
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="NAME=VERSION",
    help="A version label; those of the push by default.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8500, show_default=True, help="gRPC port.")
@click.option("--rest-port", default=8501, show_default=True, help="Port of REST and metrics.")
@click.option("--insecure", is_flag=True, help="Listen beyond loopback without mutual TLS.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Server option.")
def serve(
    run_dir: Path | None,
    base_path: Path | None,
    name: str | None,
    labels: tuple[str, ...],
    host: str,
    port: int,
    rest_port: int,
    insecure: bool,
    overrides: tuple[str, ...],
) -> None:
    """Answer TF Serving's gRPC and REST protocols from the versions that a run pushed.

    For a laptop and for tests; production runs TF Serving itself.
    """
    from tfx_pipeline.commands.serve import serve_run

    address = {"host": host, "port": port, "rest_port": rest_port, "insecure": insecure}
    serve_run(run_dir, base_path, name, address, overrides, labels)


@cli.command()
@click.option("--user", help="A user of the run's event log; without it, somebody new.")
@click.option("-k", default=10, show_default=True, help="How many recommendations.")
@which_run
@click.option(
    "--ranker",
    type=PLACE,
    metavar="RUN",
    help="A run whose ranker puts them in order; by default the run's own, if it has one.",
)
@click.option("--address", default="127.0.0.1:8500", show_default=True, help="gRPC server.")
@click.option("--ranker-address", help="The ranker's gRPC server, if it is another one.")
@click.option(
    "--retrieval-weight",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="How much the retrieval's score counts in the ranker's order.",
)
@click.option("--name", help="What the server calls the model; the run's name by default.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds to wait for the server while it starts or loads, and for its answer.",
)
def recommend(
    user: str | None,
    k: int,
    run_dir: Path | None,
    ranker: Path | None,
    address: str,
    ranker_address: str | None,
    retrieval_weight: float,
    name: str | None,
    timeout: float,
) -> None:
    """Ask a server for recommendations and print them beside the user's recent history."""
    from tfx_pipeline.commands.recommend import recommend_to

    second = (ranker, ranker_address, retrieval_weight)
    click.echo(recommend_to(user, k, run_dir, address, name, timeout, *second))


@cli.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option("--compare", is_flag=True, help="Show several runs side by side.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The page; by default report.html or comparison.html in the (first) run's directory.",
)
@click.option(
    "--card", type=click.Path(path_type=Path, dir_okay=False), help="A model card in Markdown, too."
)
def report(runs: tuple[str, ...], compare: bool, output: Path | None, card: Path | None) -> None:
    """Write a page about a run: metrics, slices, samples, training, data, lineage, verdict.

    The page is one file that needs no network. RUN is a run's directory, which stands for the
    newest run in it, or DIR@NUMBER for another (`vitrine runs list`).
    """
    from tfx_pipeline.commands.report import write_report

    click.echo(write_report(runs, compare, output, card))


@cli.group()
def runs() -> None:
    """List the runs of a directory, show one, or say what changed between two.

    RUN is a run's directory, which stands for the newest run in it, or DIR@NUMBER for another.
    """


@runs.command("list")
@click.argument("run_dir", type=PLACE)
def list_command(run_dir: Path) -> None:
    """List the runs of RUN_DIR: number, time, state, what was cached, verdict."""
    from tfx_pipeline.commands.runs import list_runs

    click.echo(list_runs(run_dir))


@runs.command("show")
@click.argument("run")
def show_command(run: str) -> None:
    """Show components, metrics and configuration of RUN."""
    from tfx_pipeline.commands.runs import show_run

    click.echo(show_run(run))


@runs.command("diff")
@click.argument("old", metavar="RUN")
@click.argument("new", metavar="[RUN]", required=False)
def diff_command(old: str, new: str | None) -> None:
    """Say what changed between two runs: data, code, configuration, gates and metrics.

    One directory alone stands for its two newest runs.
    """
    from tfx_pipeline.commands.runs import compare_runs

    click.echo(compare_runs(old, new))


@cli.command()
@click.option("--port", default=8500, show_default=True, help="gRPC port of the demo's server.")
def demo(port: int) -> None:
    """Run the main job on MovieLens-1M, or on the simulated shop where it cannot be had."""
    from tfx_pipeline.commands.demo import run_demo

    run_demo(port)


@cli.command()
def doctor() -> None:
    """Say what is installed, what clashes, and how to mend it."""
    from tfx_pipeline.doctor import examine
    from tfx_pipeline.doctor import format_check

    failed = False
    for check in examine():
        click.echo(format_check(check))
        failed = failed or check.status == "fail"
    sys.exit(1 if failed else 0)


def main() -> None:
    """Runs the command line; a mistake of the user's is a message, not a stack trace."""
    # Libraries of this stack warn about each other; none of it tells a user what to do.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    warnings.simplefilter("ignore")
    try:
        cli(standalone_mode=False)
    except click.exceptions.Abort as stop:
        if told := str(stop.__cause__ or ""):
            click.echo(told, err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        click.secho(
            f"Error: {error}. A plain install is the client alone; the extras `serving` and "
            '`pipeline` hold the rest: `pip install ".[pipeline]"` in a clone.',
            err=True,
            fg="red",
        )
        sys.exit(1)
    except (ValueError, RuntimeError, OSError) as error:
        click.secho(f"Error: {error}", err=True, fg="red")
        sys.exit(1)


if __name__ == "__main__":
    main()
