"""The job of several workers that train together, for Kubeflow's training operator."""

from __future__ import annotations

from typing import Any

from deploy.kubernetes import gpu_nodes
from deploy.kubernetes import resources
from deploy.kubernetes import unprivileged
from deploy.values import Values

_RUNS_VOLUME, _MEMORY_VOLUME = "runs", "memory"


def training_job(values: Values) -> dict[str, Any]:
    """Returns the TFJob; its operator tells each pod of the others in `TF_CONFIG`."""
    name = f"{values.name}-training"
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "TFJob",
        "metadata": {
            "name": name,
            "namespace": values.namespace,
            "labels": {
                "app.kubernetes.io/name": "vitrine-trainer",
                "app.kubernetes.io/instance": name,
                "app.kubernetes.io/part-of": "vitrine",
            },
        },
        "spec": {
            "runPolicy": {"cleanPodPolicy": "Running"},
            "tfReplicaSpecs": {
                "Worker": {  # the first one is the chief
                    "replicas": values.training.workers,
                    # Who starts again goes on with the epoch that all were in.
                    "restartPolicy": "OnFailure",
                    "template": _template(values),
                }
            },
        },
    }


def _template(values: Values) -> dict[str, Any]:
    training = values.training
    pod: dict[str, Any] = {
        **unprivileged(),
        "containers": [
            {
                "name": "tensorflow",  # by which the operator finds it
                "image": values.image("train"),
                "imagePullPolicy": values.images.pull_policy,
                "command": ["python", "-m", "models.trainer", training.arguments],
                "resources": resources(values, training.cpus, training.memory_mib, training.gpus),
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [
                    {"name": _RUNS_VOLUME, "mountPath": training.mount_path},
                    {"name": _MEMORY_VOLUME, "mountPath": "/dev/shm"},  # where NCCL meets
                ],
            }
        ],
        "volumes": [
            {"name": _RUNS_VOLUME, "persistentVolumeClaim": {"claimName": training.claim}},
            {"name": _MEMORY_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
        ],
    }
    if training.gpus:
        pod |= gpu_nodes(values)
    # A sidecar would stand between workers.
    return {"metadata": {"annotations": {"sidecar.istio.io/inject": "false"}}, "spec": pod}
