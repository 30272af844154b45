"""The TFX component `TimelineExampleGen` and its executor."""

from __future__ import annotations

import posixpath
from typing import Any

from absl import logging
from apache_beam.io.filesystems import FileSystems
from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_component
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.components.base import executor_spec
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils
from tfx.types import component_spec
from tfx.types import standard_artifacts

from tfx_pipeline.artifacts import CatalogueFeatures
from tfx_pipeline.components import locations
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.components.timeline_example_gen.job import generate
from tfx_pipeline.datasets import dead_letter
from tfx_pipeline.datasets.dead_letter import TooManyDeadLetters

LOG_DIR_KEY = "log_dir"
CONFIG_KEY = "config"
CODE_VERSION_KEY = "code_version"
FINGERPRINT_KEY = "input_fingerprint"
EXAMPLES_KEY = "examples"
FEATURES_KEY = "features"


class Executor(base_beam_executor.BaseBeamExecutor):
    """Runs the Beam job and describes its output as TFX's example generators do."""

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Generates the examples.

        Args:
            input_dict: `features`, tables of declared fields that the run has made; or nothing.
            output_dict: `examples`: one `Examples` artifact to fill.
            exec_properties: `log_dir`, `config` (JSON of `TimelineConfig`) and
                `input_fingerprint`.

        Raises:
            FileNotFoundError: No event log is there.
            ValueError: The log does not fit, too many of its rows are bad, or a
                split would be empty.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(output_dict[EXAMPLES_KEY])
        config = TimelineConfig.model_validate_json(exec_properties[CONFIG_KEY])
        made = (
            locations.directory(input_dict, FEATURES_KEY) if input_dict.get(FEATURES_KEY) else None
        )
        try:
            counts = generate(
                exec_properties[LOG_DIR_KEY], examples.uri, config, self._make_beam_pipeline, made
            )
        except TooManyDeadLetters as error:
            kept = _keep_dead_letters(examples.uri)
            raise ValueError(str(error).replace(error.directory, kept)) from error
        examples.split_names = artifact_utils.encode_split_names(list(config.splits))
        examples.set_int_custom_property("span", counts["span"])
        examples.set_int_custom_property("version", 0)
        fingerprint = exec_properties.get(FINGERPRINT_KEY, "")
        examples.set_string_custom_property(FINGERPRINT_KEY, fingerprint)
        examples_utils.set_payload_format(examples, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
        examples_utils.set_file_format(examples, "tfrecords_gzip")
        logging.info("Timelines are in %s", examples.uri)


def _keep_dead_letters(uri: str) -> str:
    """Moves dead letters out of the artifact, which TFX removes when its executor fails.

    Returns:
        Where they are: `<component>/dead_letter/<execution>`.
    """
    component, execution = posixpath.dirname(posixpath.dirname(uri)), posixpath.basename(uri)
    target = posixpath.join(component, dead_letter.DIRECTORY, execution)
    if FileSystems.exists(target):
        FileSystems.delete([target])
    if not FileSystems.exists(posixpath.dirname(target)):
        FileSystems.mkdirs(posixpath.dirname(target))
    FileSystems.rename([posixpath.join(uri, dead_letter.DIRECTORY)], [target])
    return target


class TimelineExampleGenSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of `TimelineExampleGen`."""

    PARAMETERS = {
        LOG_DIR_KEY: component_spec.ExecutionParameter(type=str),
        CONFIG_KEY: component_spec.ExecutionParameter(type=str),
        CODE_VERSION_KEY: component_spec.ExecutionParameter(type=str),
        FINGERPRINT_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {FEATURES_KEY: component_spec.ChannelParameter(type=CatalogueFeatures, optional=True)}
    OUTPUTS = {EXAMPLES_KEY: component_spec.ChannelParameter(type=standard_artifacts.Examples)}


class TimelineExampleGen(base_beam_component.BaseBeamComponent):
    """Turns an event log into examples: one `tf.Example` a user.

    The output `examples` has the splits `train`, `validation`, `test` and
    `catalogue`, with the features of `transforms.features`; with `config.label` also
    `validation_pages` and `test_pages`, one `tf.Example` a page view.

    TFX's own example generators find out in a driver whether their files have
    changed. Kubeflow Pipelines runs no drivers, so the files' fingerprint is one of
    this component's properties, and whoever starts a run looks at them.
    """

    SPEC_CLASS = TimelineExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        log_dir: str,
        config: TimelineConfig,
        code_version: str,
        input_fingerprint: str,
        features: types.BaseChannel | None = None,
    ) -> None:
        """Makes the component.

        Args:
            log_dir: Directory of an event log.
            config: How timelines are cut.
            code_version: Hash of the sources that the executor runs.
            input_fingerprint: Fingerprint of the log's files, which changes when they do.
            features: Tables of declared fields that the run has made; they are read in place of
                the log's of the same names.
        """
        spec = TimelineExampleGenSpec(
            log_dir=str(log_dir),
            config=config.to_json(),
            code_version=code_version,
            input_fingerprint=input_fingerprint,
            features=features,
            examples=types.Channel(type=standard_artifacts.Examples),
        )
        super().__init__(spec=spec)
