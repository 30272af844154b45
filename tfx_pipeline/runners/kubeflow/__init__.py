"""Kubeflow Pipelines: the compiled file, and what runs in its pods."""
