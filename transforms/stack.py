"""What is settled before TensorFlow and its neighbours are imported, on each row of versions."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import apache_beam as beam

# ScaNN's operations for TensorFlow, which nothing here uses.
_OPERATIONS = "scann.scann_ops.py.scann_ops"


def use_keras_2() -> None:
    """Makes `tf.keras` mean Keras 2, which TensorFlow Recommenders needs.

    TensorFlow reads the choice from the environment when it is first imported.

    Raises:
        ImportError: TensorFlow was imported before this package, with Keras 3.
    """
    chosen = os.environ.get("TF_USE_LEGACY_KERAS")
    if chosen is None and "tensorflow" in sys.modules:
        raise ImportError(
            "TensorFlow was imported with Keras 3, and TensorFlow Recommenders needs Keras 2. "
            "Import vitrine's packages before `tensorflow`, or set TF_USE_LEGACY_KERAS=1 in the "
            "environment of this process."
        )
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")


def leave_out_scann_operations() -> None:
    """Keeps `import scann` from loading its operations into a TensorFlow that they do not fit.

    ScaNN 1.4 does without them where they are not found, but not where their library has
    symbols that a newer TensorFlow lacks; and TensorFlow Recommenders imports ScaNN. ScaNN 1.3
    does not do without, and fits the TensorFlow beside it.
    """
    try:
        version = importlib.metadata.version("scann")
    except importlib.metadata.PackageNotFoundError:
        return
    if tuple(int(part) for part in version.split(".")[:2]) >= (1, 4):
        sys.modules.setdefault(_OPERATIONS, None)  # type: ignore[arg-type]


def direct_in_python(options: Iterable[str]) -> tuple[str, ...]:
    """Returns options of a Beam job, with which the Direct runner stays within Python.

    That of Beam 2.77 else fetches a program from the network, runs the job in it, and only where
    that fails in Python. It leaves the program out where unsafe triggers are allowed; no job here
    has any triggers.
    """
    given = tuple(options)
    runners = [option for option in given if option.startswith("--runner")]
    direct = all(option.endswith("DirectRunner") for option in runners)
    return (*given, *(["--allow_unsafe_triggers"] if direct else []))


def make_pipeline(options: Iterable[str] = ()) -> beam.Pipeline:
    """Returns an empty pipeline of Beam, on the Direct runner unless the options name another."""
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    return beam.Pipeline(options=PipelineOptions(list(direct_in_python(options))))
