"""`vitrine gallery`: images that vectors hold to be alike, as a page to look at."""

from __future__ import annotations

from pathlib import Path

import click

_PATH = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command()
@click.argument("log_dir", metavar="LOG", type=_PATH)
@click.option("--field", "fields", multiple=True, default=("courier",), show_default=True)
@click.option(
    "--features",
    "features_dir",
    type=_PATH,
    help="A folder with features/<field> that a run has made; read before LOG's own.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default="runs/gallery.html",
    show_default=True,
)
@click.option("--queries", type=click.IntRange(1), default=12, show_default=True)
@click.option("--neighbours", type=click.IntRange(1), default=6, show_default=True)
@click.option("--clusters", type=click.IntRange(0), default=6, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the images drawn.")
def gallery(
    log_dir: Path,
    fields: tuple[str, ...],
    features_dir: Path | None,
    out: Path,
    queries: int,
    neighbours: int,
    clusters: int,
    seed: int,
) -> None:
    """Show nearest neighbours and largest clusters of images by vectors in LOG/features.

    Give --field several times to compare: of the same images, each field's neighbours stand
    side by side. The page holds its pictures and needs nothing else.
    """
    from tfx_pipeline.report.gallery import GalleryConfig
    from tfx_pipeline.report.gallery import render_gallery

    config = GalleryConfig(queries, neighbours, clusters, seed=seed)
    page = render_gallery(log_dir, list(dict.fromkeys(fields)), config, features_dir)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, encoding="utf-8")
    click.echo(f"{out}  {len(page.encode()) / 1e6:.1f} MB")
