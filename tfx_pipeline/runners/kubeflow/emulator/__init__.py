"""Runs a compiled pipeline task by task, without a cluster, as Kubeflow's own services would.

What the driver and the launcher of open-source Kubeflow Pipelines do was measured against
their real code; this package does the same to files of this machine.
"""
