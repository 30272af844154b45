"""`vitrine data divide`: what is known of a log, and what comes later."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from tfx_pipeline.commands.options import PLACE

_PATH = click.Path(path_type=Path, file_okay=False)


@click.command("divide")
@click.argument("log_dir", type=PLACE)
@click.option("--out", type=_PATH, required=True, help="Directory of the two event logs.")
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Of each user's events, the last ones.  [default: 0.1]",
)
@click.option("--from", "start", metavar="DATE", help="Instead: all since then, YYYY-MM-DD, UTC.")
@click.option(
    "--show",
    multiple=True,
    type=click.Choice(["user-attributes", "categories"]),
    help="Leave these in the known log, which else lacks both.",
)
def divide(
    log_dir: Path, out: Path, share: float | None, start: str | None, show: tuple[str, ...]
) -> None:
    """Divide the event log LOG_DIR into OUT/known and OUT/later.

    Embeddings are trained on OUT/known and exported from it; `vitrine benchmark-embeddings`
    then asks them about OUT/later. Attributes of users and categories of the catalogue are
    asked about, too, and so the known log lacks them.
    """
    if share is not None and start:
        raise click.UsageError("--share and --from are two ways to divide: give one.")
    from tfx_pipeline.datasets.division import HIDEABLE
    from tfx_pipeline.datasets.division import divide_log

    hide = [name for name in HIDEABLE if name not in show]
    moment = None if start is None else _microseconds(start)
    share = 0.1 if moment is None and share is None else share
    for manifest in divide_log(log_dir, out, share, moment, hide):
        side = manifest.name.rpartition("-")[2]
        click.echo(f"{out / side}: {manifest.events:,} events of {manifest.users:,} users")
    if hide:
        click.echo(f"The known log lacks {' and '.join(hide)}.")


def _microseconds(date: str) -> int:
    try:
        day = datetime.date.fromisoformat(date)
    except ValueError:
        raise click.UsageError(f"--from is a date, YYYY-MM-DD; received `{date}`.") from None
    start = datetime.datetime.combine(day, datetime.time(), datetime.timezone.utc)
    return int(start.timestamp()) * 1_000_000
