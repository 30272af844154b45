"""`vitrine index`: looks into an index, and updates one without building it again."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tfx_pipeline.commands.options import PLACE
from tfx_pipeline.commands.options import which_versions

_PATH = click.Path(path_type=Path)


@click.group()
def index() -> None:
    """Look into an index, or update it without building it again."""


@index.command("inspect")
@which_versions
@click.option("--measure", is_flag=True, help="Measure recall again, against exact search.")
@click.option("--queries", type=click.IntRange(min=1), help="How many to measure with.")
@click.option("--curve", is_flag=True, help="Print recall against cost, as tuning measured it.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
def inspect_command(
    run_dir: Path | None,
    base_path: Path | None,
    measure: bool,
    queries: int | None,
    curve: bool,
    as_json: bool,
) -> None:
    """Say what an index is made of: sizes, leaves, parameters, recall.

    It is that of the newest version, unless --base-path names one version, or an index that was
    not pushed.
    """
    from tfx_pipeline.commands.index_inspect import inspect_index
    from tfx_pipeline.commands.index_place import find_index

    click.echo(inspect_index(find_index(run_dir, base_path), measure, queries, curve, as_json))


@index.command("update")
@click.option("--upsert", "upserts", type=_PATH, multiple=True, help="Parquet: catalogue rows.")
@click.option("--delete", "deletes", type=_PATH, multiple=True, help="Text: one type:id a line.")
@which_versions
@click.option(
    "--encoder",
    type=PLACE,
    metavar="DIR",
    help="Encoder and clusters for images of new rows; else those of the version's run.",
)
@click.option("--rebalance", is_flag=True, help="Train leaves and codes again, as a build does.")
@click.option(
    "--dead-letters",
    type=_PATH,
    default=Path("index_update_dead_letters.csv"),
    show_default=True,
    help="Where rows go that cannot be used, with reasons.",
)
def update_command(
    upserts: tuple[Path, ...],
    deletes: tuple[Path, ...],
    run_dir: Path | None,
    base_path: Path | None,
    encoder: Path | None,
    rebalance: bool,
    dead_letters: Path,
) -> None:
    """Put candidates into the newest version's index, take others out, push it as the next one.

    Where the towers read what their run made of images (`representation`), it is made of the
    column `image` of new rows, too.

    Returns 0 when the version is pushed, 3 when its recall or latency is out of the index's
    bounds, 1 when the files cannot be used.
    """
    if not upserts and not deletes:
        raise click.UsageError("Give at least one file with --upsert or --delete.")
    from tfx_pipeline.commands.index_place import find_index
    from tfx_pipeline.commands.index_update import update_index
    from tfx_pipeline.commands.run import REFUSED

    place = find_index(run_dir, base_path)
    text, pushed = update_index(place, upserts, deletes, dead_letters, rebalance, encoder)
    click.echo(text)
    sys.exit(0 if pushed else REFUSED)
