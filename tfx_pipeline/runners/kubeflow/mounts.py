"""Folders below which Kubeflow's launcher keeps copies of artifacts in object stores."""

from __future__ import annotations

import os

# `s3://bucket/key` is `/s3/bucket/key` in the pod.
_MOUNTS = {"s3://": "/s3/", "gs://": "/gcs/", "minio://": "/minio/"}
ROOT = "VITRINE_MOUNT_ROOT"  # environment variable: a folder in place of `/`, outside of pods


def to_local(address: str, root: str | None = None) -> str:
    """Returns where the launcher keeps the copy of an address; anything else as it is.

    Args:
        address: Where an artifact is.
        root: In place of `/`; by default what the environment says.
    """
    root = os.environ.get(ROOT, "") if root is None else root
    for scheme, mount in _MOUNTS.items():
        if address.startswith(scheme):
            return root + mount + address.removeprefix(scheme)
    return address


def to_address(path: str) -> str:
    """Returns the address that a path below a mount is the copy of; anything else as it is."""
    for scheme, mount in _MOUNTS.items():
        folder = os.environ.get(ROOT, "") + mount
        if path.startswith(folder):
            return scheme + path.removeprefix(folder)
    return path
