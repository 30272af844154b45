"""The compose file: the same images and flags on one machine."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any
from typing import Literal

from deploy import server
from deploy.kubernetes import USER
from deploy.values import Values
from serving.local_server.config import ServerConfig
from serving.publishing.models_config import MODELS_CONFIG
from serving.publishing.serving_files import BATCHING

ROOT = Path(__file__).parents[1]
DOCKER = Path("deploy", "docker")
LOCAL_SERVER = "local-server"
_FIRST = "3.10"  # the row of what Dockerfiles make without arguments


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Build of an image: a Dockerfile and the versions that it is given."""

    dockerfile: str
    arguments: dict[str, str]

    @property
    def path(self) -> Path:
        """The Dockerfile, seen from the root of the repository."""
        return DOCKER / self.dockerfile


def recipes(values: Values) -> dict[str, Recipe]:
    """Returns how each image is built, by its key among the values."""
    row, bases = values.row, values.bases
    python, beam = {"PYTHON": bases.python}, {"BEAM": bases.beam}
    cuda: dict[str, str] = {}
    if row != _FIRST:
        python["LOCK"] = f"requirements-{row}.lock"
        beam["BEAM_PYTHON"] = row
        cuda["CUDA_LOCK"] = f"cuda-{row}.lock"
    gpu, cpu = {"TF_SERVING": bases.tf_serving_gpu}, {"TF_SERVING": bases.tf_serving}
    return {
        "train": Recipe("train.Dockerfile", python | cuda),
        "beam_worker": Recipe("beam_worker.Dockerfile", python | beam),
        "serving_gpu": Recipe("serving_gpu.Dockerfile", gpu),
        "serving_cpu": Recipe("serving_cpu.Dockerfile", cpu),
        "local_server": Recipe("local_server.Dockerfile", python),
    }


def compose(values: Values, out: Path) -> dict[str, Any]:
    """Returns the compose file; its services are started by name.

    Args:
        values: What is deployed.
        out: Directory of the file, from which its paths are seen.
    """
    device = {"driver": "nvidia", "count": values.gpu.count, "capabilities": ["gpu"]}
    services = {
        "serving": _tf_serving(_on(values, "cpu"), "serving_cpu", out),
        "serving-gpu": {
            **_tf_serving(_on(values, "gpu"), "serving_gpu", out),
            "deploy": {"resources": {"reservations": {"devices": [device]}}},
        },
        LOCAL_SERVER: _local_server(values, out),
        "pipeline": _pipeline(values, out),
        "beam-worker": _built(values, "beam_worker", out),
    }
    # A profile each: `docker compose up` alone would have three servers want one port.
    for name, service in services.items():
        service["profiles"] = [name]
    return {"name": values.name, "services": services}


def _on(values: Values, device: Literal["cpu", "gpu"]) -> Values:
    server_values = values.server.model_copy(update={"device": device})
    return values.model_copy(update={"server": server_values})


def _built(values: Values, key: str, out: Path) -> dict[str, Any]:
    recipe = recipes(values)[key]
    context = Path(os.path.relpath(ROOT, out)).as_posix()
    build = {"context": context, "dockerfile": str(recipe.path), "args": recipe.arguments}
    return {"image": values.image(key), "build": build}


def _hardened(values: Values) -> dict[str, Any]:
    """Returns what keeps a server from writing anywhere, and from growing."""
    return {
        "user": f"{USER}:{USER}",
        "read_only": True,
        "tmpfs": [server.SCRATCH],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "mem_limit": f"{values.memory_mib}m",
        "restart": "unless-stopped",
        "volumes": [f"{values.model.host_directory}:{values.model.mount_path}:ro"],
    }


def _tf_serving(values: Values, key: str, out: Path) -> dict[str, Any]:
    ports = (server.GRPC_PORT, server.REST_PORT)
    return {
        **_built(values, key, out),
        **_hardened(values),
        "command": server.flags(values),
        "environment": server.environment(values),
        "ports": [f"127.0.0.1:{port}:{port}" for port in ports],
    }


def _local_server(values: Values, out: Path) -> dict[str, Any]:
    target, hardened = "/etc/vitrine/server.json", _hardened(values)
    return {
        **_built(values, "local_server", out),
        **hardened,
        "volumes": [*hardened["volumes"], f"./{LOCAL_SERVER}.json:{target}:ro"],
        "command": [target],
        "ports": [f"127.0.0.1:{server.GRPC_PORT}:{server.GRPC_PORT}"],
    }


def local_server_text(values: Values) -> str:
    """Returns the settings of the local server, which other containers may ask in the clear."""
    config = ServerConfig(
        models_config_file=Path(values.model.mount_path, MODELS_CONFIG),
        batching_parameters_file=Path(values.model.mount_path, BATCHING),
        allow_version_labels_for_unavailable_models=True,
        host="0.0.0.0",
        port=server.GRPC_PORT,
        rest_port=None,
        insecure=True,
    )
    return config.model_dump_json(indent=1, exclude_unset=True) + "\n"


def _pipeline(values: Values, out: Path) -> dict[str, Any]:
    """Returns a run of the pipeline; data and runs are the working copy's."""
    root = Path(os.path.relpath(ROOT, out)).as_posix()
    told = {
        "retrieval.push.serving_path": values.model.mount_path,
        "retrieval.push.batching.device": values.server.device,
    }
    options = [word for key, value in told.items() for word in ("--set", f"{key}={value}")]
    return {
        **_built(values, "train", out),
        "command": ["run", values.model.pipeline, *options],
        "volumes": [f"{root}/data:/pipeline/data", f"{root}/runs:/pipeline/runs"],
    }
