"""Configuration files: YAML read as a typed configuration, with overrides."""

from __future__ import annotations

from collections.abc import Container
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from typing import TypeVar

import yaml
from pydantic import ValidationError

from tfx_pipeline.config import SHARED
from tfx_pipeline.config import PipelineConfig
from transforms.base_config import Config
from transforms.base_config import explain
from transforms.base_config import problems

CONFIGS = Path(__file__).parent / "configs"
Kind = TypeVar("Kind", bound=Config)
_KINDS = {"model": "family", "loss": "name"}  # sections whose name alone stands for a kind


def load_config(name_or_path: str, overrides: tuple[str, ...] = ()) -> PipelineConfig:
    """Loads a configuration file and applies `key=value` overrides.

    Args:
        name_or_path: A YAML file, or the name of one in `tfx_pipeline/configs`.
        overrides: Dotted keys with YAML values, e.g. `retrieval.trainer.seed=2`.

    Returns:
        The typed configuration.

    Raises:
        ValueError: No such file, an override without `=`, an unknown key
            (the message names the nearest one), or a value of a wrong type.
    """
    return read_typed(PipelineConfig, _find(name_or_path), overrides)


def read_typed(kind: type[Kind], path: Path, overrides: tuple[str, ...] = ()) -> Kind:
    """Reads a YAML file as a typed configuration, with `key=value` overrides.

    Raises:
        ValueError: As `load_config`, but for a file that is not there. What comes from an
            override is said to.
    """
    try:
        return kind.model_validate(_read_values(path, overrides))
    except ValidationError as error:
        found = problems(error)
    # A problem comes from the overrides without which it is gone.
    others = {
        override: _problems_without(override, kind, path, overrides) for override in overrides
    }
    lines = []
    for problem in found:
        set_by = [f"`--set {one}`" for one, left in others.items() if problem not in left]
        lines.append(f"{problem} (from {' and '.join(set_by)})" if set_by else problem)
    where = f"{path} with what --set gives" if lines != found else str(path)
    raise ValueError("\n  ".join([f"{where} is not a valid configuration:", *lines]))


def _problems_without(
    override: str, kind: type[Config], path: Path, overrides: tuple[str, ...]
) -> list[str]:
    """Returns what is wrong with a configuration that does without one override."""
    try:
        kind.model_validate(_read_values(path, tuple(o for o in overrides if o != override)))
    except ValidationError as error:
        return problems(error)
    except ValueError:  # another override needs this one
        pass
    return []


def typed(kind: type[Kind], values: dict[str, Any], where: str) -> Kind:
    """Returns values as a typed configuration.

    Args:
        kind: The configuration.
        values: What was given of it.
        where: What to call it in errors.

    Raises:
        ValueError: As `load_config`.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ValueError(explain(error, where)) from None


def given_values(name_or_path: str, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """Returns what a configuration file gives, with overrides, without any default."""
    return _read_values(_find(name_or_path), overrides)


def _read_values(path: Path, overrides: tuple[str, ...]) -> dict[str, Any]:
    values = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    if not isinstance(values, dict):
        raise ValueError(f"{path} should hold keys and values, `name: value` on a line each.")
    for override in overrides:
        set_key(values, override)
    return values


def differences(config: PipelineConfig, base: PipelineConfig) -> list[str]:
    """Returns the values in which a configuration differs from another, a line each.

    A value that reaches several sections is named once, by the key that sets it.
    """
    new, old = (dict(leaves(one.model_dump(mode="json"), one.derived)) for one in (config, base))
    keys = [key for key in (new | old) if new.get(key) != old.get(key)]
    return [f"{key}: {new.get(key, 'unset')} (was {old.get(key, 'unset')})" for key in keys]


def leaves(
    values: dict[str, Any], derived: Container[str], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """Yields dotted keys and values, without those that another key sets."""
    for key, value in values.items():
        if f"{prefix}{key}" in derived or (prefix and key in SHARED):
            continue
        if isinstance(value, dict):
            yield from leaves(value, derived, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def parse_yaml(text: str, where: str) -> Any:
    """Reads YAML; a mistake in it is a `ValueError` that says where."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"`{where}` is not valid YAML: {error}") from None


def _find(name_or_path: str) -> Path:
    """Returns the file for a path or for the name of a configuration that ships."""
    from transforms.storage import place  # it imports Arrow, which the client goes without

    for path in (place(name_or_path), CONFIGS / f"{name_or_path}.yaml"):
        if path.is_file():
            return path
    known = ", ".join(sorted(p.stem for p in CONFIGS.glob("*.yaml")))
    raise ValueError(
        f"No configuration `{name_or_path}`: give a YAML file, or one of these names: {known}."
    )


def set_key(values: dict[str, Any], override: str) -> None:
    """Sets one dotted key in nested dictionaries.

    Args:
        values: The dictionaries, changed in place.
        override: `section.key=value`, the value in YAML.

    Raises:
        ValueError: There is no `=`, or the key goes through a plain value.
    """
    key, separator, value = override.partition("=")
    if not separator:
        raise ValueError(
            "An override is written key=value, for example retrieval.trainer.seed=2; received "
            f"`{override}`."
        )
    *sections, leaf = key.strip().split(".")
    for section in sections:
        if isinstance(values.get(section), str) and section in _KINDS:
            values[section] = {_KINDS[section]: values[section]}
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ValueError(f"`{section}` in the override `{override}` is a value, not a section.")
    values[leaf] = parse_yaml(value, override)
