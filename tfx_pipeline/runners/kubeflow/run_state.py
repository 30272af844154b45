"""The first step of a run: finds out what a compiled pipeline cannot know.

A pipeline is compiled once, and runs for months over a log that grows and a push directory
that fills. What depends on them, and on the parameters of a run, is resolved here: the step
assembles the very pipeline that a local run would assemble at this moment, and publishes
the properties in which it differs from the compiled one. Every other step gets them as
parameters, which Kubeflow's cache compares by value; an artifact of this step would be
another one in every run, and nothing behind it would ever come from the cache.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

from absl import logging
from tfx import v1 as tfx
from tfx.dsl.components.base import base_executor
from tfx.dsl.components.base import executor_spec
from tfx.types import component_spec

from tfx_pipeline.config import PipelineConfig

RUN_STATE = "run-state"
_CONFIG, _KEYS, _DEFERRED, _COMPILED = "config", "parameter_keys", "deferred", "compiled"


class Deferred(NamedTuple):
    """A property of a component that only the run knows."""

    component: str
    key: str

    @property
    def name(self) -> str:
        """Name of the output that holds its value."""
        return f"{self.component}__{self.key}".replace("-", "_")


def deferred(components: Iterable[Any], others: Iterable[Any]) -> list[Deferred]:
    """Returns the properties in which pipelines differ that were made for different runs.

    Raises:
        ValueError: They differ in more than properties that are text.
    """
    mine, theirs = ({one.id: one for one in made} for made in (components, others))
    if wiring(mine.values()) != wiring(theirs.values()):
        raise ValueError(
            "A parameter of a run changes which steps there are or what they read; that is decided "
            "when the pipeline is compiled. Take it out of `kubeflow.parameters`."
        )
    found = []
    for name, component in mine.items():
        for key, value in component.exec_properties.items():
            if value == theirs[name].exec_properties.get(key):
                continue
            if not isinstance(value, str):
                raise ValueError(f"`{key}` of `{name}` is no text and cannot wait for a run.")
            found.append(Deferred(name, key))
    return found


def wiring(components: Iterable[Any]) -> dict[str, dict[str, str]]:
    """Returns what every component reads: input -> `component.output`."""
    return {
        component.id: {
            key: f"{channel.producer_component_id}.{channel.output_key}"
            for key, channel in component.inputs.items()
        }
        for component in components
    }


def fingerprints(components: Iterable[Any], without: Iterable[Deferred]) -> dict[str, str]:
    """Hashes what a compiled pipeline says of each component, but for what it defers."""
    made, left_out = list(components), set(without)
    reads = wiring(made)
    found = {}
    for component in made:
        properties = {
            key: str(value)
            for key, value in component.exec_properties.items()
            if (component.id, key) not in left_out
        }
        text = json.dumps([reads[component.id], properties], sort_keys=True)
        found[component.id] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return found


class Executor(base_executor.BaseExecutor):
    """Assembles the pipeline for this run, and publishes what was deferred."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the value of every deferred property.

        Args:
            input_dict: Nothing.
            output_dict: A `String` for each deferred property.
            exec_properties: As of `RunStateReader`, and the run's parameters by name.

        Raises:
            FileNotFoundError: There is no event log.
            ValueError: A parameter does not fit, the push directory cannot be read, or the image
                holds other code than the pipeline was compiled from.
        """
        from tfx_pipeline.pipeline import create_components
        from tfx_pipeline.runners.kubeflow.parameters import with_parameters
        from tfx_pipeline.stages.state import read_state

        keys = json.loads(exec_properties[_KEYS])
        given = {key: str(exec_properties[name]) for name, key in keys.items()}
        values = json.loads(exec_properties[_CONFIG])
        config = with_parameters(values, given, "the run's parameters")
        _require_reachable(config)
        wanted = [Deferred(*pair) for pair in json.loads(exec_properties[_DEFERRED])]
        components = {one.id: one for one in create_components(config, read_state(config))}
        _require_same(
            json.loads(exec_properties[_COMPILED]), fingerprints(components.values(), wanted)
        )
        for one in wanted:
            (output,) = output_dict[one.name]
            output.value = str(components[one.component].exec_properties[one.key])
            logging.info("%s of %s: %s", one.key, one.component, output.value)


def _require_reachable(config: PipelineConfig) -> None:
    places = {"log_dir": config.log_dir, "push_dir": config.push_dir_of("retrieval")}
    if config.representation and config.representation.encoder:
        places["representation.encoder"] = config.representation.encoder
    for key, place in places.items():
        if not ("://" in place or place.startswith("/")):
            raise ValueError(
                f"`{key}` is `{place}`, a path inside of a pod, which no other step sees. Give the "
                "address of an object store, or the path of a volume from its root."
            )


def _require_same(compiled: Mapping[str, str], found: Mapping[str, str]) -> None:
    other = [name for name in {**compiled, **found} if compiled.get(name) != found.get(name)]
    if other:
        raise ValueError(
            "This image holds other code, libraries or defaults than the pipeline was compiled "
            f"from: {', '.join(other)} would run what Kubeflow's cache does not know of. Compile "
            "the pipeline with the code of the image, or build the image again."
        )


class RunStateReader(tfx.types.BaseComponent):
    """Publishes the state of a run: the log's fingerprint, what is served, and what follows.

    Its outputs are of type `String`, one for each deferred property. It is never answered from
    the cache.

    Args:
        values: What the file of the configuration gives.
        parameters: The run's parameters: dotted key -> TFX's runtime parameter.
        publish: The properties that other components wait for.
        compiled: What `fingerprints` said of the pipeline when it was compiled.
    """

    SPEC_CLASS = component_spec.ComponentSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        values: Mapping[str, Any],
        parameters: Mapping[str, tfx.dsl.experimental.RuntimeParameter],
        publish: Iterable[Deferred],
        compiled: Mapping[str, str],
    ) -> None:
        text = tfx.types.standard_artifacts.String
        outputs = [one.name for one in publish]
        properties: dict[str, Any] = {
            _CONFIG: json.dumps(values, default=str, sort_keys=True),
            _KEYS: json.dumps({one.name: key for key, one in parameters.items()}),
            _DEFERRED: json.dumps([list(one) for one in publish]),
            _COMPILED: json.dumps(compiled),
            **{one.name: one for one in parameters.values()},
        }
        spec = type(
            "RunStateSpec",
            (component_spec.ComponentSpec,),
            {
                "INPUTS": {},
                "OUTPUTS": {name: component_spec.ChannelParameter(type=text) for name in outputs},
                "PARAMETERS": {
                    name: component_spec.ExecutionParameter(type=str) for name in properties
                },
            },
        )
        super().__init__(
            spec(**properties, **{name: tfx.dsl.Channel(type=text) for name in outputs})
        )
        self.with_id(RUN_STATE)

    def placeholder(self, one: Deferred) -> Any:
        """Returns what stands for a deferred property until the run."""
        return self.outputs[one.name].future()[0].value
