"""The Grafana dashboard of a server, under TF Serving's own metric names."""

from __future__ import annotations

from typing import Any

_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH, _HEIGHT = 12, 8  # of a panel; a row is 24 wide


def dashboard(name: str, namespace: str) -> dict[str, Any]:
    """Returns the dashboard of one Service as Grafana imports it."""
    where = of_service(name, namespace)
    panels = [
        _panel(index, *panel)
        for index, panel in enumerate(
            [
                ("Requests a second, by status", "reqps", requests(where)),
                ("Latency of a request", "ms", quantiles("request_latency", where)),
                (
                    "Waiting for a batch",
                    "ms",
                    quantiles("batching_session:queuing_latency", where),
                ),
                ("Running the model", "ms", quantiles("runtime_latency", where)),
                ("Requests a batch", "short", _requests_a_batch(where)),
                ("Versions that failed to load", "short", failed_loads(where)),
                ("Servers that answer Prometheus", "short", {"servers": f"sum(up{{{where}}})"}),
                ("Warming up a version", "ms", quantiles("model_warmup_latency", where)),
            ]
        )
    ]
    variable = {"name": "datasource", "type": "datasource", "query": "prometheus"}
    return {
        "uid": f"vitrine-{name}"[:40],
        "title": f"TF Serving · {name}",
        "tags": ["vitrine", "tensorflow-serving"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [variable]},
        "panels": panels,
    }


def of_service(name: str, namespace: str) -> str:
    """Returns the labels by which Prometheus knows the pods of a Service."""
    return f'namespace="{namespace}",service="{name}"'


def _panel(index: int, title: str, unit: str, queries: dict[str, str]) -> dict[str, Any]:
    """Returns a panel with a line for each query, two panels in a row."""
    row, column = divmod(index, 2)
    return {
        "id": index + 1,
        "type": "timeseries",
        "title": title,
        "datasource": _DATASOURCE,
        "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + i), "expr": expr, "legendFormat": legend}
            for i, (legend, expr) in enumerate(queries.items())
        ],
    }


def _rate(metric: str, where: str) -> str:
    return f"rate(:tensorflow:serving:{metric}{{{where}}}[5m])"


def requests(where: str) -> dict[str, str]:
    """Returns requests a second, by status."""
    return {"{{status}}": f"sum by (status) ({_rate('request_count', where)})"}


def quantiles(metric: str, where: str) -> dict[str, str]:
    """Returns median and tail of a histogram of microseconds, in milliseconds."""
    buckets = f"sum by (le) ({_rate(f'{metric}_bucket', where)})"
    quantiles = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    return {name: f"histogram_quantile({q}, {buckets}) / 1000" for name, q in quantiles.items()}


def _requests_a_batch(where: str) -> dict[str, str]:
    runs = f"sum({_rate('batching_session:wrapped_run_count', where)})"
    return {"requests": f"sum({_rate('request_count', where)}) / {runs}"}


def failed_loads(where: str) -> dict[str, str]:
    """Returns loads of a version that failed within an hour, by its directory."""
    failed = f':tensorflow:cc:saved_model:load_attempt_count{{{where},status="fail"}}'
    return {"{{model_path}}": f"sum by (model_path) (increase({failed}[1h]))"}
