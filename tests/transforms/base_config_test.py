"""A configuration is frozen and names the key that a typing error meant."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from transforms.base_config import Config


class Inner(Config):
    leaves: int = 8


class Outer(Config):
    inner: Inner = Inner()
    rate: float = 0.1


def test_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="`leavs` is not a key of Inner; the nearest is `leaves`"):
        Outer.model_validate({"inner": {"leavs": 3}})


def test_an_unknown_key_that_is_like_none_is_answered_with_all() -> None:
    with pytest.raises(ValueError, match="`colour` is not a key of Outer; it has inner, rate"):
        Outer.model_validate({"colour": 3})


def test_it_is_frozen() -> None:
    with pytest.raises(ValidationError):
        Outer().rate = 0.2  # type: ignore[misc]


def test_json_round_trip_has_sorted_keys() -> None:
    text = Outer(rate=0.5).to_json()
    assert text == '{"inner": {"leaves": 8}, "rate": 0.5}'
    assert Outer.model_validate_json(text) == Outer(rate=0.5)
