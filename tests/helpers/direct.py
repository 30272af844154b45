"""Beam's Direct runner, within Python on either row of versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transforms.stack import direct_in_python
from transforms.stack import make_pipeline

if TYPE_CHECKING:
    import apache_beam as beam

ONE_WORKER = direct_in_python(["--direct_running_mode=in_memory", "--sdk_container_image=none"])


def direct(*options: str) -> beam.Pipeline:
    """Returns a pipeline, for the Direct runner unless the options name another."""
    return make_pipeline(options)
