"""Puts a release candidate where a server finds it, as the push would."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
import tensorflow as tf
from google.protobuf.message import DecodeError

from serving.publishing.links import link_or_copy
from serving.publishing.versions import INCOMING
from serving.publishing.versions import next_version
from serving.publishing.warmup import WARMUP_FILE
from serving.publishing.warmup import write_warmup


class ReleaseCandidateError(ValueError):
    """The release candidate cannot be served at all; the message says why."""


@contextlib.contextmanager
def placed(
    servable: Path, base_path: Path, examples: Iterable[bytes], max_rows: int
) -> Iterator[Path]:
    """Puts a release candidate below a base path as its newest version, for a while.

    Files are links to the release candidate's where that is possible. As in the push,
    they are gathered under a name that no server takes for a version.

    Args:
        servable: The release candidate.
        base_path: Directory of versions.
        examples: Serialised raw examples, of which warm-up requests are made.
        max_rows: Rows of the largest of these.

    Yields:
        The directory of the version.

    Raises:
        ReleaseCandidateError: The release candidate is not a whole SavedModel.
        OSError: The files cannot be written.
    """
    aside = base_path / f"{INCOMING}{os.getpid()}"
    place = base_path / str(next_version(base_path))
    try:
        shutil.copytree(servable, aside, copy_function=link_or_copy)
        (aside / WARMUP_FILE).unlink(missing_ok=True)  # a link: writing would change the source
        try:
            write_warmup(aside, examples, max_rows)
        except (FileNotFoundError, DecodeError) as error:
            raise ReleaseCandidateError(f"its saved_model.pb cannot be read ({error})") from error
        aside.rename(place)
        yield place
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(place, ignore_errors=True)


def load_here(path: Path) -> Any:
    """Loads the SavedModel of a release candidate without a server.

    Raises:
        ReleaseCandidateError: It cannot be loaded.
    """
    try:
        return tf.saved_model.load(str(path))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise ReleaseCandidateError(f"this process cannot load it ({error})") from error


def run_here(signature: Any, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    """Calls a signature of a loaded SavedModel with arrays, and returns arrays."""
    answer = signature(**{name: tf.constant(values) for name, values in inputs.items()})
    return {name: values.numpy() for name, values in answer.items()}
