"""Settings of the serving validator."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tfx_pipeline.components.serving_validator.config import ServingValidationConfig
from tfx_pipeline.config_file import load_config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"server": "locl"}, "Expected `local`, an address"),
        ({"base_path": "staging"}, "`base_path` is said of a server that runs already"),
        ({"server": "a:1", "base_path": "b", "version": 2}, "set one of them"),
        ({"latency": 3}, "nearest is `latency_p99_ms`"),
    ],
)
def test_settings_that_do_not_fit_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        ServingValidationConfig(**settings)


def test_the_configuration_does_not_import_tensorflow():
    code = (
        "import sys, tfx_pipeline.config; "
        "assert not {'tfx', 'tensorflow', 'tensorflow_model_analysis'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[4])


def test_the_candidate_is_never_put_among_the_pushed_versions():
    section = "retrieval.serving_validation"
    settings = (f"{section}.server=a:1", f"{section}.base_path=runs/x/pushed/retrieval")
    with pytest.raises(ValueError, match="is the push directory"):
        load_config("shop_demo", ("run_dir=runs/x", *settings))
    elsewhere = load_config("shop_demo", ("run_dir=runs/y", *settings)).retrieval
    assert elsewhere and elsewhere.serving_validation.is_address
