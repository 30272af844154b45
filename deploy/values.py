"""The values that manifests are rendered from: typed, and every one of them given."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from typing import Any
from typing import Literal

from pydantic import BeforeValidator
from pydantic import Field
from pydantic import model_validator

from tfx_pipeline.config_file import read_typed
from transforms.base_config import Config

VALUES = Path(__file__).with_name("values.yaml")
_DNS_LABEL = r"^[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?$"
_BASE = r"^[A-Za-z0-9_][A-Za-z0-9._-]*(@sha256:[0-9a-f]{64})?$"
_IMAGE = r"^[a-z0-9][a-z0-9._/:-]*:[A-Za-z0-9_][A-Za-z0-9._-]*$"


def _quoted(row: Any) -> Any:
    """Returns the name of a row that was written without quotes: YAML reads 3.10 as 3.1."""
    return f"{row:.2f}" if isinstance(row, float) else row


RowName = Annotated[Literal["3.10", "3.12"], BeforeValidator(_quoted)]


class Images(Config):
    """Names and tags of the images, `name:tag`, and when a node pulls them."""

    train: str = Field(pattern=_IMAGE)
    beam_worker: str = Field(pattern=_IMAGE)
    serving_gpu: str = Field(pattern=_IMAGE)
    serving_cpu: str = Field(pattern=_IMAGE)
    local_server: str = Field(pattern=_IMAGE)
    pull_policy: Literal["Always", "IfNotPresent", "Never"]


class Row(Config):
    """What images of a row of versions are made from, and how they are told from others.

    Attributes:
        python: Tag of `python`, or `tag@sha256:...`, which nobody can move; so are the others.
        tf_serving: Of `tensorflow/serving`.
        tf_serving_gpu: The same for GPUs.
        beam: Of Beam's image of the row's Python.
        tag_suffix: What follows the tags of our images.
    """

    python: str = Field(pattern=_BASE)
    tf_serving: str = Field(pattern=_BASE)
    tf_serving_gpu: str = Field(pattern=_BASE)
    beam: str = Field(pattern=_BASE)
    tag_suffix: str = Field(pattern=r"^[A-Za-z0-9._-]*$")


class Model(Config):
    """The served model: its name, its directory and the memory of a version.

    Attributes:
        name: What requests call it; `name` of the pipeline's configuration.
        pipeline: That configuration, a name or a file.
        mount_path: Where servers see the push directory: `retrieval.push.serving_path`.
        claim: PersistentVolumeClaim that holds it.
        sub_path: The push directory of the stage in the claim; empty for its root.
        host_directory: The push directory of the stage on a machine that runs compose.
        size_mib: Of one version in memory.
        versions: In the push directory at most; servers load all of them.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    pipeline: str
    mount_path: str = Field(pattern=r"^/[^/].*[^/]$")
    claim: str = Field(pattern=_DNS_LABEL)
    sub_path: str
    host_directory: str = Field(min_length=1)
    size_mib: int = Field(ge=1)
    versions: int = Field(ge=1)


class Server(Config):
    """Settings of TF Serving; times in seconds, memory in MiB.

    Attributes:
        device: What it runs on; `retrieval.push.batching.device` of the pipeline's configuration.
        cpus: That a pod asks for.
        overhead_mib: Of a server without a model.
        grpc_max_threads: A server answers one call less at the same time, and refuses
            what comes on top.
        config_poll_seconds: Between two looks at labels.
        max_connection_age_seconds: After which clients connect again.
        startup_seconds: For loading and warming up every version.
        drain_seconds: Between leaving the service and SIGTERM.
        tls_secret: Secret with the file `ssl.config`, TF Serving's `SSLConfig`; gRPC is
            answered in the clear without one.
    """

    device: Literal["gpu", "cpu"]
    cpus: int = Field(ge=1)
    overhead_mib: int = Field(ge=0)
    grpc_max_threads: int = Field(ge=1)
    config_poll_seconds: int = Field(ge=1)
    max_connection_age_seconds: int = Field(ge=1)
    startup_seconds: int = Field(ge=10)
    drain_seconds: int = Field(ge=0)
    tls_secret: str | None = Field(pattern=_DNS_LABEL)


class Training(Config):
    """Workers that train together, and what the pipeline's Trainer has written for them.

    Attributes:
        workers: How many; `<stage>.trainer.workers` of the pipeline's configuration.
        arguments: The file whose name the Trainer logs while it waits.
        mount_path: Where a pod sees the claim: the paths have to be the pipeline's.
        claim: PersistentVolumeClaim of the pipeline's `run_dir`, `ReadWriteMany`.
        cpus: That a pod asks for.
        memory_mib: Of a pod.
        gpus: Of a pod.
    """

    workers: int = Field(ge=2)
    arguments: str = Field(pattern=r"^/.*[.]json$")
    mount_path: str = Field(pattern=r"^/[^/].*[^/]$")
    claim: str = Field(pattern=_DNS_LABEL)
    cpus: int = Field(ge=1)
    memory_mib: int = Field(ge=1)
    gpus: int = Field(ge=0)

    @model_validator(mode="after")
    def _in_the_claim(self) -> Training:
        if not self.arguments.startswith(f"{self.mount_path}/"):
            raise ValueError(
                f"Expected `arguments` below `mount_path` ({self.mount_path}), where pods see it. "
                f"Received: {self.arguments}."
            )
        return self


class Network(Config):
    """Pods that may ask the servers; the cluster's network refuses all others.

    Attributes:
        client_namespace: Namespace of the pods that ask over gRPC.
        client_labels: Labels of these pods.
        monitoring_namespace: Namespace of Prometheus, which asks over HTTP.
    """

    client_namespace: str = Field(pattern=_DNS_LABEL)
    client_labels: dict[str, str] = Field(min_length=1)
    monitoring_namespace: str = Field(pattern=_DNS_LABEL)


class Gpu(Config):
    """GPUs of a server, and how TensorFlow takes their memory: one way of two."""

    resource: str
    count: int = Field(ge=1)
    node_selector: dict[str, str]
    memory_fraction: float | None = Field(gt=0, le=1)
    allow_growth: bool

    @model_validator(mode="after")
    def _one_way(self) -> Gpu:
        if self.allow_growth == (self.memory_fraction is not None):
            raise ValueError(
                "Expected `memory_fraction` or `allow_growth`. Received: "
                + ("both." if self.allow_growth else "neither, which takes the whole GPU.")
            )
        return self


class Scale(Config):
    """Numbers of replicas, and the queue latency that calls for more."""

    min_replicas: int = Field(ge=1)
    max_replicas: int = Field(ge=1)
    queue_latency_ms: int = Field(ge=1)
    max_unavailable: int = Field(ge=1)

    @model_validator(mode="after")
    def _in_order(self) -> Scale:
        if self.max_replicas < self.min_replicas:
            raise ValueError(
                f"Expected `max_replicas` of at least {self.min_replicas}, which is "
                f"`min_replicas`. Received: {self.max_replicas}."
            )
        if self.max_unavailable >= self.min_replicas > 1:
            raise ValueError(
                f"Expected `max_unavailable` below `min_replicas` ({self.min_replicas}), so that "
                f"one goes on. Received: {self.max_unavailable}."
            )
        return self


class Monitoring(Config):
    """How Prometheus and Grafana find the server, and when somebody is called.

    Attributes:
        interval_seconds: Between two looks at a server.
        service_monitor_labels: What Prometheus selects monitors and rules by.
        dashboard_labels: What Grafana's sidecar selects dashboards by.
        error_share: Share of the requests that fail, above which an alert fires.
        latency_p99_ms: 99th percentile of a request, above which an alert fires.
    """

    interval_seconds: int = Field(ge=1)
    service_monitor_labels: dict[str, str]
    dashboard_labels: dict[str, str]
    error_share: float = Field(gt=0, lt=1)
    latency_p99_ms: float = Field(gt=0)


class Values(Config):
    """Everything that a deployment is rendered from."""

    name: str = Field(pattern=_DNS_LABEL)
    namespace: str = Field(pattern=_DNS_LABEL)
    row: RowName
    images: Images
    rows: dict[RowName, Row]
    model: Model
    server: Server
    training: Training
    network: Network
    gpu: Gpu
    scale: Scale
    monitoring: Monitoring

    @model_validator(mode="after")
    def _row_is_given(self) -> Values:
        if self.row not in self.rows:
            raise ValueError(
                f"Expected as `row` one of the `rows`: {', '.join(self.rows) or 'there are none'}. "
                f"Received: {self.row}."
            )
        return self

    @property
    def bases(self) -> Row:
        """What the images are made from."""
        return self.rows[self.row]

    def image(self, key: str) -> str:
        """Returns an image of the row by its key among the `images`, `name:tag`."""
        tagged: str = getattr(self.images, key)
        return tagged + self.bases.tag_suffix

    @property
    def memory_mib(self) -> int:
        """Memory that a server may need: all versions, one more during a push, and itself."""
        return (self.model.versions + 1) * self.model.size_mib + self.server.overhead_mib


def load_values(path: Path = VALUES, overrides: tuple[str, ...] = ()) -> Values:
    """Reads values and applies `key=value` overrides.

    Raises:
        ValueError: There is no such file, a key is missing or not known (the
            message names the nearest), or a value is of a wrong type.
    """
    if not path.is_file():
        raise ValueError(f"There is no file of values at {path}; {VALUES} is the one that ships.")
    return read_typed(Values, path, overrides)
