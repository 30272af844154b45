"""A copy that costs no disk where the file system lets it."""

from __future__ import annotations

import os
import shutil


def link_or_copy(source: str, copy: str) -> str:
    """Makes a hard link, or a copy on another file system; for `shutil.copytree`.

    Writing to a link changes its source: remove it first.
    """
    try:
        os.link(source, copy)
    except OSError:
        shutil.copy2(source, copy)
    return copy
