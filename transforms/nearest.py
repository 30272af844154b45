"""What a misspelt name was meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns the known name that is most like another, as the end of a clause.

    Args:
        name: What was given, in capitals or not.
        known: What there is.

    Returns:
        "; the nearest is `x`", or "" where nothing is like it: a name that is far off misleads.
    """
    folded = {other.lower(): other for other in known}
    near = difflib.get_close_matches(name.lower(), folded, n=1)
    return f"; the nearest is `{folded[near[0]]}`" if near else ""
