"""Stages of the pipeline: each a function from configuration and upstream outputs to components."""
