"""Configuration of the serving validator. Free of TensorFlow, for the command line reads it."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import Field
from pydantic import field_validator
from pydantic import model_validator

from transforms.base_config import Config

LOCAL = "local"
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s/:]+):\d{1,5}")


class ServingValidationConfig(Config):
    """The section `serving_validation` of a stage.

    Attributes:
        enabled: Whether the pipeline has this component; without it nothing is
            asked through a server before the push.
        requests: Examples of the test split that requests are made of.
        latency_p99_ms: Highest 99th percentile, in milliseconds, of one request
            at a time over gRPC that is blessed; unset or 0 is no bound.
        tolerance: How far scores and embeddings may be apart, relative to the
            larger of 1 and the expected one; nearer scores are ties. Of a ranker's
            probabilities, how far their logits may be apart.
        server: Who answers. `local` starts the local server on a free loopback
            port. A path (with a `/`) is a `tensorflow_model_server` to start; it
            listens on a socket of the file system and opens no port. Both are
            started with the very files that the push writes. `host:port` is a
            server that runs already, asked in the clear. It can only be asked for
            what it serves: the check then says whether its answers are the release
            candidate's, and whether this release candidate loads only if `base_path` is
            set or somebody has put it there. Start a staging server with
            `--max_num_load_retries=0`: without it, one that cannot load the
            release candidate gives no reason for five minutes.
        model: What the server at an address calls the model; by default the
            pipeline's name, and of the ranking stage `<name>-ranking`.
        version: Version to ask the server at an address for; by default its
            latest.
        base_path: Directory that the server at an address watches for
            versions, such as that of a staging server. The release candidate is put
            there as the newest version and taken away afterwards. Never the
            push directory.
        load_timeout_s: Seconds that a server has to start and load; one that
            takes longer is an error of the run and no verdict.
        timeout_s: Seconds that it has for one answer; one that takes longer is
            an error of the run, and a verdict where `latency_p99_ms` is set.
    """

    enabled: bool = True
    requests: int = Field(64, ge=1)
    latency_p99_ms: float | None = Field(None, ge=0)
    tolerance: float = Field(1e-3, gt=0)
    server: str = LOCAL
    model: str = ""
    version: int | None = Field(None, ge=0)
    base_path: str = ""
    load_timeout_s: float = Field(300.0, gt=0)
    timeout_s: float = Field(30.0, gt=0)

    @field_validator("server")
    @classmethod
    def _is_a_server(cls, server: str) -> str:
        if server != LOCAL and "/" not in server and not _ADDRESS.fullmatch(server):
            raise ValueError(
                f"Expected `{LOCAL}`, an address `host:port`, or the path of a "
                f"tensorflow_model_server (with a `/`). Received: `{server}`."
            )
        return server

    @model_validator(mode="after")
    def _fits_the_server(self) -> ServingValidationConfig:
        for_address = [n for n in ("model", "version", "base_path") if getattr(self, n) or 0]
        if for_address and not self.is_address:
            raise ValueError(
                f"`{for_address[0]}` is said of a server that runs already: set `server` to its "
                "address, or leave it out."
            )
        if self.version is not None and self.base_path:
            raise ValueError(
                "`version` asks for what the server has already, and `base_path` gives it a new "
                "one: set one of them."
            )
        return self

    @property
    def is_address(self) -> bool:
        """True if a server is asked that runs already."""
        return self.server != LOCAL and "/" not in self.server

    def puts_into(self, push_dir: str) -> bool:
        """Returns whether the release candidate would be put among the pushed versions."""
        return bool(self.base_path) and Path(self.base_path).resolve() == Path(push_dir).resolve()


class RetrievalServingValidationConfig(ServingValidationConfig):
    """The section `serving_validation` of the retrieval stage.

    Attributes:
        min_recall: Lowest share of the best candidates, by exact search with the
            Trainer's towers, that the answers hold.
        exclude_seen: Types of history events whose entities must not come back;
            said at the top of the file.
    """

    min_recall: float = Field(0.95, ge=0, le=1)
    exclude_seen: tuple[str, ...] = ()
