"""The TFX component `TimelineExampleGen`."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_beam_component
from tfx.dsl.components.base import executor_spec
from tfx.types import component_spec
from tfx.types import standard_artifacts

from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.components.timeline_example_gen.executor import CODE_VERSION_KEY
from tfx_pipeline.components.timeline_example_gen.executor import CONFIG_KEY
from tfx_pipeline.components.timeline_example_gen.executor import EXAMPLES_KEY
from tfx_pipeline.components.timeline_example_gen.executor import FINGERPRINT_KEY
from tfx_pipeline.components.timeline_example_gen.executor import LOG_DIR_KEY
from tfx_pipeline.components.timeline_example_gen.executor import Executor
from tfx_pipeline.datasets.event_log import EventLog


class TimelineExampleGenSpec(component_spec.ComponentSpec):
    """What `TimelineExampleGen` reads and writes."""

    PARAMETERS = {
        LOG_DIR_KEY: component_spec.ExecutionParameter(type=str),
        CONFIG_KEY: component_spec.ExecutionParameter(type=str),
        CODE_VERSION_KEY: component_spec.ExecutionParameter(type=str),
        FINGERPRINT_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS: dict[str, component_spec.ChannelParameter] = {}
    OUTPUTS = {EXAMPLES_KEY: component_spec.ChannelParameter(type=standard_artifacts.Examples)}


class TimelineExampleGen(base_beam_component.BaseBeamComponent):
    """Turns an event log into examples: one `tf.Example` a user.

    The output `examples` has the splits `train`, `validation`, `test` and
    `catalogue`, with the features of `transforms.features`; with `config.label` also
    `validation_pages` and `test_pages`, one `tf.Example` a page view.

    TFX's own example generators find out in a driver whether their files have
    changed. Kubeflow Pipelines runs no drivers, so this component looks at the
    files when it is made, and their fingerprint is one of its properties.
    """

    SPEC_CLASS = TimelineExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        log_dir: str,
        config: TimelineConfig,
        code_version: str,
        input_fingerprint: str | None = None,
    ) -> None:
        """Makes the component.

        Args:
            log_dir: Directory of an event log.
            config: How timelines are cut.
            code_version: Hash of the sources that the executor runs.
            input_fingerprint: What changes when the log does; computed from
                the files by default. Needed where they cannot be read while
                the pipeline is compiled.

        Raises:
            FileNotFoundError: No event log is there, and no fingerprint is given.
        """
        fingerprint = input_fingerprint or EventLog(log_dir).fingerprint()
        spec = TimelineExampleGenSpec(
            log_dir=str(log_dir),
            config=config.to_json(),
            code_version=code_version,
            input_fingerprint=fingerprint,
            examples=types.Channel(type=standard_artifacts.Examples),
        )
        super().__init__(spec=spec)
