"""`vitrine doctor`: what is installed, what clashes, and how to mend it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Row:
    """A row of the support matrix: versions that work with each other.

    Attributes:
        name: Name, in messages.
        pythons: Versions of Python, first the one that the lock was compiled for.
        glibc: The oldest C library that its wheels run on.
        tested: Locked version by package, of those that facts of the ecosystem tie together.
    """

    name: str
    pythons: tuple[tuple[int, int], ...]
    glibc: tuple[int, int]
    tested: Mapping[str, str]


ROWS = (
    Row(
        "TFX 1.16",
        ((3, 10),),
        (2, 27),
        {
            "tfx": "1.16.0",
            "tensorflow": "2.16.2",
            "tf-keras": "2.16.0",
            "tensorflow-recommenders": "0.7.7",
            "tensorflow-serving-api": "2.16.1",
            "tensorflow-transform": "1.16.0",
            "tensorflow-model-analysis": "0.47.1",
            "apache-beam": "2.62.0",
            "scann": "1.3.2",
            "protobuf": "3.20.3",
            "numpy": "1.26.4",
            "pyarrow": "10.0.1",
        },
    ),
    Row(
        "TFX 1.21",
        ((3, 12), (3, 13)),
        (2, 39),
        {
            "tfx": "1.21.0",
            "tensorflow": "2.21.0",
            "tf-keras": "2.21.0",
            "tensorflow-recommenders": "0.7.7",
            "tensorflow-serving-api": "2.21.0",
            "tensorflow-transform": "1.21.0",
            "tensorflow-model-analysis": "0.52.0",
            "apache-beam": "2.77.0",
            "scann": "1.4.2",
            "protobuf": "6.33.6",
            "numpy": "2.4.6",
            "pyarrow": "18.1.0",
        },
    ),
)


@dataclass(frozen=True)
class Check:
    """One line of the report: what was looked at, what was found, how to mend it."""

    name: str
    status: Status
    found: str
    mend: str = ""


def examine() -> Iterator[Check]:
    """Yields one check after another; the slow ones import TensorFlow and ScaNN elsewhere."""
    yield _python()
    yield _glibc()
    yield from _packages()
    yield _keras_environment()
    yield _import_order()
    yield _imports("tensorflow and its Keras", _PRINT_KERAS)
    yield _imports("scann", "import transforms, scann; print('imports')")
    yield _memory()
    yield _compiler()


def format_check(check: Check) -> str:
    """Returns a check as a line, and a second line with the mend where one is needed."""
    mark = {"ok": "  ok  ", "warn": " warn ", "fail": " FAIL "}[check.status]
    line = f"[{mark}] {check.name:<28} {check.found}"
    return f"{line}\n         -> {check.mend}" if check.mend else line


def row_of(python: tuple[int, int]) -> Row | None:
    """Returns the row of the support matrix for a version of Python."""
    return next((row for row in ROWS if python in row.pythons), None)


def _python() -> Check:
    version = platform.python_version()
    row = row_of(sys.version_info[:2])
    if row:
        return Check("Python", "ok", f"{version}, the row of {row.name}")
    return Check(
        "Python",
        "fail",
        version,
        "TFX 1.16 runs on Python 3.10, TFX 1.21 on 3.12 and 3.13; `make setup` finds one.",
    )


def _glibc() -> Check:
    library, version = platform.libc_ver()
    if library != "glibc":
        return Check("C library", "fail", library or "unknown", "TFX's wheels need glibc (Linux).")
    numbers = tuple(int(part) for part in version.split(".")[:2])
    row, newest = row_of(sys.version_info[:2]) or ROWS[0], ROWS[-1]
    least = ".".join(map(str, newest.glibc))
    too_old = f" (TFX 1.16 is the newest that installs below {least})"
    note = "" if numbers >= newest.glibc else too_old
    status: Status = "ok" if numbers >= row.glibc else "fail"
    return Check("C library", status, f"glibc {version}{note}")


def _packages() -> Iterator[Check]:
    row = row_of(sys.version_info[:2]) or ROWS[0]
    for package, tested in row.tested.items():
        try:
            found = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            yield Check(package, "fail", "not installed", "Run `make setup`.")
            continue
        if found == tested:
            yield Check(package, "ok", found)
        else:
            yield Check(
                package, "warn", f"{found}, tested with {tested}", "`make setup` installs the lock."
            )


def _keras_environment() -> Check:
    value = os.environ.get("TF_USE_LEGACY_KERAS")
    if value in ("1", "true", "True"):
        return Check("TF_USE_LEGACY_KERAS", "ok", str(value))
    return Check(
        "TF_USE_LEGACY_KERAS",
        "fail",
        repr(value),
        "TensorFlow Recommenders needs Keras 2: unset it, or set TF_USE_LEGACY_KERAS=1.",
    )


def _import_order() -> Check:
    if "tensorflow" not in sys.modules:
        return Check("TensorFlow not imported yet", "ok", "vitrine's packages come first")
    return Check(
        "TensorFlow not imported yet",
        "warn",
        "something imported tensorflow before the command line did",
        "Look for a sitecustomize.py or a .pth file in this environment that imports it.",
    )


# `tf.keras` has no version of its own when it is Keras 2, which the package tf_keras brings.
_PRINT_KERAS = (
    "import transforms, tensorflow as tf; keras = tf.keras.Model.__module__.split('.')[0]; "
    "assert keras == 'tf_keras', 'Keras 3 is active'; "
    "print('TensorFlow', tf.__version__, 'with Keras 2')"
)


def _imports(name: str, code: str) -> Check:
    """Runs an import in a process of its own, for it is slow and may crash."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode == 0:
        return Check(name, "ok", done.stdout.strip().splitlines()[-1])
    reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
    return Check(name, "fail", reason, "Run `make setup`; if it stays, `rm -rf .venv` first.")


def _memory() -> Check:
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    found = f"{gib:.0f} GiB, {os.cpu_count()} cores"
    if gib >= 6:
        return Check("Memory", "ok", found)
    return Check("Memory", "warn", found, "The demo needs about 6 GiB; a smaller log needs less.")


def _compiler() -> Check:
    for name in ("c++", "g++", "clang++"):
        if shutil.which(name):
            return Check("C++ compiler", "ok", name)
    return Check(
        "C++ compiler",
        "warn",
        "none",
        "Needed only to install (pyfarmhash is compiled): apt-get install g++.",
    )
