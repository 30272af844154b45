"""The conditions that TFX compiles `Cond` to."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Mapping
from typing import Any

_PROPERTY = re.compile(
    r"!?\(*inputs\.artifacts\['(?P<key>[^']+)'\]\.artifacts\[0\]"
    r"\.(?P<what>uri|metadata\['(?P<name>[^']+)'\])"
    r" (?P<operator>==|<|>) (?P<value>'[^']*'|[-\d.e+]+)\)*"
)
_OPERATORS = {"==": operator.eq, "<": operator.lt, ">": operator.gt}


def holds(condition: str, artifacts: Mapping[str, Any]) -> bool:
    """Says whether a condition on input artifacts holds.

    Args:
        condition: Comparisons of a property or an address with a constant, joined by `&&`.
        artifacts: Input artifacts as of an executor input.

    Raises:
        ValueError: The condition cannot be read, or an artifact has no such property.
    """
    return all(_compare(part.strip(), artifacts) for part in condition.split("&&"))


def _compare(text: str, artifacts: Mapping[str, Any]) -> bool:
    found = _PROPERTY.fullmatch(text)
    if not found:
        raise ValueError(f"The condition `{text}` is not of those that TFX writes.")
    artifact = artifacts[found["key"]]["artifacts"][0]
    value = artifact["uri"]
    if found["name"]:
        if found["name"] not in artifact["metadata"]:
            raise ValueError(f"no such key: {found['name']}")
        value = artifact["metadata"][found["name"]]
    constant = ast.literal_eval(found["value"])
    return bool(_OPERATORS[found["operator"]](value, constant)) != text.startswith("!")
