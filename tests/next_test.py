"""`scripts/next.sh` where it cannot do its work: skipped, with the reason, and nothing done."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_without_debootstrap_or_root_it_is_skipped_with_the_reason(tmp_path: Path) -> None:
    script = tmp_path / "scripts" / "next.sh"
    script.parent.mkdir()
    shutil.copy(ROOT / "scripts" / "next.sh", script)
    programs = tmp_path / "bin"
    programs.mkdir()
    for tool in ("bash", "dirname", "id", "uname"):
        (programs / tool).symlink_to(shutil.which(tool) or tool)
    done = subprocess.run(
        [str(programs / "bash"), str(script), "touch", str(tmp_path / "touched")],
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Skipped: " in done.stdout
    assert not (tmp_path / "touched").exists() and not (tmp_path / ".tools").exists()
