"""A fingerprint of source code, so that TFX's cache sees a changed line."""

from __future__ import annotations

import hashlib
import importlib.util
from functools import cache
from pathlib import Path

SOURCE_SUFFIXES = (".py", ".pbtxt", ".yaml")


@cache
def code_version(*modules: str) -> str:
    """Hashes the sources of packages and modules.

    TFX keys its cache by a component's inputs and execution properties; the
    code that an executor runs is neither. Every component therefore carries
    the hash of the packages that it runs as a property.

    Args:
        *modules: Importable names, e.g. `"transforms"` or `"models.trainer"`.
            A package stands for all the modules below it.

    Returns:
        Sixteen hexadecimal digits, the same wherever the sources are the same.

    Raises:
        ModuleNotFoundError: A name that nothing can import.
    """
    digest = hashlib.sha256()
    for module in sorted(modules):
        for name, path in _sources(module):
            digest.update(f"{name}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _sources(module: str) -> list[tuple[str, Path]]:
    """Returns each source file of a module with its name relative to the module."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"No module `{module}` to compute a code version of.")
    origin = Path(spec.origin)
    if spec.submodule_search_locations is None:
        return [(module, origin)]
    files = (p for p in sorted(origin.parent.rglob("*")) if p.suffix in SOURCE_SUFFIXES)
    return [(f"{module}/{p.relative_to(origin.parent).as_posix()}", p) for p in files]
