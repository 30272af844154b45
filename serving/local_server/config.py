"""Configuration of the local server; needs no TensorFlow."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

from pydantic import Field
from pydantic import field_validator
from pydantic import model_validator

from transforms.base_config import Config


class ModelConfig(Config):
    """One served model: `<base_path>/<version>/saved_model.pb`.

    Attributes:
        name: what requests call it.
        base_path: directory whose integer subdirectories are versions.
        versions: exactly these versions; empty for the newest ones.
        newest: how many of the newest versions to serve when `versions` is empty.
        labels: version labels such as `stable` and `canary`, label -> version.
        labels_file: a `models.config` whose labels are taken in place of `labels`;
            those of the model of this name, or of the only one. It need not be there
            yet.
    """

    name: str = "recommender"
    base_path: Path
    versions: tuple[int, ...] = ()
    newest: int = Field(default=1, ge=1)
    labels: dict[str, int] = {}
    labels_file: Path | None = None


class BatchingConfig(Config):
    """Configuration of the merging of concurrent requests for one signature.

    A request never waits while a runner is free and nothing else runs. Requests
    that come while all runners are busy are merged into the next batch.

    Attributes:
        enabled: `False` runs every request by itself and whole.
        max_batch_size: rows of a batch; a larger request runs in parts.
        max_request_rows: rows of a request; one with more is refused, as TF Serving
            refuses it, also among the warm-up requests of a version.
        timeout_micros: how long a batch that is not full may wait for more rows
            while others run.
        runners: batches that run at the same time; `None` is the number of cores.
        max_queued_rows: rows that may wait; more are refused.
        unmerged_signatures: signatures whose outputs cannot be cut by rows.
    """

    enabled: bool = True
    max_batch_size: int = Field(default=64, ge=1)
    max_request_rows: int = Field(default=1024, ge=1)
    timeout_micros: int = Field(default=0, ge=0)
    runners: int | None = Field(default=None, ge=1)
    max_queued_rows: int = Field(default=4096, ge=1)
    unmerged_signatures: tuple[str, ...] = ("transform_features",)


class TlsConfig(Config):
    """Files (PEM) of TLS. With `client_ca` clients must show a certificate too.

    Attributes:
        certificate: the server's certificate chain.
        key: its private key.
        client_ca: authority that must have signed clients' certificates.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None


class ServerConfig(Config):
    """Everything that the local server can be told.

    Attributes:
        models: the models to serve, at least one here or in `models_config_file`.
        models_config_file: a `models.config` as TF Serving reads it, in place
            of `models`. It is read again whenever it changes, as labels files are.
        allow_version_labels_for_unavailable_models: take labels of versions that
            are not loaded; otherwise the server does not start with one. As in TF
            Serving a label never moves to such a version.
        host: address to listen on; anything but loopback needs `tls` with
            `client_ca`, or `insecure`.
        port: gRPC port; 0 takes a free one.
        rest_port: HTTP port of REST and the Prometheus metrics; 0 takes a free one,
            `None` serves none.
        rest_host: address of HTTP, which has no TLS: anything but loopback needs
            `insecure`.
        tls: TLS or mutual TLS; `None` answers in the clear.
        insecure: allow a non-loopback address without mutual TLS.
        poll_seconds: time between two looks for new versions.
        max_message_bytes: bound of a request and of an answer, as they travel.
        max_request_bytes: memory that the inputs of a request may take. A few bytes
            can stand for many: `TensorProto` repeats its last value.
        max_concurrent_requests: predictions at once; more are refused.
        max_concurrent_bytes: memory that the inputs of all predictions at once may
            take, and apart from that their messages over gRPC, and their bodies over
            HTTP; more are refused.
        batching: how concurrent requests are merged.
        batching_parameters_file: a `batching_params.pbtxt` as TF Serving reads it,
            in place of `batching`.
        refuse_nan: refuse float inputs that hold NaN or infinity; `False` hands
            them to the model, as TF Serving does.
        reload_root: switches `HandleReloadConfigRequest` on, for base paths
            below this directory alone. A SavedModel is code: whoever may name a
            path runs what lies there.
        drain_seconds: how long requests under way may go on after SIGTERM.
        intra_op_threads: threads inside one TensorFlow operation; 0 is TensorFlow's
            own choice.
        inter_op_threads: TensorFlow operations side by side; 0 as above.
    """

    models: tuple[ModelConfig, ...] = ()
    models_config_file: Path | None = None
    allow_version_labels_for_unavailable_models: bool = False
    host: str = "127.0.0.1"
    port: int = Field(default=8500, ge=0, le=65535)
    rest_port: int | None = Field(default=8501, ge=0, le=65535)
    rest_host: str = "127.0.0.1"
    tls: TlsConfig | None = None
    insecure: bool = False
    poll_seconds: float = Field(default=1.0, gt=0)
    max_message_bytes: int = Field(default=64 << 20, ge=1024)
    max_request_bytes: int = Field(default=128 << 20, ge=1024)
    max_concurrent_requests: int = Field(default=1000, ge=1)
    max_concurrent_bytes: int = Field(default=512 << 20, ge=1024)
    batching: BatchingConfig = BatchingConfig()
    batching_parameters_file: Path | None = None
    refuse_nan: bool = True
    reload_root: Path | None = None
    drain_seconds: float = Field(default=10.0, ge=0)
    intra_op_threads: int = Field(default=0, ge=0)
    inter_op_threads: int = Field(default=0, ge=0)

    @field_validator("models")
    @classmethod
    def _names_differ(cls, models: tuple[ModelConfig, ...]) -> tuple[ModelConfig, ...]:
        names = [model.name for model in models]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"Expected every model name once. Received twice: {twice}.")
        return models

    @model_validator(mode="after")
    def _is_safe(self) -> ServerConfig:
        if bool(self.models) == bool(self.models_config_file):
            raise ValueError(
                "Expected the models in `models` or in `models_config_file`. Received: "
                + ("both." if self.models else "neither.")
            )
        mutual = self.tls is not None and self.tls.client_ca is not None
        if not (is_loopback(self.host) or mutual or self.insecure):
            raise ValueError(
                f"Expected mutual TLS for the address `{self.host}`, which others can reach. "
                "Received: none. Set `tls` with `client_ca`, listen on 127.0.0.1, or set "
                "`insecure` (`--insecure`) where the network itself is trusted."
            )
        if not (is_loopback(self.rest_host) or self.insecure or self.rest_port is None):
            raise ValueError(
                f"Expected a loopback address for `rest_host`, for HTTP has no TLS here. Received: "
                f"`{self.rest_host}`. Listen on 127.0.0.1, or set `insecure` (`--insecure`) where "
                "the network itself is trusted."
            )
        return self

    @property
    def runners(self) -> int:
        """Number of batches that run at the same time."""
        return self.batching.runners or os.cpu_count() or 1


def is_loopback(host: str) -> bool:
    """True if only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
