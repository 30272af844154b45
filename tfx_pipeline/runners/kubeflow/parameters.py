"""Parameters of a run: keys of the configuration that whoever submits it may set."""

from __future__ import annotations

import datetime
import json
import posixpath
from collections.abc import Iterator
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.config_file import set_key
from tfx_pipeline.config_file import typed
from tfx_pipeline.stages.table import REPRESENTATION

_ADDRESSES = ("log_dir", "push_dir")
_STARTS = ("timeline.validation_start", "timeline.test_start")
_ENCODER = f"{REPRESENTATION}.encoder"
_DAYS = ("timeline.validation_days", "timeline.test_days")


@dataclass(frozen=True)
class Parameter:
    """A parameter of a run: text, as behind `--set KEY=`.

    Attributes:
        key: Dotted key of the configuration.
        value: What it is in the configuration.
    """

    key: str
    value: Any

    @property
    def name(self) -> str:
        """Name of the parameter in the pipeline."""
        return self.key.replace(".", "_")

    @property
    def default(self) -> str | None:
        """Text of the value; None for a path that no pod has, so that a run has to name one."""
        if self.key in (*_ADDRESSES, _ENCODER) and not (
            "://" in self.value or self.value.startswith("/")
        ):
            return None
        if self.key in _STARTS:
            epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
            return (epoch + datetime.timedelta(microseconds=self.value)).isoformat()
        return self.value if isinstance(self.value, str) else json.dumps(self.value)

    @property
    def another(self) -> str:
        """Text of another value of the same kind."""
        if isinstance(self.value, bool):
            return json.dumps(not self.value)
        if isinstance(self.value, float) and self.value:
            return json.dumps(self.value / 2)  # shares and rates have an upper bound
        if isinstance(self.value, int | float) or self.value is None:
            return json.dumps((self.value or 0) + 1)
        if isinstance(self.value, str):
            return f"{self.value}/another"
        raise ValueError(
            f"`{self.key}` is no single value and cannot be a parameter of a run; received "
            f"{self.value!r}."
        )


def parameters_of(config: PipelineConfig) -> tuple[Parameter, ...]:
    """Returns the parameters that a configuration exposes.

    Raises:
        ValueError: `kubeflow.parameters` names a key that there is not.
    """
    keys = config.kubeflow.parameters or _usual(config)
    return tuple(Parameter(key, _value(config, key)) for key in keys)


def _usual(config: PipelineConfig) -> Iterator[str]:
    yield from _ADDRESSES
    yield from (key for key in _STARTS if _value(config, key) is not None)
    yield from (key for key in _DAYS if _value(config, key))
    stages: list[str] = [*config.stages]
    if config.makes_features:
        if _value(config, _ENCODER):
            yield _ENCODER
        else:
            stages = [REPRESENTATION, *stages]
    for stage in stages:
        yield from (f"{stage}.trainer.seed", f"{stage}.trainer.epochs")


def _value(config: PipelineConfig, key: str) -> Any:
    found: Any = config
    for name in key.split("."):
        if not hasattr(found, name):
            raise ValueError(f"`kubeflow.parameters` names `{key}`, which is no key.")
        found = getattr(found, name)
    return posixpath.join(config.run_dir, "pushed") if (key, found) == ("push_dir", "") else found


def with_parameters(
    values: Mapping[str, Any], given: Mapping[str, str], where: str
) -> PipelineConfig:
    """Returns a configuration with parameters of a run, checked as any other.

    Args:
        values: What the configuration's file gives.
        given: Dotted key -> text.
        where: What to call it in errors.

    Raises:
        ValueError: A value is of a wrong type, or does not fit the others.
    """
    changed = deepcopy(dict(values))
    for key, text in given.items():
        set_key(changed, f"{key}={text}")
    return typed(PipelineConfig, changed, where)
