"""`vitrine benchmark-embeddings`: what embeddings are good for, side by side."""

from __future__ import annotations

from pathlib import Path

import click

_PATH = click.Path(path_type=Path, file_okay=False)


@click.command("benchmark-embeddings")
@click.argument("places", metavar="[NAME=]PATH...", nargs=-1, required=True)
@click.option(
    "--log", "log_dir", type=_PATH, required=True, help="What `vitrine data divide` made."
)
@click.option(
    "--out",
    type=_PATH,
    default="runs/embeddings",
    show_default=True,
    help="Directory of embeddings.json and embeddings.html.",
)
@click.option(
    "--type", "types", multiple=True, help="Entity type whose items count; all by default."
)
def benchmark_embeddings(
    places: tuple[str, ...], log_dir: Path, out: Path, types: tuple[str, ...]
) -> None:
    """Score embeddings by downstream tasks on the later part of a log.

    PATH is what `vitrine export` wrote, or a Parquet file of the same form, of embeddings that
    were made from the known part.
    """
    from tfx_pipeline.evaluation.embeddings.log import read_divided
    from tfx_pipeline.evaluation.embeddings.suite import Suite
    from tfx_pipeline.evaluation.embeddings.suite import constant_embeddings
    from tfx_pipeline.evaluation.embeddings.vectors import read_embeddings
    from tfx_pipeline.report.embeddings import as_json
    from tfx_pipeline.report.embeddings import as_text
    from tfx_pipeline.report.embeddings import render_embeddings

    named = [_named(place) for place in places]
    embeddings = [read_embeddings(path, name) for name, path in named]
    names = [one.name for one in embeddings]
    if len(set(names)) < len(names):
        raise ValueError(f"Names must differ; received {names}. Write NAME=PATH.")
    suite = Suite(read_divided(log_dir, types))
    scored = [suite.score(one) for one in (*embeddings, constant_embeddings(suite.log))]
    out.mkdir(parents=True, exist_ok=True)
    (out / "embeddings.json").write_text(as_json(suite, scored), encoding="utf-8")
    (out / "embeddings.html").write_text(render_embeddings(suite, scored), encoding="utf-8")
    click.echo(as_text(suite, scored))
    click.echo(f"{out / 'embeddings.html'}, {out / 'embeddings.json'}")


def _named(place: str) -> tuple[str, Path]:
    """Splits `NAME=PATH`; a path that is there is one, whatever it is called."""
    name, separator, path = place.partition("=")
    return (name, Path(path)) if separator and not Path(place).exists() else ("", Path(place))
