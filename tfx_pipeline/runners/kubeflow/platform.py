"""The second document of a compiled file: what Kubernetes adds to the pods of its steps."""

from __future__ import annotations

from typing import Any

from tfx_pipeline.runners.kubeflow.config import KubeflowConfig


def platform_document(config: KubeflowConfig, steps: list[str]) -> dict[str, Any]:
    """Returns secrets, volumes and nodes of every step, as Kubeflow's platform spec.

    Secrets are named, and never read.
    """
    executors = {f"{step}_executor": _executor(config, step) for step in steps}
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}


def _executor(config: KubeflowConfig, step: str) -> dict[str, Any]:
    found: dict[str, Any] = {"imagePullPolicy": config.pull_policy}
    if config.pull_secrets:
        found["imagePullSecret"] = [{"secretName": name} for name in config.pull_secrets]
    variables = [
        {
            "secretName": secret.name,
            "keyToEnv": [{"envVar": name, "secretKey": key} for name, key in secret.env.items()],
        }
        for secret in config.secrets
        if secret.env
    ]
    if variables:
        found["secretAsEnv"] = variables
    files = [
        {"secretName": secret.name, "mountPath": secret.mount_path}
        for secret in config.secrets
        if secret.mount_path
    ]
    if files:
        found["secretAsVolume"] = files
    if config.volumes:
        found["pvcMount"] = [
            {"constant": volume.claim, "mountPath": volume.mount_path} for volume in config.volumes
        ]
    if labels := config.step(step).node_selector:
        found["nodeSelector"] = {"labels": labels}
    return found
