"""`vitrine histories`: the store that requests of long histories are completed from."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def histories() -> None:
    """Fill a store of histories by user."""


@histories.command("write")
@click.argument("config")
@click.argument("store")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="As for `run`.")
def write_command(config: str, store: str, overrides: tuple[str, ...]) -> None:
    """Write what every user of CONFIG's event log did into STORE.

    STORE is a file of SQLite, or redis://HOST:PORT/DB. Users that the log lacks keep their
    histories. Rows that cannot be used go to <run_dir>/histories/dead_letter.
    """
    click.echo(write_histories(config, store, overrides))


def write_histories(name: str, address: str, overrides: tuple[str, ...] = ()) -> str:
    """Fills a store; returns what to tell the user.

    Args:
        name: A configuration file, or a shipped one's name.
        address: The store.
        overrides: `key=value` overrides of the configuration.

    Raises:
        FileNotFoundError: No event log is there.
        ValueError: The configuration or the log does not fit.
    """
    from tfx_pipeline.config_file import load_config
    from tfx_pipeline.export.histories import fill_store

    config = load_config(name, overrides)
    target = Path(config.run_dir, "histories")
    counts = fill_store(
        config.log_dir, config.timeline_of_log, address, target, config.beam_pipeline_args
    )
    users, events, size = (counts.get(name, 0) for name in ("users", "events", "bytes"))
    return (
        f"{users:,} histories of {events:,} events in {address}, "
        f"{size / max(events, 1):.1f} bytes an event."
    )
