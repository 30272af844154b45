"""A fingerprint of what runs, so that TFX's cache sees a changed line and a new library."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

PACKAGES = ("models", "serving", "tfx_pipeline", "transforms")
DATA_SUFFIXES = (".pbtxt", ".binpb")
# Libraries that decide results, and the distributions that bring them.
LIBRARIES = {
    "PIL": ("pillow",),
    "apache_beam": ("apache-beam",),
    "numpy": ("numpy",),
    "pandas": ("pandas",),
    "pyarrow": ("pyarrow",),
    "scann": ("scann",),
    "scipy": ("scipy",),
    "sklearn": ("scikit-learn",),
    "tensorflow": ("tensorflow", "tf-keras"),
    "tensorflow_data_validation": ("tensorflow-data-validation",),
    "tensorflow_model_analysis": ("tensorflow-model-analysis",),
    "tensorflow_recommenders": ("tensorflow-recommenders",),
    "tensorflow_transform": ("tensorflow-transform",),
    "tfx": ("tfx", "tfx-bsl", "apache-beam"),
}


@cache
def code_version(*modules: str, without: tuple[str, ...] = ()) -> str:
    """Hashes what modules run: their sources, what they import of ours, and versions of libraries.

    TFX keys its cache by a component's inputs and execution properties; the
    code that an executor runs is neither. Every component therefore carries
    this hash as a property. It follows imports, at the top of a module and
    inside functions, and strings that name a module (`python -m ...`), but none that
    only type checkers read, so that
    a change reaches the components that run it and no others. Of the libraries
    in `LIBRARIES` those count that the sources import.

    Args:
        *modules: Importable names of ours, e.g. `"models.trainer"`, where a package
            stands for all the modules in it; and libraries that run besides,
            e.g. `"tfx"` for one of its own components.
        without: Modules of ours that are neither hashed nor followed, e.g. a registry of
            which one entry is chosen.

    Returns:
        Sixteen hexadecimal digits, the same wherever the sources are the same.

    Raises:
        ModuleNotFoundError: A name that nothing can import.
    """
    digest = hashlib.sha256()
    files, libraries = reached(*modules, without=without)
    for name, path in sorted(files.items()):
        digest.update(f"{name}\0".encode())
        digest.update(path.read_bytes())
    for distribution in sorted({one for name in libraries for one in LIBRARIES[name]}):
        digest.update(f"{distribution}=={_installed(distribution)}\0".encode())
    return digest.hexdigest()[:16]


def reached(*modules: str, without: tuple[str, ...] = ()) -> tuple[dict[str, Path], set[str]]:
    """Returns every source and data file that the modules reach, by name, and the libraries."""
    files: dict[str, Path] = {}
    libraries = {module for module in modules if module in LIBRARIES}
    waiting = [name for module in modules if module not in libraries for name in _expand(module)]
    while waiting:
        name = waiting.pop()
        if name in files or name in without:
            continue
        path = _source(name)
        if path is None:
            raise ModuleNotFoundError(f"No module `{name}` to compute a code version of.")
        files[name] = path
        for data in path.parent.iterdir():
            if data.suffix in DATA_SUFFIXES:
                files[f"{data.parent.name}/{data.name}"] = data
        for found in _mentions(path):
            if found in LIBRARIES:
                libraries.add(found)
            elif _source(found) is not None:
                waiting.append(found)
    return files, libraries


def _installed(distribution: str) -> str:
    """Returns the version of a distribution; not all are where pipelines are compiled."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "none"


def _expand(module: str) -> Iterator[str]:
    """Yields a module, or a package and all the modules in it."""
    yield module
    path = _source(module)
    if path is not None and path.name == "__init__.py":
        for child in sorted(path.parent.rglob("*.py")):
            parts = child.relative_to(path.parent).with_suffix("").parts
            yield ".".join((module, *(part for part in parts if part != "__init__")))


def _mentions(path: Path) -> Iterator[str]:
    """Yields libraries that a source file imports, and names of ours that it imports or writes."""
    for node in _run(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value, node.value.rpartition(".")[0]]
        for name in names:
            parts = name.split(".")
            if parts[0] in LIBRARIES and not isinstance(node, ast.Constant):
                yield parts[0]
            if parts[0] in PACKAGES and all(part.isidentifier() for part in parts):
                # Importing a module runs the packages around it too.
                yield from (".".join(parts[:depth]) for depth in range(1, len(parts) + 1))


def _run(tree: ast.AST) -> Iterator[ast.AST]:
    """Yields all nodes but those below `if TYPE_CHECKING:`, which never run."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


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
