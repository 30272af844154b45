"""Evaluation with TFMA: metrics that it lacks, gates, and what a run reports."""
