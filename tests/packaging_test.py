"""What an installation asks for, against what the code imports."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DISTRIBUTIONS = {
    "PIL": "pillow",
    "absl": "absl-py",
    "google.protobuf": "protobuf",
    "google_crc32c": "google-crc32c",
    "grpc": "grpcio",
    "grpc_health": "grpcio-health-checking",
    "vl_convert": "vl-convert-python",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
# What a package of ours imports besides itself; `models` and `serving` meet at the SavedModel.
ARROWS: dict[str, set[str]] = {
    "transforms": set(),
    "models": {"transforms"},
    "serving": {"transforms"},
    "tfx_pipeline": {"models", "serving", "transforms"},
}
OWN = set(ARROWS)
OUTSIDE = {"benchmarks", "deploy", "scripts", "tests"}  # nothing of ours imports these
# What TFX brings, in the versions that it needs.
OF_TFX = {
    "ml_metadata",
    "tensorflow_data_validation",
    "tensorflow_metadata",
    "tensorflow_model_analysis",
    "tensorflow_transform",
    "tfx_bsl",
}
BY_HAND = {"tensorflow_serving"}  # `serving/client/build_descriptors.py`, with the extra `test`


@pytest.fixture(scope="module")
def requirements(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Names of the required distributions by extra; those of a plain install under ``."""
    folder = tmp_path_factory.mktemp("egg")
    command = [sys.executable, "-W", "ignore", "setup.py", "-q", "egg_info", "-e", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    found: dict[str, set[str]] = {"": set()}
    extra = ""
    for line in (folder / "vitrine.egg-info" / "requires.txt").read_text().splitlines():
        if line.startswith("["):  # perhaps with a marker: [extra:python_version < "3.12"]
            extra = line.strip("[]").partition(":")[0]
            found.setdefault(extra, set())
        elif line:
            found[extra].add(_name(line))
    return found


def _name(requirement: str) -> str:
    return re.split(r"[<>=!~;\[ ]", requirement)[0].lower().replace("_", "-")


def modules_of(*folders: str) -> set[str]:
    """Returns the modules that the files below the folders import, wherever in a file."""
    modules = set()
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    modules |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    modules.add(node.module)
    return modules


def imports_of(*folders: str) -> set[str]:
    """Returns the distributions that the files below the folders import."""
    named = set()
    for module in modules_of(*folders):
        top = module.partition(".")[0]
        if top in OWN | OF_TFX | BY_HAND or top in sys.stdlib_module_names:
            continue
        key = "google.protobuf" if module.startswith("google.protobuf") else top
        named.add(DISTRIBUTIONS.get(key, key.lower().replace("_", "-")))
    return named


@pytest.mark.parametrize("package", ARROWS)
def test_packages_import_along_the_arrows(package: str) -> None:
    ours = {name.partition(".")[0] for name in modules_of(package)} & (OWN | OUTSIDE)
    assert ours == ARROWS[package] | {package}


def test_a_plain_install_is_the_client_and_needs_no_tensorflow(
    requirements: dict[str, set[str]],
) -> None:
    assert requirements[""] == {"click", "grpcio", "numpy", "protobuf"}
    assert imports_of("serving/client", "serving/cascade") <= requirements[""]


def test_the_extras_hold_what_is_imported(requirements: dict[str, set[str]]) -> None:
    serving = requirements[""] | requirements["serving"]
    assert imports_of("serving/client", "serving/local_server") <= serving
    assert "tfx" not in serving
    pipeline = requirements[""] | requirements["pipeline"]
    assert imports_of(*OWN) <= pipeline | requirements["kubeflow"] | requirements["redis"]
    assert requirements["serving"] <= requirements["pipeline"] <= requirements["test"]
    assert requirements["test"] <= requirements["dev"]


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-3.12.lock"])
def test_a_lock_has_everything_that_the_extras_name(
    requirements: dict[str, set[str]], name: str
) -> None:
    lock = (ROOT / name).read_text(encoding="utf-8")
    locked = {_name(line) for line in lock.splitlines() if re.match(r"[A-Za-z0-9]", line)}
    assert set().union(*requirements.values()) - locked == set()
