"""Virtual environments of peers, made on first use, and their processes.

TensorFlow, PyTorch and the others need different versions of common libraries, and
a peer's threads and memory should be its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.environment import ROOT

HERE = Path(__file__).parent
Setting = str | int | float | bool | Sequence[int]
TORCH, ANN = "torch", "ann"  # requirements-<name>.txt
# By default glibc returns a step's gigabyte of logits to the system and fetches it anew, page by
# page, which costs half of the step's CPU time. PyTorch's tuning guide advises an allocator
# that keeps memory; glibc's does with these.
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**36)}


def peer_python(name: str, home: Path = ROOT / ".tools") -> Path:
    """Returns the Python that has a peer; installs it when requirements have changed.

    Args:
        name: Of the environment: `requirements-<name>.txt` says what is in it.
        home: Where environments are.

    Raises:
        FileNotFoundError: There is no uv; `scripts/bootstrap.sh` fetches one.
        subprocess.CalledProcessError: The installation failed; uv has said why.
    """
    requirements, folder = HERE / f"requirements-{name}.txt", home / f"{name}-peer"
    python, stamp = folder / "bin" / "python", folder / ".installed"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    uv = find_uv()
    print(f"Installing {requirements.name} into {folder}, once", flush=True)
    make = [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)]
    subprocess.run(make, check=True)
    install = [uv, "pip", "install", "--quiet", "--python", str(python), "-r", str(requirements)]
    subprocess.run(install, check=True)
    stamp.write_text(wanted, encoding="utf-8")
    return python


def find_uv(root: Path = ROOT) -> str:
    """Returns the uv that set-up installed, or the one on PATH.

    Raises:
        FileNotFoundError: Neither is there.
    """
    own = root / ".tools" / "uv" / "bin" / "uv"
    found = str(own) if own.exists() else shutil.which("uv")
    if found is None:
        raise FileNotFoundError(f"No uv at {own} or on PATH; scripts/bootstrap.sh installs it.")
    return found


def run_peer(name: str, script: str, out: Path, **settings: Setting) -> dict[str, Any]:
    """Runs a peer in its own process.

    Args:
        name: Of its environment.
        script: The file beside this one, without `.py`.
        out: The JSON file that it writes.
        settings: Its options by name: `threads=2, save_scores=True`.

    Returns:
        The content of `out`.

    Raises:
        subprocess.CalledProcessError: The peer failed; it has printed why.
    """
    command = [str(peer_python(name)), str(HERE / f"{script}.py"), "--out", str(out)]
    subprocess.run(command + as_options(settings), check=True, env=os.environ | KEEP_MEMORY)
    report: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return report


def run_sasrec(data: Path, out: Path, **settings: Setting) -> dict[str, Any]:
    """Trains SASRec in PyTorch on what `export_interactions` wrote; see `run_peer`."""
    return run_peer(TORCH, "sasrec_torch", out, data=str(data), **settings)


def as_options(settings: Mapping[str, Setting]) -> list[str]:
    """Returns settings as options: `{"max_minutes": 5}` is `--max-minutes 5`; True has no value."""
    options: list[str] = []
    for name, value in settings.items():
        option = "--" + name.replace("_", "-")
        if value is True:
            options.append(option)
        elif isinstance(value, Sequence) and not isinstance(value, str):
            options += [option, *map(str, value)]
        elif value is not False:
            options += [option, str(value)]
    return options
