"""Dockerfiles and the compose file: linted, and of one mind with values and lock."""

from __future__ import annotations

import re
import string
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from deploy.compose import DOCKER
from deploy.compose import ROOT
from deploy.compose import recipes
from deploy.kubernetes import USER
from deploy.render import render
from deploy.values import VALUES
from deploy.values import load_values
from serving.local_server.batching_file import with_batching_file
from serving.local_server.config import ServerConfig
from serving.local_server.models_config import configured_models
from serving.publishing.announce import announce_version
from serving.publishing.config import PusherConfig
from tfx_pipeline.doctor import ROWS

DOCKERFILES = sorted((ROOT / DOCKER).glob("*.Dockerfile"))
HADOLINT = Path(sys.executable).with_name("hadolint")
LOCKED = re.compile(r"^[A-Za-z0-9._-]+==[^ ]+", re.MULTILINE)
LOCKS = {"3.10": "requirements.lock", "3.12": "requirements-3.12.lock"}
CUDA_LOCKS = {"3.10": "cuda.lock", "3.12": "cuda-3.12.lock"}
of_each_row = pytest.mark.parametrize("row", LOCKS)


def locked(lock: Path) -> dict[str, str]:
    """Versions in a lock by name, found as the local server's image finds them."""
    lines = LOCKED.findall(lock.read_text())
    return dict(line.split("==") for line in lines)


def built(text: str, arguments: Mapping[str, str]) -> list[str]:
    """Lines of a Dockerfile as a build with these arguments sees them.

    What is declared before the first FROM is known to FROM alone; what a stage declares, to it.
    """
    before: dict[str, str] = {}
    stage: dict[str, str] | None = None
    lines, known = [], set()
    for line in text.splitlines():
        if declared := re.fullmatch(r"ARG ([A-Z_]+)=(\S*)", line):
            name, default = declared.groups()
            known.add(name)
            (before if stage is None else stage)[name] = arguments.get(name, default)
        elif line.startswith("FROM "):
            lines.append(string.Template(line).substitute(before))
            stage = {}
        elif not line.startswith("#"):
            lines.append(string.Template(line).safe_substitute(stage or {}))
    assert arguments.keys() <= known
    return lines


def lint(text: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([HADOLINT, "-"], input=text, capture_output=True, check=False)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_a_dockerfile_passes_the_linter(path):
    result = lint(path.read_bytes())
    assert result.returncode == 0, result.stdout.decode()


def test_the_linter_finds_what_is_wrong():
    result = lint(b"FROM debian\nRUN cd /tmp && sudo apt-get install x\n")
    assert result.returncode != 0 and b"DL3004" in result.stdout


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_an_image_is_nobody_and_copies_what_is_there(path):
    text = path.read_text()
    users = re.findall(r"^USER (\d+):(\d+)$", text, re.MULTILINE)
    assert users == [(str(USER), str(USER))]
    assert text.index("USER") < text.index("ENTRYPOINT")
    sources = {source for row in LOCKS for source in sources_of(path, row)}
    ignored = path.with_name(path.name + ".dockerignore").read_text().splitlines()
    kept = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    assert "*" in ignored  # nothing goes along that is not named
    for source in kept:
        assert (ROOT / source).exists(), source
    assert sources <= {*kept, "."}
    assert bool(sources) == bool(kept)


def sources_of(path: Path, row: str) -> set[str]:
    """Returns what the image of a row copies from the working copy."""
    known = recipes(load_values(overrides=(f"row={row}",))).values()
    (recipe,) = [recipe for recipe in known if ROOT / recipe.path == path]
    lines = "\n".join(built(path.read_text(), recipe.arguments))
    return set(re.findall(r"^COPY (?!--from)(\S+)", lines, re.MULTILINE))


def test_dockerfiles_by_themselves_make_what_the_values_say(tmp_path):
    values = load_values()
    known = recipes(values)
    assert {recipe.path for recipe in known.values()} == {
        path.relative_to(ROOT) for path in DOCKERFILES
    }
    for recipe in known.values():
        text = (ROOT / recipe.path).read_text()
        defaults = dict(re.findall(r"^ARG ([A-Z_]+)=(\S+)$", text, re.MULTILINE))
        assert recipe.arguments.items() <= defaults.items()
        for name in defaults:
            assert re.search(rf"\$\{{?{name}\b", text), f"{name} is not used"


@of_each_row
def test_the_bases_are_those_of_the_lock(row):
    bases = load_values(overrides=(f"row={row}",)).bases
    versions = locked(ROOT / LOCKS[row])
    assert bases.tf_serving.split("@")[0] == versions["tensorflow-serving-api"]
    assert bases.tf_serving_gpu.split("@")[0] == versions["tensorflow-serving-api"] + "-gpu"
    assert bases.beam.split("@")[0] == versions["apache-beam"]
    (known,) = [known for known in ROWS if known.tested["tensorflow"] == versions["tensorflow"]]
    python = "{}.{}".format(*known.pythons[0])  # of the images, whichever runs this test
    assert (row, bases.python.partition("-")[0]) == (python, python)
    debian = bases.python.split("@")[0].rpartition("-")[2]
    assert known.glibc <= {"bookworm": (2, 36), "trixie": (2, 41)}[debian]


@of_each_row
def test_an_image_has_the_bases_and_the_lock_of_its_row(row):
    values = load_values(overrides=(f"row={row}",))
    bases, lock = values.bases, LOCKS[row]
    lines = {
        key: built((ROOT / recipe.path).read_text(), recipe.arguments)
        for key, recipe in recipes(values).items()
    }
    text = {key: "\n".join(found) for key, found in lines.items()}
    froms = {
        key: [line.split()[1] for line in found if line.startswith("FROM ")]
        for key, found in lines.items()
    }
    python = f"python:{bases.python}"
    assert froms == {
        "train": [python, python],
        "beam_worker": [f"apache/beam_python{row}_sdk:{bases.beam}", python, python],
        "serving_gpu": [f"tensorflow/serving:{bases.tf_serving_gpu}"],
        "serving_cpu": [f"tensorflow/serving:{bases.tf_serving}"],
        "local_server": [python, python],
    }
    install = "pip install --require-hashes --no-deps --requirement"
    for key in ("train", "beam_worker"):
        assert f'\nCOPY {lock} /src/\nRUN {install} "/src/{lock}"\n' in text[key]
    cuda = CUDA_LOCKS[row]
    assert f"\nCOPY deploy/docker/{cuda} /src/\n" in text["train"]
    assert f'{install} "/src/{cuda}"; fi\n' in text["train"]
    assert f'"/src/{lock}" > /src/constraints.txt' in text["local_server"]


@of_each_row
def test_cuda_comes_by_hash_and_changes_nothing_else(row):
    lock = ROOT / DOCKER / CUDA_LOCKS[row]
    cuda, versions = locked(lock), locked(ROOT / LOCKS[row])
    assert {name for name in cuda if name not in versions} == {
        name for name in cuda if name.startswith("nvidia-")
    }
    assert any(name.startswith("nvidia-cudnn") for name in cuda)
    for name in cuda.keys() & versions.keys():
        assert cuda[name] == versions[name], name
    entries = re.split(r"^(?=[A-Za-z0-9])", lock.read_text(), flags=re.MULTILINE)[1:]
    assert len(entries) == len(cuda) and all("--hash=sha256:" in entry for entry in entries)
    for path in DOCKERFILES:
        for line in re.findall(r"pip install ([^;\n]+)", path.read_text()):
            # The local server's image takes versions from the lock; the code itself has no hash.
            known = ("--require-hashes", "--no-deps /src", "--constraint /src/constraints.txt")
            assert line.startswith(known), line


@pytest.mark.parametrize("key", ["python", "tf_serving", "tf_serving_gpu", "beam"])
def test_a_base_is_built_from_by_digest(tmp_path, key):
    given, path = yaml.safe_load(VALUES.read_text()), tmp_path / "values.yaml"
    digest = "3.10@sha256:" + "0a" * 32
    given["rows"]["3.10"][key] = digest
    path.write_text(yaml.safe_dump(given))
    known = recipes(load_values(path)).values()
    assert any(digest in recipe.arguments.values() for recipe in known)
    given["rows"]["3.10"][key] = "3.10@sha256:0a"
    path.write_text(yaml.safe_dump(given))
    with pytest.raises(ValueError, match=f"rows.3.10.{key}"):
        load_values(path)


@of_each_row
def test_the_local_server_is_constrained_by_the_whole_lock(row):
    text = (ROOT / DOCKER / "local_server.Dockerfile").read_text()
    assert f"grep -oE '{LOCKED.pattern}' " in text
    lines = (ROOT / LOCKS[row]).read_text().splitlines()
    assert len(locked(ROOT / LOCKS[row])) == sum(
        1 for line in lines if re.match(r"[A-Za-z0-9]", line)
    )


@of_each_row
def test_compose_builds_from_dockerfiles_that_are_there(tmp_path, row):
    values = load_values(overrides=(f"row={row}",))
    out = tmp_path / "deep" / "rendered"
    render(values, out)
    services = yaml.safe_load((out / "compose.yaml").read_text())["services"]
    by_image = {values.image(key): recipe for key, recipe in recipes(values).items()}
    assert {service["image"] for service in services.values()} == by_image.keys()
    for service in services.values():
        context = (out / service["build"]["context"]).resolve()
        assert context == ROOT
        assert (context / service["build"]["dockerfile"]).is_file()
        assert by_image[service["image"]].path == Path(service["build"]["dockerfile"])
        assert service["build"]["args"] == by_image[service["image"]].arguments


def test_compose_starts_what_was_pushed_read_only(tmp_path):
    render(load_values(), tmp_path)
    services = yaml.safe_load((tmp_path / "compose.yaml").read_text())["services"]
    for name in ("serving", "serving-gpu", "local-server"):
        one = services[name]
        assert one["read_only"] and one["user"] == f"{USER}:{USER}"
        assert "../../runs/movielens-1m/pushed/retrieval:/models/movielens-1m:ro" in one["volumes"]
        assert all(port.startswith("127.0.0.1:") for port in one["ports"])
    assert "TF_FORCE_GPU_ALLOW_GROWTH" not in services["serving"]["environment"]
    assert services["serving-gpu"]["environment"]["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    assert services["pipeline"]["command"][-4:] == [
        "--set", "retrieval.push.serving_path=/models/movielens-1m",
        "--set", "retrieval.push.batching.device=gpu",
    ]  # fmt: skip


def test_the_local_server_reads_its_settings_and_the_labels(tmp_path):
    push_dir = tmp_path / "pushed"
    announce_version(push_dir, 1, "shop", PusherConfig(serving_path=str(push_dir)))
    values = load_values(overrides=(f"model.mount_path={push_dir}",))
    render(values, tmp_path / "out")
    config = ServerConfig.model_validate_json((tmp_path / "out" / "local-server.json").read_text())
    (model,) = configured_models(config)
    assert (model.name, model.base_path) == ("shop", push_dir)
    assert model.labels == {"stable": 1, "canary": 1}
    assert with_batching_file(config).batching.max_request_rows == 1024
