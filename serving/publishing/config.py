"""Configuration of the push. Free of TensorFlow, for the command line reads it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from transforms.base_config import Config


class BatchingConfig(Config):
    """Configuration of TF Serving's batching: `batching_params.pbtxt`.

    Attributes:
        max_batch_size: Rows of one request; TF Serving refuses a larger one, and
            so does every version whose warm-up requests are larger.
        max_execution_batch_size: Rows that run at once. Requests are merged up to
            it, larger ones split, and at most `max_batch_size` counts.
        device: Where the model runs. On a `gpu` batches are filled up to powers
            of two, so that few shapes are compiled; on a `cpu` that is work for
            nothing.
        timeout_micros: How long a batch that is not full waits for more rows; a
            client that asks alone pays it with every request.
        max_enqueued_batches: Batches that may wait; what comes on top is refused.
        threads: Batches that run at the same time; `None` is one a core. One or
            two are right for a GPU.
    """

    max_batch_size: int = Field(default=1024, ge=1)
    max_execution_batch_size: int = Field(default=64, ge=1)
    device: Literal["cpu", "gpu"] = "cpu"
    timeout_micros: int = Field(default=500, ge=0)
    max_enqueued_batches: int = Field(default=100, ge=1)
    threads: int | None = Field(default=None, ge=1)


class PusherConfig(Config):
    """The section `push` of a pipeline's configuration.

    Attributes:
        keep_versions: How many of the newest versions stay in the push
            directory; 0 keeps all. The newest one is never deleted. Servers hold
            every version that is there in memory.
        rollbacks: How many earlier stable versions stay, for
            `vitrine push rollback`. Versions with a label stay in any case.
        protected_versions: Versions that are never deleted.
        models_config: Another of TF Serving's model configuration files, one
            that the push does not write. Versions that it names (labels,
            `specific` policies) are never deleted.
        serving_path: The push directory as servers see it, such as
            `/models/shop` in a container; where it is when empty.
        batching: How TF Serving merges requests.
        monitoring_path: Where TF Serving shows its metrics to Prometheus.
        warmup_requests: Examples of the stage's test split from which warm-up requests are
            made; 0 writes none. They hold histories of real users, without user ids.
            One batch of them is as large as `batching.max_batch_size` lets it be.
    """

    keep_versions: int = Field(default=3, ge=0)
    rollbacks: int = Field(default=2, ge=0)
    protected_versions: tuple[int, ...] = ()
    models_config: str = ""
    serving_path: str = ""
    batching: BatchingConfig = BatchingConfig()
    monitoring_path: str = Field(default="/monitoring/prometheus/metrics", pattern="^/")
    warmup_requests: int = Field(default=8, ge=0, le=400)  # two or three records each, of 1,000

    @property
    def largest_warmup(self) -> int:
        """Rows of the largest warm-up request."""
        return min(self.warmup_requests, self.batching.max_batch_size)

    def seen_by_servers(self) -> PusherConfig:
        """Returns the part that a server is told or given, with the rest at its default."""
        return PusherConfig(
            batching=self.batching,
            monitoring_path=self.monitoring_path,
            warmup_requests=self.warmup_requests,
        )
