"""Sections of a configuration as they were given: objects among them, and keys that they share."""

from __future__ import annotations

from types import NoneType
from typing import Any
from typing import get_args

from transforms.base_config import Config


def without_objects(kind: type[Config], values: Any) -> Any:
    """Returns a configuration as a dictionary of what was given, sections that are objects too.

    Args:
        kind: The configuration.
        values: What was given of it: an object, or a dictionary with objects in it.
    """
    if isinstance(values, Config):
        values = {name: getattr(values, name) for name in values.model_fields_set}
    if not isinstance(values, dict):
        return values  # off, or of a wrong type, which its own field says better
    fields = {name: _section(field.annotation) for name, field in kind.model_fields.items()}
    return {
        name: without_objects(section, value) if (section := fields.get(name)) else value
        for name, value in values.items()
    }


def with_shared(
    kind: type[Config], values: dict[str, Any], shared: dict[str, Any], where: str = ""
) -> dict[str, Any]:
    """Returns the sections of a configuration, each with the shared keys that it has.

    Args:
        kind: The configuration.
        values: What was given of it.
        shared: Values by key.
        where: Dotted key of the configuration, with a dot at its end.

    Raises:
        ValueError: A section says otherwise.
    """
    sections = {}
    for name, field in kind.model_fields.items():
        section = _section(field.annotation)
        given = values.get(name, {} if field.default is not None else None)
        if section is None or not isinstance(given, dict):
            continue  # no section, one that is off, or of a wrong type, which its own field says
        mine = {key: value for key, value in shared.items() if key in section.model_fields}
        for key, value in mine.items():
            if list(given.get(key, value)) != list(value):
                raise ValueError(f"Set `{key}` at the top of the file, not in `{where}{name}`.")
        if made := mine | with_shared(section, given, shared, f"{where}{name}."):
            sections[name] = given | made
    return sections


def _section(annotation: Any) -> type[Config] | None:
    """Returns the configuration that a field holds, optional or not; None for any other field."""
    kinds = [kind for kind in get_args(annotation) or [annotation] if kind is not NoneType]
    kind = kinds[0]
    return kind if len(kinds) == 1 and isinstance(kind, type) and issubclass(kind, Config) else None
