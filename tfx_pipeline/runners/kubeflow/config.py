"""The section `kubeflow` of a configuration. Free of TensorFlow, TFX and kfp."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from transforms.base_config import Config

_DNS_LABEL = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
_MOUNT = r"^/[^/].*$"


class StepConfig(Config):
    """What one step asks for, where it is not what all ask for.

    Attributes:
        cpus: Cores.
        memory_gb: Memory in 10^9 bytes.
        gpus: GPUs; none by default.
        image: Another image.
        node_selector: Labels of the nodes that it may run on.
    """

    cpus: float | None = Field(default=None, gt=0)
    memory_gb: float | None = Field(default=None, gt=0)
    gpus: int = Field(default=0, ge=0)
    image: str = ""
    node_selector: dict[str, str] = {}


class SecretConfig(Config):
    """A Kubernetes Secret, by its name; what it holds is never in a configuration.

    Attributes:
        name: Of the Secret.
        env: Environment variable -> key of the Secret.
        mount_path: Directory that holds its keys as files; none when empty.
    """

    name: str = Field(pattern=_DNS_LABEL)
    env: dict[str, str] = {}
    mount_path: str = ""


class VolumeConfig(Config):
    """A PersistentVolumeClaim, and where every step sees it."""

    claim: str = Field(pattern=_DNS_LABEL)
    mount_path: str = Field(pattern=_MOUNT)


class KubeflowConfig(Config):
    """The section `kubeflow`: how steps run on Kubeflow Pipelines.

    Attributes:
        image: Of every step: `images.train` of `deploy/values.yaml`, in your registry, with the
            `tag_suffix` of its row behind it.
        pull_policy: When a node pulls it.
        pull_secrets: Secrets of the registry.
        cpus: Cores of a step.
        memory_gb: Memory of a step in 10^9 bytes.
        gpu: The resource that a GPU is asked for as.
        steps: Step -> what it asks for instead, e.g. `trainer: {gpus: 1}`.
        env: Environment variables of every step, e.g. `AWS_ENDPOINT_URL`.
        secrets: Secrets of every step, e.g. the credentials of an object store.
        volumes: Claims that every step mounts, e.g. that of the push directory.
        retries: How often a failed step is tried again.
        parameters: Dotted keys that a run may set. By default the addresses of log and push
            directory, dates of the split, and seed and epochs of every stage.
    """

    image: str = "vitrine-train:0.1.0"
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    cpus: float = Field(default=2, gt=0)
    memory_gb: float = Field(default=8, gt=0)
    gpu: str = "nvidia.com/gpu"
    steps: dict[str, StepConfig] = {}
    env: dict[str, str] = {}
    secrets: tuple[SecretConfig, ...] = ()
    volumes: tuple[VolumeConfig, ...] = ()
    retries: int = Field(default=0, ge=0)
    parameters: tuple[str, ...] = ()

    def step(self, name: str) -> StepConfig:
        """Returns what a step asks for, everything filled in."""
        given = self.steps.get(name, StepConfig())
        return given.model_copy(
            update={
                "cpus": given.cpus or self.cpus,
                "memory_gb": given.memory_gb or self.memory_gb,
                "image": given.image or self.image,
            }
        )
