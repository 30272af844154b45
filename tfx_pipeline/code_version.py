"""A fingerprint of source code, so that TFX's cache sees a changed line."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGES = ("models", "serving", "tfx_pipeline", "transforms")
DATA_SUFFIXES = (".pbtxt", ".binpb")


@cache
def code_version(*modules: str) -> str:
    """Hashes the sources that modules run: their own, and what they import of ours.

    TFX keys its cache by a component's inputs and execution properties; the
    code that an executor runs is neither. Every component therefore carries
    this hash as a property. It follows imports, at the top of a module and
    inside functions, and strings that name a module (`python -m ...`), so that
    a change reaches the components that run it and no others.

    Args:
        *modules: Importable names of ours, e.g. `"models.trainer"`. A package
            stands for all the modules in it.

    Returns:
        Sixteen hexadecimal digits, the same wherever the sources are the same.

    Raises:
        ModuleNotFoundError: A name that nothing can import.
    """
    digest = hashlib.sha256()
    for name, path in sorted(_closure(modules).items()):
        digest.update(f"{name}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _closure(modules: tuple[str, ...]) -> dict[str, Path]:
    """Returns every source and data file that the modules reach, by name."""
    files: dict[str, Path] = {}
    waiting = [name for module in modules for name in _expand(module)]
    while waiting:
        name = waiting.pop()
        if name in files:
            continue
        path = _source(name)
        if path is None:
            raise ModuleNotFoundError(f"No module `{name}` to compute a code version of.")
        files[name] = path
        for data in path.parent.iterdir():
            if data.suffix in DATA_SUFFIXES:
                files[f"{data.parent.name}/{data.name}"] = data
        waiting += [found for found in _mentions(path) if _source(found) is not None]
    return files


def _expand(module: str) -> Iterator[str]:
    """Yields a module, or a package and all the modules in it."""
    yield module
    path = _source(module)
    if path is not None and path.name == "__init__.py":
        for child in sorted(path.parent.rglob("*.py")):
            parts = child.relative_to(path.parent).with_suffix("").parts
            yield ".".join((module, *(part for part in parts if part != "__init__")))


def _mentions(path: Path) -> Iterator[str]:
    """Yields the names of ours that a source file imports or writes as a string."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value, node.value.rpartition(".")[0]]
        for name in names:
            parts = name.split(".")
            if parts[0] in PACKAGES and all(part.isidentifier() for part in parts):
                # Importing a module runs the packages around it too.
                yield from (".".join(parts[:depth]) for depth in range(1, len(parts) + 1))


@cache
def _source(module: str) -> Path | None:
    """Returns the source file of a module of ours, or None; imports no more than its root."""
    root, *parts = module.split(".")
    spec = importlib.util.find_spec(root)
    if spec is None or not spec.submodule_search_locations:
        return None
    place = Path(spec.submodule_search_locations[0], *parts)
    for path in (place / "__init__.py", place.with_suffix(".py")):
        if path.is_file():
            return path
    return None
