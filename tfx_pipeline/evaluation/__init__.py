"""Evaluation with TFMA: metrics that it lacks, gates, and what a run reports."""

# What runs in the Evaluator, for `code_version`.
SOURCES = (
    "tfx_pipeline.evaluation.config",
    "tfx_pipeline.evaluation.eval_config",
    "tfx_pipeline.evaluation.evaluator",
    "tfx_pipeline.evaluation.extraction",
    "tfx_pipeline.evaluation.metrics",
    "tfx_pipeline.evaluation.popularity",
    "transforms.features",
)
