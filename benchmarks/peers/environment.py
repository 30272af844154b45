"""The virtual environment of PyTorch's peer, made on first use, and its process.

TensorFlow and PyTorch need different versions of common libraries, and a
peer's threads and memory should be its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.environment import ROOT

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "requirements-torch.txt"
SCRIPT = HERE / "sasrec_torch.py"
FOLDER = ROOT / ".tools" / "torch-peer"
# By default glibc returns a step's gigabyte of logits to the system and fetches it anew, page by
# page, which costs half of the step's CPU time. PyTorch's tuning guide advises an allocator
# that keeps memory; glibc's does with these.
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**36)}


def torch_python(folder: Path = FOLDER) -> Path:
    """Returns the Python that has PyTorch; installs it when requirements have changed.

    Raises:
        FileNotFoundError: There is no uv; `scripts/bootstrap.sh` fetches one.
        subprocess.CalledProcessError: The installation failed; uv has said why.
    """
    python, stamp = folder / "bin" / "python", folder / ".installed"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    uv = find_uv()
    print(f"Installing {REQUIREMENTS.name} into {folder} (5.3 GB, once)", flush=True)
    make = [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)]
    subprocess.run(make, check=True)
    install = [uv, "pip", "install", "--quiet", "--python", str(python), "-r", str(REQUIREMENTS)]
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


def run_sasrec(data: Path, out: Path, **settings: str | int | float | bool) -> dict[str, Any]:
    """Trains the peer in its own process.

    Args:
        data: What `export_interactions` wrote.
        out: The JSON file to write.
        settings: Options of `sasrec_torch.py` by name: `threads=2, save_scores=True`.

    Returns:
        The content of `out`.

    Raises:
        subprocess.CalledProcessError: The peer failed; it has printed why.
    """
    command = [str(torch_python()), str(SCRIPT), "--data", str(data), "--out", str(out)]
    subprocess.run(command + as_options(settings), check=True, env=os.environ | KEEP_MEMORY)
    report: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return report


def as_options(settings: dict[str, str | int | float | bool]) -> list[str]:
    """Returns settings as options: `{"max_minutes": 5}` is `--max-minutes 5`; True has no value."""
    options: list[str] = []
    for name, value in settings.items():
        option = "--" + name.replace("_", "-")
        if value is True:
            options.append(option)
        elif value is not False:
            options += [option, str(value)]
    return options
