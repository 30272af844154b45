"""The values that ship, and variants of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from deploy.values import VALUES
from deploy.values import Values
from deploy.values import load_values


@pytest.fixture
def values() -> Callable[..., Values]:
    """Loads the values that ship, with overrides."""
    return lambda *overrides: load_values(VALUES, overrides)
