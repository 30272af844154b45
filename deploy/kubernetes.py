"""The Kubernetes objects of a serving deployment."""

from __future__ import annotations

from typing import Any

from deploy import server
from deploy.monitoring import QUEUE_LATENCY
from deploy.values import Values

USER = 10001  # of every image here; nobody on the host
_PERIOD = 5  # seconds between two probes
_MODEL_VOLUME = "models"
_SCRATCH_VOLUME = "scratch"
_TLS_VOLUME = "tls"


def labels(values: Values) -> dict[str, str]:
    """Returns what selects the pods."""
    return {
        "app.kubernetes.io/name": "tensorflow-serving",
        "app.kubernetes.io/instance": values.name,
    }


def metadata(values: Values, suffix: str = "", **more: str) -> dict[str, Any]:
    """Returns name, namespace and labels of an object."""
    return {
        "name": values.name + suffix,
        "namespace": values.namespace,
        "labels": {**labels(values), "app.kubernetes.io/part-of": "vitrine", **more},
    }


def deployment(values: Values) -> dict[str, Any]:
    """Returns the Deployment; its number of replicas is left to the autoscaler."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(values),
        "spec": {
            "selector": {"matchLabels": labels(values)},
            # A new server is warm before an old one goes.
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
            },
            "progressDeadlineSeconds": values.server.startup_seconds + 60,
            "template": {"metadata": {"labels": labels(values)}, "spec": _pod(values)},
        },
    }


def unprivileged() -> dict[str, Any]:
    """Returns whose pod it is: nobody's, who may not ask Kubernetes anything."""
    return {
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def gpu_nodes(values: Values) -> dict[str, Any]:
    """Returns what brings a pod to nodes with a GPU."""
    toleration = {"key": values.gpu.resource, "operator": "Exists", "effect": "NoSchedule"}
    return {"nodeSelector": values.gpu.node_selector, "tolerations": [toleration]}


def resources(values: Values, cpus: int, memory_mib: int, gpus: int) -> dict[str, Any]:
    """Returns what a container asks for and may take: no limit of the processor."""
    memory = f"{memory_mib}Mi"
    limits = {"memory": memory}
    if gpus:
        limits[values.gpu.resource] = str(gpus)
    return {"requests": {"cpu": str(cpus), "memory": memory}, "limits": limits}


def _pod(values: Values) -> dict[str, Any]:
    claim = {"claimName": values.model.claim, "readOnly": True}
    pod: dict[str, Any] = {
        **unprivileged(),
        "terminationGracePeriodSeconds": values.server.drain_seconds + 30,
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": labels(values)},
            }
        ],
        "containers": [_container(values)],
        "volumes": [
            {"name": _MODEL_VOLUME, "persistentVolumeClaim": claim},
            {"name": _SCRATCH_VOLUME, "emptyDir": {"sizeLimit": "1Gi"}},
        ],
    }
    if values.server.tls_secret:
        secret = {"secretName": values.server.tls_secret, "defaultMode": 0o440}
        pod["volumes"].append({"name": _TLS_VOLUME, "secret": secret})
    if values.server.device == "gpu":
        pod |= gpu_nodes(values)
    return pod


def _container(values: Values) -> dict[str, Any]:
    mount = {"name": _MODEL_VOLUME, "mountPath": values.model.mount_path, "readOnly": True}
    if values.model.sub_path:
        mount["subPath"] = values.model.sub_path
    mounts = [mount, {"name": _SCRATCH_VOLUME, "mountPath": server.SCRATCH}]
    arguments = server.flags(values)
    if values.server.tls_secret:
        mounts.append({"name": _TLS_VOLUME, "mountPath": server.TLS, "readOnly": True})
        arguments.append(f"--ssl_config_file={server.TLS}/ssl.config")
    variables = server.environment(values).items()
    return {
        "name": "tensorflow-serving",
        "image": server.image(values),
        "imagePullPolicy": values.images.pull_policy,
        "args": arguments,
        "env": [{"name": name, "value": value} for name, value in variables],
        "ports": [
            {"name": "grpc", "containerPort": server.GRPC_PORT},
            {"name": "http", "containerPort": server.REST_PORT},
        ],
        "resources": _resources(values),
        "startupProbe": _probe(
            server.ready_path(values), failureThreshold=-(-values.server.startup_seconds // _PERIOD)
        ),
        "readinessProbe": _probe(server.ready_path(values), failureThreshold=2),
        "livenessProbe": _probe(server.alive_path(values), failureThreshold=6),
        # TF Serving ends at once on SIGTERM: first the pod leaves the service.
        "lifecycle": {
            "preStop": {"exec": {"command": ["sleep", str(values.server.drain_seconds)]}}
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    }


def _probe(path: str, **more: int) -> dict[str, Any]:
    get = {"path": path, "port": "http"}
    return {"httpGet": get, "periodSeconds": _PERIOD, "timeoutSeconds": 3, **more}


def _resources(values: Values) -> dict[str, Any]:
    """Returns what a server asks for and may take.

    Memory is asked for in full, since what is loaded is there to stay. The
    processor has no limit: it would hold requests up while cores lie idle.
    """
    gpus = values.gpu.count if values.server.device == "gpu" else 0
    return resources(values, values.server.cpus, values.memory_mib, gpus)


def service(values: Values) -> dict[str, Any]:
    """Returns the Service that clients and Prometheus ask."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(values),
        "spec": {
            "selector": labels(values),
            "ports": [
                {
                    "name": "grpc",
                    "port": server.GRPC_PORT,
                    "targetPort": "grpc",
                    "appProtocol": "grpc",
                },
                {"name": "http", "port": server.REST_PORT, "targetPort": "http"},
            ],
        },
    }


def network_policy(values: Values) -> dict[str, Any]:
    """Returns the NetworkPolicy that lets clients and Prometheus in, and nothing out.

    TF Serving loads what any caller names (`HandleReloadConfigRequest`), and
    answers REST without TLS, so that not every pod may ask. Probes come from the
    node, which a policy does not stop.
    """
    network = values.network
    client = _in_namespace(network.client_namespace)
    client["podSelector"] = {"matchLabels": network.client_labels}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(values),
        "spec": {
            "podSelector": {"matchLabels": labels(values)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"from": [client], "ports": [{"protocol": "TCP", "port": "grpc"}]},
                {
                    "from": [_in_namespace(network.monitoring_namespace)],
                    "ports": [{"protocol": "TCP", "port": "http"}],
                },
            ],
            "egress": [],
        },
    }


def _in_namespace(name: str) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def autoscaler(values: Values) -> dict[str, Any]:
    """Returns the HorizontalPodAutoscaler on the time that requests wait for a batch."""
    scale = values.scale
    target = {"type": "AverageValue", "averageValue": str(scale.queue_latency_ms)}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(values),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": values.name},
            "minReplicas": scale.min_replicas,
            "maxReplicas": scale.max_replicas,
            "metrics": [
                {"type": "Pods", "pods": {"metric": {"name": QUEUE_LATENCY}, "target": target}}
            ],
            # A server that starts loads every version first: go slowly down.
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 600}},
        },
    }


def disruption_budget(values: Values) -> dict[str, Any]:
    """Returns the PodDisruptionBudget, for nodes that are drained."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(values),
        "spec": {
            "maxUnavailable": values.scale.max_unavailable,
            "selector": {"matchLabels": labels(values)},
        },
    }
