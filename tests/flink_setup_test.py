"""`make flink`: the job server is that of the environment's Beam, and none of another's is used."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.helpers import flink_cluster

ROOT = Path(__file__).parents[1]
PACKAGES = """
for word; do case $word in -Dwork=*) work=${word#*=} ;; -Drevision=*) beam=${word#*=} ;; esac; done
mkdir -p "$work" && echo "$beam" > "$work/flink-job-server-$beam.jar"
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the scripts, and programs that do what Maven, uv and a compiler would."""
    shutil.copytree(ROOT / "scripts" / "flink", tmp_path / "scripts" / "flink")
    jar = tmp_path / "flink-dist.jar"
    jar.touch()
    archive = tmp_path / "flink.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in ("flink-dist-1.jar", "log4j-1.jar"):
            tar.add(jar, f"apache-flink-libraries/deps/lib/{name}")
    script = tmp_path / "scripts" / "flink" / "setup.sh"
    pinned = next(line for line in script.read_text().splitlines() if "FLINK_SHA256=" in line)
    own = hashlib.sha256(archive.read_bytes()).hexdigest()
    script.write_text(script.read_text().replace(pinned, f"FLINK_SHA256={own}"))
    fetches = f'while [ "$1" != --dest ]; do shift; done; echo "$3" >> {tmp_path}/fetched\n'
    fetches += f'cp {archive} "$2/${{3/==/-}}.tar.gz"'
    program(tmp_path / "bin" / "java", "echo '    java.specification.version = 17'")
    program(tmp_path / "bin" / "mvn", PACKAGES)
    program(tmp_path / ".tools" / "uv" / "bin" / "uv", fetches)
    program(tmp_path / "bin" / "c++", 'touch "${@: -3:1}"')
    install_beam(tmp_path, "2.62.0")
    return tmp_path


def program(path: Path, lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{shutil.which('bash')}\n{lines}\n")
    path.chmod(0o755)


def install_beam(checkout: Path, version: str) -> None:
    program(checkout / ".venv" / "bin" / "python", f"echo {version}")


def set_up(checkout: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{checkout / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    script = checkout / "scripts" / "flink" / "setup.sh"
    return subprocess.run([script], env=environment, capture_output=True, text=True, check=False)


def test_another_beam_gets_a_job_server_of_its_own(checkout: Path) -> None:
    tools = checkout / ".tools" / "flink"
    for beam in ("2.62.0", "2.77.0"):
        install_beam(checkout, beam)
        done = set_up(checkout)
        assert done.returncode == 0, done.stdout + done.stderr
        assert (tools / "job-server.jar").read_text().strip() == beam
        assert (tools / "beam-version").read_text().strip() == beam
        assert {one.name for one in (tools / "lib").iterdir()} == {
            "flink-dist-1.jar",
            "log4j-1.jar",
        }
        assert set_up(checkout).stdout == ""  # nothing to do
    assert len((checkout / "fetched").read_text().splitlines()) == 2


def test_what_is_there_stays_where_a_beam_has_no_job_server(checkout: Path) -> None:
    assert set_up(checkout).returncode == 0
    install_beam(checkout, "2.77.0")
    program(checkout / "bin" / "mvn", "exit 1")
    done = set_up(checkout)
    assert done.returncode == 1
    assert "Beam 2.77.0 has given no job server for Flink 1.19" in done.stderr
    assert (checkout / ".tools" / "flink" / "beam-version").read_text().strip() == "2.62.0"
    assert len((checkout / "fetched").read_text().splitlines()) == 1  # nothing is fetched in vain


def test_no_cluster_is_started_with_the_job_server_of_another_beam(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flink_cluster, "TOOLS", checkout / ".tools" / "flink")
    monkeypatch.setenv("PATH", str(checkout / "bin"))
    assert flink_cluster.missing() == "Flink is not set up: run `make flink`"
    environment = checkout / ".tools" / "flink"
    environment.mkdir()
    (environment / "beam-version").write_text("2.0.0\n")
    assert "Flink is set up for Beam 2.0.0, and this is" in flink_cluster.missing()
    (environment / "beam-version").write_text(f"{flink_cluster.version('apache-beam')}\n")
    assert flink_cluster.missing() == ""
