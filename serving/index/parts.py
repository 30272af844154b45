"""The parts of a ScaNN index that several processes encode, each its own rows.

    scann/part-00003-of-00008/   the serialised searcher of the fourth eighth of the rows

All parts have the same centres and codebooks, so a candidate's leaf and code do
not depend on how many there are. An index of one part has its files in `scann/`
itself. Neither TensorFlow nor ScaNN is needed here.
"""

from __future__ import annotations

import re
from pathlib import Path

from serving.index.files import IndexIntegrityError

_NAME = re.compile(r"part-(\d{5})-of-(\d{5})")


def part_dir(scann: Path, part: int, parts: int) -> Path:
    """Returns the directory of part `part` of `parts` below the directory `scann`."""
    return scann / f"part-{part:05d}-of-{parts:05d}"


def part_rows(size: int, part: int, parts: int) -> slice:
    """Returns the rows of a part: all `size` rows in order, in parts of equal size or one more."""
    return slice(size * part // parts, size * (part + 1) // parts)


def part_dirs(scann: Path) -> list[Path]:
    """Returns the directories of all parts in order; none when the index is not in parts.

    Raises:
        IndexIntegrityError: Some are missing, or of another division.
    """
    found = sorted(path for path in scann.glob("part-*") if path.is_dir())
    if not found:
        return []
    match = _NAME.fullmatch(found[0].name)
    parts = int(match[2]) if match else 0
    if found != [part_dir(scann, part, parts) for part in range(parts)]:
        raise IndexIntegrityError(
            f"`{scann}` holds {[path.name for path in found]}, and these are not all parts of one "
            "index. Build the index again."
        )
    return found
