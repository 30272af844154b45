"""Puts a candidate where a server finds it, as the push would."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.message import DecodeError

from serving.publishing.links import link_or_copy
from serving.publishing.versions import INCOMING
from serving.publishing.versions import next_version
from serving.publishing.warmup import WARMUP_FILE
from serving.publishing.warmup import write_warmup


class CandidateError(ValueError):
    """The candidate cannot be served at all; the message says why."""


@contextlib.contextmanager
def placed(
    servable: Path, base_path: Path, timelines: Iterable[bytes], max_rows: int
) -> Iterator[Path]:
    """Puts a candidate below a base path as its newest version, and takes it away at the end.

    Files are links to the candidate's where that is possible. As in the push,
    they are gathered under a name that no server takes for a version.

    Args:
        servable: The candidate.
        base_path: Directory of versions.
        timelines: Serialised raw timelines, of which warm-up requests are made.
        max_rows: Rows of the largest of these.

    Yields:
        The directory of the version.

    Raises:
        CandidateError: The candidate is not a whole SavedModel.
        OSError: The files cannot be written.
    """
    aside = base_path / f"{INCOMING}{os.getpid()}"
    place = base_path / str(next_version(base_path))
    try:
        shutil.copytree(servable, aside, copy_function=link_or_copy)
        (aside / WARMUP_FILE).unlink(missing_ok=True)  # a link: writing would change the source
        try:
            write_warmup(aside, timelines, max_rows)
        except (FileNotFoundError, DecodeError) as error:
            raise CandidateError(f"its saved_model.pb cannot be read ({error})") from error
        aside.rename(place)
        yield place
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(place, ignore_errors=True)
