"""Counters and histograms under TF Serving's names, in Prometheus' text format.

The names have no `_total` behind counters, unlike Prometheus' own client, so
that dashboards and alerts made for TF Serving work unchanged.
"""

from __future__ import annotations

import bisect
import threading
from collections.abc import Sequence

METRICS_PATH = "/monitoring/prometheus/metrics"


def exponential_buckets(scale: float, growth: float, count: int) -> list[float]:
    """Returns the upper limits scale, scale growth, scale growth^2, ..."""
    return [scale * growth**i for i in range(count)]


# 10 microseconds to about 20 minutes, as TF Serving has them.
LATENCY_BUCKETS = exponential_buckets(10, 1.8, 33)


def _labels(names: Sequence[str], values: Sequence[str], extra: str = "") -> str:
    def quote(value: str) -> str:
        return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

    pairs = [f'{name}="{quote(value)}"' for name, value in zip(names, values, strict=True)]
    return "{" + ",".join(pairs + ([extra] if extra else [])) + "}"


class Counter:
    """A number that only rises, for each combination of label values."""

    def __init__(self, name: str, labels: Sequence[str]) -> None:
        self.name = name
        self._labels = labels
        self._values: dict[tuple[str, ...], int] = {}
        self._lock = threading.Lock()

    def add(self, *labels: str, by: int = 1) -> None:
        """Raises the number of these label values."""
        with self._lock:
            self._values[labels] = self._values.get(labels, 0) + by

    def lines(self) -> list[str]:
        """Returns the text of this metric."""
        with self._lock:
            values = sorted(self._values.items())
        head = f"# TYPE {self.name} counter"
        return [head] + [f"{self.name}{_labels(self._labels, key)} {v}" for key, v in values]


class Histogram:
    """Counts of observations by size, for each combination of label values."""

    def __init__(self, name: str, labels: Sequence[str], buckets: Sequence[float]) -> None:
        self.name = name
        self._labels = labels
        self._limits = list(buckets)
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}
        self._lock = threading.Lock()

    def observe(self, value: float, *labels: str) -> None:
        """Counts one observation."""
        with self._lock:
            counts = self._counts.get(labels)
            if counts is None:
                counts = self._counts[labels] = [0] * (len(self._limits) + 1)
                self._sums[labels] = 0.0
            counts[bisect.bisect_left(self._limits, value)] += 1
            self._sums[labels] += value

    def lines(self) -> list[str]:
        """Returns the text of this metric."""
        with self._lock:
            rows = sorted(
                (key, list(counts), self._sums[key]) for key, counts in self._counts.items()
            )
        limits = [f"{limit:g}" for limit in self._limits] + ["+Inf"]
        text = [f"# TYPE {self.name} histogram"]
        for key, counts, total in rows:
            seen = 0
            for limit, count in zip(limits, counts, strict=True):
                seen += count
                labels = _labels(self._labels, key, f'le="{limit}"')
                text.append(f"{self.name}_bucket{labels} {seen}")
            text.append(f"{self.name}_sum{_labels(self._labels, key)} {total:.0f}")
            text.append(f"{self.name}_count{_labels(self._labels, key)} {seen}")
        return text


class ServerMetrics:
    """The metrics of one server. Latencies are in microseconds."""

    def __init__(self) -> None:
        serving = ":tensorflow:serving:"
        saved_model = ":tensorflow:cc:saved_model:"
        self.requests = Counter(f"{serving}request_count", ("model_name", "status"))
        self.request_latency = Histogram(
            f"{serving}request_latency", ("model_name", "API", "entrypoint"), LATENCY_BUCKETS
        )
        self.runtime_latency = Histogram(
            f"{serving}runtime_latency", ("model_name", "API", "runtime"), LATENCY_BUCKETS
        )
        self.example_counts = Histogram(
            f"{serving}request_example_counts", ("model",), exponential_buckets(1, 2, 15)
        )
        self.examples = Counter(f"{serving}request_example_count_total", ("model",))
        self.queuing_latency = Histogram(
            f"{serving}batching_session:queuing_latency",
            ("thread_pool_name",),
            exponential_buckets(100, 1.2, 52),
        )
        self.runs = Counter(f"{serving}batching_session:wrapped_run_count", ())
        self.warmup_latency = Histogram(
            f"{serving}model_warmup_latency", ("model_path", "status"), LATENCY_BUCKETS
        )
        self.warmup_records = Counter(f"{serving}model_warmup_records_read", ("model_path",))
        self.load_attempts = Counter(f"{saved_model}load_attempt_count", ("model_path", "status"))
        self.load_latency = Counter(f"{saved_model}load_latency", ("model_path",))

    def text(self) -> str:
        """Returns the page that Prometheus reads."""
        metrics = [m for m in vars(self).values() if isinstance(m, Counter | Histogram)]
        return "\n".join(line for metric in metrics for line in metric.lines()) + "\n"
