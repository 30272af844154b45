"""Builds features of images: vectors of the catalogue's images and their clusters."""

from __future__ import annotations

import shutil
from typing import Any

from absl import logging
from tfx import v1 as tfx
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.components.base import executor_spec
from tfx.types import component_spec

from tfx_pipeline.artifacts import CatalogueFeatures
from tfx_pipeline.components import locations
from tfx_pipeline.datasets.schemas import FEATURES_TABLE
from tfx_pipeline.image_features.encoder import ENCODER
from tfx_pipeline.image_features.encoder import fetch_encoder
from tfx_pipeline.image_features.tables import make_tables
from tfx_pipeline.image_features.tables_config import TablesConfig


class Executor(base_beam_executor.BaseBeamExecutor):
    """Embeds the images of the log's catalogue on Beam and clusters them."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes encoder, centres of clusters and tables.

        Args:
            input_dict: `model`, the encoder; or nothing.
            output_dict: `features`.
            exec_properties: `log_dir`, `encoder`, `config` (a `TablesConfig` as JSON), and what
                TFX's cache sees.

        Raises:
            ValueError: The encoder does not fit, or there are no images.
        """
        config = TablesConfig.model_validate_json(exec_properties["config"])
        folder = locations.directory(output_dict, "features")
        folder.mkdir(parents=True, exist_ok=True)
        if input_dict.get("model"):
            shutil.copytree(locations.saved_model(input_dict, "model"), folder / ENCODER)
        else:
            fetch_encoder(exec_properties["encoder"], folder)
        made = make_tables(
            exec_properties["log_dir"],
            folder,
            folder / FEATURES_TABLE,
            config,
            self._make_beam_pipeline,
        )
        [features] = output_dict["features"]
        features.set_string_custom_property("encoder", made.fingerprint)
        for name in ("images", "dim", "clusters"):
            features.set_int_custom_property(name, getattr(made, name))
        logging.info(
            "%s images have features of the encoder %s", f"{made.images:,}", made.fingerprint
        )


class ImageFeatureBuilderSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of the builder."""

    INPUTS = {
        "model": component_spec.ChannelParameter(
            type=tfx.types.standard_artifacts.Model, optional=True
        )
    }
    OUTPUTS = {"features": component_spec.ChannelParameter(type=CatalogueFeatures)}
    PARAMETERS = {
        "log_dir": component_spec.ExecutionParameter(type=str),
        "input_fingerprint": component_spec.ExecutionParameter(type=str),
        "encoder": component_spec.ExecutionParameter(type=str),
        "encoder_state": component_spec.ExecutionParameter(type=str),
        "config": component_spec.ExecutionParameter(type=str),
        "code_version": component_spec.ExecutionParameter(type=str),
    }


class ImageFeatureBuilder(tfx.types.BaseBeamComponent):
    """Embeds all images of a catalogue, those of items without events as well.

    The output `features` is a `CatalogueFeatures` whose folder is what `representation.encoder`
    takes.

    Args:
        log_dir: Directory of the event log.
        input_fingerprint: Fingerprint of the log's files.
        config: Fields and clusters.
        code_version: Hash of the sources that run here.
        model: The encoder, from a Trainer.
        encoder: The folder of an earlier one instead (`tfx_pipeline.image_features.encoder`).
        encoder_state: Tells that one from others.
    """

    SPEC_CLASS = ImageFeatureBuilderSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        log_dir: str,
        input_fingerprint: str,
        config: TablesConfig,
        code_version: str,
        model: tfx.types.BaseChannel | None = None,
        encoder: str = "",
        encoder_state: str = "",
    ) -> None:
        features: Any = tfx.dsl.Channel(type=CatalogueFeatures)
        super().__init__(
            spec=ImageFeatureBuilderSpec(
                model=model,
                features=features,
                log_dir=log_dir,
                input_fingerprint=input_fingerprint,
                encoder=encoder,
                encoder_state=encoder_state,
                config=config.to_json(),
                code_version=code_version,
            )
        )
