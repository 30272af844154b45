"""Options that several commands have, said once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from typing import TypeVar

import click

from tfx_pipeline.stages.table import STAGES


class PlaceType(click.ParamType):
    """A file or folder of this machine or of an object store, as `transforms.storage` knows it."""

    name = "path"

    def convert(
        self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        """Returns where an address is."""
        from transforms.storage import place

        try:
            return place(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


PLACE = PlaceType()
Command = TypeVar("Command", bound=Callable[..., Any])


def which_run(command: Command) -> Command:
    """Adds `--run`, the directory of a finished run."""
    return click.option("--run", "run_dir", type=PLACE, help="A run; else the newest.")(command)


def which_stage(command: Command) -> Command:
    """Adds `--stage`: which of a run's push directories is meant."""
    stages = click.Choice(list(STAGES))
    return click.option("--stage", type=stages, default="retrieval", show_default=True)(command)


def which_versions(command: Command) -> Command:
    """Adds `--run` and `--base-path`: whose pushed versions are meant."""
    base = click.option("--base-path", type=PLACE, help="Versions, instead of a run's.")
    return which_run(base(command))
