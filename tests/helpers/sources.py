"""Follows imports, so that a component's list of sources can be tested."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

_OURS = ("serving.", "transforms.", "models.", "tfx_pipeline.components.")


def reached(module: str) -> set[str]:
    """Returns the modules of ours that `module` imports or names, directly or not."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found or not _exists(name):
            continue
        found.add(name)
        waiting += [other for other in _mentioned(name) if other.startswith(_OURS)]
    return found


def uncovered(module: str, sources: tuple[str, ...]) -> set[str]:
    """Returns what `module` reaches and no entry of `sources`, a module or package, covers."""
    return {
        name
        for name in reached(module)
        if not any(name == source or name.startswith(source + ".") for source in sources)
    }


def _mentioned(name: str) -> set[str]:
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.origin is not None
    names: set[str] = set()
    for node in ast.walk(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)  # modules that are run by name
    return names


def _exists(name: str) -> bool:
    if not all(part.isidentifier() for part in name.split(".")):
        return False
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return False
    # A package as such is its `__init__`, which is not what runs.
    return spec is not None and spec.submodule_search_locations is None
