"""`make audit`: what is new, what is out of date, and what could not be looked up."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
LOCKS = {
    "requirements.lock": "pyarrow==10.0.1 \\\n    --hash=sha256:aa\n"
    "urllib3==1.26.20 \\\n    --hash=sha256:bb\n",
    "requirements-3.12.lock": "pyarrow==18.1.0 \\\n    --hash=sha256:cc\n",
}
NEWER = "requirements-3.12.lock: 1 of 1 packages audited; 0 findings known"
KNOWN = {"package": "pyarrow", "version": "10.0.1", "id": "CVE-2023-47248", "reason": "refused"}
PICKLED = {"id": "PYSEC-2023-238", "aliases": ["CVE-2023-47248"], "fix_versions": ["14.0.1"]}
OTHER = {"id": "GHSA-38jv-5279-wg99", "aliases": ["CVE-2026-21441"], "fix_versions": []}


def audit(
    tmp_path: Path, report: Any, known: list[dict[str, str]], newer: Any = None
) -> tuple[int, list[str]]:
    """Runs a copy of the script with a stand-in for uv, which prints what pip-audit would.

    Args:
        tmp_path: A folder.
        report: What it would print of the first lock.
        known: The findings that are known.
        newer: What it would print of the second lock; else that there is nothing.
    """
    script = tmp_path / "scripts" / "audit.py"
    script.parent.mkdir()
    shutil.copy(ROOT / "scripts" / "audit.py", script)
    (tmp_path / "scripts" / "known_findings.yaml").write_text(yaml.safe_dump(known))
    uv = tmp_path / ".tools" / "uv" / "bin" / "uv"
    uv.parent.mkdir(parents=True)
    uv.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\ncat "$5.report"\n')
    uv.chmod(0o755)
    reports = (report, newer or {"dependencies": [package("pyarrow", "18.1.0")]})
    for (name, lock), text in zip(LOCKS.items(), reports, strict=True):
        (tmp_path / name).write_text(lock)
        said = text if isinstance(text, str) else json.dumps(text)
        (tmp_path / f"{name}.report").write_text(said)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr
    asked = (tmp_path / "asked").read_text().splitlines()
    for line, name in zip(asked, LOCKS, strict=True):
        assert f"--requirement {tmp_path}/{name} --require-hashes" in line
    return done.returncode, done.stdout.splitlines()


def package(name: str, version: str, *vulns: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "version": version, "vulns": list(vulns)}


def report(*packages: dict[str, Any]) -> dict[str, Any]:
    return {"dependencies": list(packages), "fixes": []}


def test_a_known_finding_passes_under_any_of_its_ids(tmp_path: Path) -> None:
    found = report(package("pyarrow", "10.0.1", PICKLED), package("urllib3", "1.26.20"))
    older = "requirements.lock: 2 of 2 packages audited; 1 findings known"
    assert audit(tmp_path, found, [KNOWN]) == (0, [older, NEWER])


def test_a_lock_is_held_against_what_is_known_of_its_own_versions(tmp_path: Path) -> None:
    older = report(package("pyarrow", "10.0.1", PICKLED), package("urllib3", "1.26.20"))
    newer = report(package("pyarrow", "18.1.0", PICKLED))
    code, lines = audit(tmp_path, older, [KNOWN], newer)
    assert code == 1
    assert lines[1:] == [
        "NEW    pyarrow 18.1.0: CVE-2023-47248, PYSEC-2023-238; fixed in 14.0.1",
        NEWER,
    ]


def test_a_new_finding_and_one_that_is_no_more_are_named(tmp_path: Path) -> None:
    found = report(package("pyarrow", "10.0.1"), package("urllib3", "1.26.20", OTHER))
    code, lines = audit(tmp_path, found, [KNOWN])
    assert code == 1
    assert lines[:2] == [
        "NEW    urllib3 1.26.20: CVE-2026-21441, GHSA-38jv-5279-wg99; fixed in no version",
        "STALE  CVE-2023-47248 of pyarrow 10.0.1: the service does not report it",
    ]


def test_a_package_that_the_service_does_not_know_is_not_called_clean(tmp_path: Path) -> None:
    skipped = {"name": "pyarrow", "skip_reason": "Dependency not found"}
    code, lines = audit(tmp_path, report(skipped, package("urllib3", "1.26.20")), [KNOWN])
    assert (code, lines[0]) == (2, "requirements.lock: 1 of 2 packages audited; 1 findings known")
    assert lines[1].startswith("NOT AUDITED: ") and "pyarrow" in lines[1]


def test_a_service_out_of_reach_is_said_and_hides_no_entry_of_another_version(
    tmp_path: Path,
) -> None:
    code, lines = audit(tmp_path, "no JSON", [{**KNOWN, "version": "9.0.0"}])
    assert code == 1
    assert lines[0] == "STALE  CVE-2023-47248 of pyarrow 9.0.0: locked is 10.0.1 and 18.1.0"
    assert lines[2].startswith("NOT AUDITED: ") and "pip-audit ended with code 0" in lines[2]


def test_the_known_findings_are_of_locked_versions_and_have_reasons() -> None:
    locks = "".join((ROOT / name).read_text() for name in LOCKS)
    entries = yaml.safe_load((ROOT / "scripts" / "known_findings.yaml").read_text())
    assert len({(e["package"], e["version"], e["id"]) for e in entries}) == len(entries)
    for entry in entries:
        assert f"\n{entry['package']}=={entry['version']} " in locks, entry
        assert len(entry["reason"]) > 40, entry


def test_protobuf_parses_in_c_as_the_known_findings_say() -> None:
    from google.protobuf.internal import api_implementation

    if os.environ.get("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION") == "python":
        pytest.skip("the environment asks for the pure-Python parser")
    assert api_implementation.Type() != "python"
