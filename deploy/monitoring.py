"""Configuration of Prometheus, its alerts, its adapter for autoscaling, and Grafana."""

from __future__ import annotations

import json
from typing import Any

import yaml

from deploy.dashboard import dashboard
from deploy.dashboard import failed_loads
from deploy.dashboard import of_service
from deploy.dashboard import quantiles
from deploy.dashboard import requests
from deploy.values import Values

QUEUE_LATENCY = "tensorflow_serving_queue_latency_p99_ms"
QUEUE_SERIES = ":tensorflow:serving:batching_session:queuing_latency_bucket"


def service_monitor(
    values: Values, metadata: dict[str, Any], selector: dict[str, str], path: str
) -> dict[str, Any]:
    """Returns the ServiceMonitor, a resource of the Prometheus operator.

    Args:
        values: What is deployed.
        metadata: Of the object.
        selector: Labels of the Service.
        path: Where the server shows its metrics.
    """
    endpoint = {"port": "http", "path": path, "interval": f"{values.monitoring.interval_seconds}s"}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": metadata,
        "spec": {"selector": {"matchLabels": selector}, "endpoints": [endpoint]},
    }


def alerts(values: Values, metadata: dict[str, Any]) -> dict[str, Any]:
    """Returns the PrometheusRule, a resource of the Prometheus operator.

    What each alert asks of whoever is called is in `docs/operate.md`, under the alert's name.

    Args:
        values: What is deployed.
        metadata: Of the object.
    """
    where = of_service(values.name, values.namespace)
    [by_status] = requests(where).values()
    [failed] = failed_loads(where).values()
    [failing] = requests(where + ',status!="OK"').values()
    share = f"sum({failing}) / sum({by_status})"
    waiting = quantiles("batching_session:queuing_latency", where)["p99"]
    latency = quantiles("request_latency", where)["p99"]
    rules = [
        _alert("NoServer", f"absent(up{{{where}}} == 1)", "2m", "page"),
        _alert("RequestsFail", f"{share} > {values.monitoring.error_share:g}", "5m", "page"),
        _alert(
            "RequestsAreSlow", f"{latency} > {values.monitoring.latency_p99_ms:g}", "10m", "page"
        ),
        _alert(
            "RequestsWait", f"{waiting} > {4 * values.scale.queue_latency_ms:g}", "15m", "ticket"
        ),
        _alert("VersionDoesNotLoad", f"{failed} > 0", "1m", "ticket"),
    ]
    group = {"name": values.name, "rules": rules}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": metadata,
        "spec": {"groups": [group]},
    }


def _alert(name: str, expression: str, wait: str, severity: str) -> dict[str, Any]:
    return {
        "alert": name,
        "expr": expression,
        "for": wait,
        "labels": {"severity": severity},
        "annotations": {"runbook": f"docs/operate.md#{name.lower()}"},
    }


def dashboard_map(values: Values, metadata: dict[str, Any]) -> dict[str, Any]:
    """Returns the ConfigMap with the Grafana dashboard."""
    text = json.dumps(dashboard(values.name, values.namespace), indent=1)
    return _config_map(metadata, {f"{values.name}.json": text + "\n"})


def adapter_map(metadata: dict[str, Any]) -> dict[str, Any]:
    """Returns the ConfigMap with the rule of prometheus-adapter that makes the scaling metric.

    The quantile is taken in each pod, in milliseconds. A server that nobody asks
    has none; the autoscaler then leaves the number of replicas as it is.
    """
    # The angle brackets are the adapter's own templates.
    rate = f"rate({QUEUE_SERIES}{{<<.LabelMatchers>>}}[2m])"
    rule = {
        "seriesQuery": f'{QUEUE_SERIES}{{namespace!="",pod!=""}}',
        "resources": {
            "overrides": {"namespace": {"resource": "namespace"}, "pod": {"resource": "pod"}}
        },
        "name": {"matches": ".*", "as": QUEUE_LATENCY},
        "metricsQuery": f"histogram_quantile(0.99, sum by (le, <<.GroupBy>>) ({rate})) / 1000",
    }
    return _config_map(metadata, {"config.yaml": yaml.safe_dump({"rules": [rule]}, width=200)})


def _config_map(metadata: dict[str, Any], data: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
