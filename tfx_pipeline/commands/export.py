"""`vitrine export`: embeddings of users and items as Parquet files."""

from __future__ import annotations

from pathlib import Path

import click

from tfx_pipeline.commands.options import PLACE

_PATH = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("run_dir", metavar="RUN", type=PLACE)
@click.option("--out", type=_PATH, required=True, help="Directory of the export.")
@click.option("--earlier", type=_PATH, help="An export to go on from; else what is in --out.")
@click.option("--version", type=click.IntRange(min=1), help="Of the pushed; else what is served.")
@click.option("--trained", is_flag=True, help="What RUN trained last, whether pushed or not.")
@click.option("--full", is_flag=True, help="Embed everything again.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="As for `run`.")
def export(
    run_dir: Path,
    out: Path,
    earlier: Path | None,
    version: int | None,
    trained: bool,
    full: bool,
    overrides: tuple[str, ...],
) -> None:
    """Write embeddings of every user and item of RUN's event log as Parquet files.

    The model is what RUN's push directory serves. An export that is in --out already is brought
    up to date: only users with new events and new or changed items are embedded again.
    """
    if trained and version:
        raise click.UsageError("--version names a pushed model, --trained one of the run's own.")
    from tfx_pipeline.commands.export_embeddings import export_embeddings

    click.echo(export_embeddings(run_dir, out, earlier, version, trained, full, overrides))
