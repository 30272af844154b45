"""Looks for published vulnerabilities of the packages in both locks.

    python scripts/audit.py [--known scripts/known_findings.yaml]

runs pip-audit over each lock, which asks PyPI's vulnerability service, and compares with the
findings that are known. Returns 0 when there is no other and none is out of date, 1 when there is,
and 2 when not every package could be looked up: pip-audit itself says "no known vulnerabilities"
then.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
LOCKS = [ROOT / "requirements.lock", ROOT / "requirements-3.12.lock"]
PIP_AUDIT = "pip-audit==2.10.1"
NEWS, INCOMPLETE = 1, 2
_SHOWN = 5  # names of packages that could not be looked up
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


@dataclass(frozen=True)
class Finding:
    """A published vulnerability of a package at a version, by one of its ids."""

    package: str
    version: str
    id: str


@dataclass(frozen=True)
class Answer:
    """Findings of pip-audit: each vulnerability with all its ids, and the packages it left out."""

    findings: list[tuple[Finding, frozenset[str], str]]
    audited: set[str]
    skipped: list[str]


def read_lock(path: Path) -> dict[str, str]:
    """Reads the versions of a lock by package."""
    return dict(_PIN.findall(path.read_text(encoding="utf-8")))


def read_known(path: Path, locks: list[dict[str, str]]) -> tuple[list[Finding], list[str]]:
    """Reads the known findings; returns them, and those of versions that no lock has."""
    entries = yaml.safe_load(path.read_text(encoding="utf-8")) or []
    for entry in entries:
        if set(entry) != {"package", "version", "id", "reason"} or not entry["reason"].strip():
            raise ValueError(f"`{path}`: expected package, version, id and a reason: {entry}")
    known = [Finding(e["package"], str(e["version"]), e["id"]) for e in entries]
    stale = []
    for one in known:
        locked = [lock.get(one.package, "none") for lock in locks]
        if one.version not in locked:
            held = " and ".join(dict.fromkeys(locked))
            stale.append(f"{one.id} of {one.package} {one.version}: locked is {held}")
    return known, stale


def run_pip_audit(lock: Path) -> Answer:
    """Runs pip-audit over a lock.

    Raises:
        RuntimeError: It could not be run, or not ask.
    """
    own = ROOT / ".tools/uv/bin/uv"
    uv = str(own) if own.exists() else shutil.which("uv")
    if uv is None:
        raise RuntimeError("There is no uv; `make setup` brings one.")
    command = [uv, "tool", "run", PIP_AUDIT, "--requirement", str(lock), "--require-hashes"]
    command += ["--disable-pip", "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return parse(json.loads(done.stdout))
    except (ValueError, KeyError) as error:
        tail = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise RuntimeError(f"pip-audit ended with code {done.returncode}: {tail}") from error


def parse(report: dict[str, Any]) -> Answer:
    """Reads pip-audit's JSON."""
    answer = Answer([], set(), [])
    for package in report["dependencies"]:
        name = package["name"]
        if "skip_reason" in package:
            answer.skipped.append(name)
            continue
        answer.audited.add(name)
        for found in package["vulns"]:
            ids = frozenset([found["id"], *found.get("aliases", [])])
            fixed = ", ".join(found["fix_versions"]) or "no version"
            finding = Finding(name, package["version"], found["id"])
            answer.findings.append((finding, ids, f"fixed in {fixed}"))
    return answer


def compare(known: list[Finding], answer: Answer) -> tuple[list[str], list[str]]:
    """Returns the findings that are not known, and the known ones that are none."""
    new = [
        f"{found.package} {found.version}: {', '.join(sorted(ids))}; {fixed}"
        for found, ids, fixed in answer.findings
        if not any(one.package == found.package and one.id in ids for one in known)
    ]
    stale = [
        f"{one.id} of {one.package} {one.version}: the service does not report it"
        for one in known
        if one.package in answer.audited
        and not any(one.package == f.package and one.id in ids for f, ids, _ in answer.findings)
    ]
    return new, stale


def audit(path: Path, lock: dict[str, str], known: list[Finding]) -> int:
    """Audits a lock, prints what is new, out of date or was not looked up; returns the exit code.

    Args:
        path: The lock.
        lock: Its versions by package.
        known: The findings that are known of them.
    """
    new: list[str] = []
    stale: list[str] = []
    missed = list(lock)
    why = ""
    try:
        answer = run_pip_audit(path)
        new, stale = compare(known, answer)
        missed = [name for name in lock if name not in answer.audited]
    except RuntimeError as error:
        why = f" {error}"
    for line in new:
        print(f"NEW    {line}")
    for line in stale:
        print(f"STALE  {line}")
    audited = f"{len(lock) - len(missed)} of {len(lock)} packages audited"
    print(f"{path.name}: {audited}; {len(known)} findings known")
    if missed:
        names = ", ".join(missed[:_SHOWN]) + (", ..." if len(missed) > _SHOWN else "")
        print(
            f"NOT AUDITED: the vulnerability service was not asked, or does not know {names}.{why}"
        )
    return NEWS if new or stale else INCOMPLETE if missed else 0


def main() -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--known", type=Path, default=ROOT / "scripts/known_findings.yaml")
    args = parser.parse_args()
    locks = {path: read_lock(path) for path in LOCKS}
    known, stale = read_known(args.known, list(locks.values()))
    for line in stale:
        print(f"STALE  {line}")
    codes = {NEWS} if stale else set()
    for path, lock in locks.items():
        codes.add(audit(path, lock, [k for k in known if lock.get(k.package) == k.version]))
    return next((code for code in (NEWS, INCOMPLETE) if code in codes), 0)


if __name__ == "__main__":
    sys.exit(main())
