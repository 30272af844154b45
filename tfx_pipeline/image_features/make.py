"""Trains an image encoder on an event log, and writes what it makes of the catalogue there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from absl import logging

from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.image_features.config import RepresentationConfig
from tfx_pipeline.image_features.encoder import ENCODER
from tfx_pipeline.image_features.tables_config import TablesConfig
from transforms.catalogue_fields import CatalogueFields
from transforms.features import PAGE_SPLITS
from transforms.label_config import LabelConfig
from transforms.stack import make_pipeline

if TYPE_CHECKING:
    from models.training.data import TrainingData
    from tfx_pipeline.image_features.tables import Tables

DIRECTORY, REPORT = "image_features", "training.json"


@dataclass(frozen=True)
class Made:
    """What was written.

    Attributes:
        folder: Encoder, centres of clusters, report of the training.
        tables: What is in the log now.
        metrics: Of the encoder on held-out pages; none where it was not trained now.
    """

    folder: Path
    tables: Tables
    metrics: Mapping[str, float] = field(default_factory=dict)


def make_features(
    config: PipelineConfig, section: RepresentationConfig, encoder: Path | None = None
) -> Made:
    """Trains an encoder, embeds the catalogue's images and clusters them.

    Args:
        config: Names the log, and how its timelines are cut: nothing held out is learned from.
        section: The encoder, the fields and the clusters.
        encoder: What an earlier call left in its `folder`, or a run as an artifact; its encoder
            and its clusters are used as they are, so that new items get features that old ones
            agree with.

    Returns:
        What was written: tables below the log's `features/`, the rest below `run_dir`.

    Raises:
        ValueError: The log has no images or no clicks on them, or the vectors have collapsed.
    """
    if encoder is not None:
        return Made(encoder, write_features(config, section, encoder))
    folder = folder_of(config, section)
    metrics = train_encoder(learn_from(config), section, folder, _label(config))
    return Made(folder, write_features(config, section, folder), metrics)


def folder_of(config: PipelineConfig, section: RepresentationConfig) -> Path:
    """Returns where the encoder of a field is."""
    return Path(config.run_dir, DIRECTORY, section.field)


def images_alone(config: PipelineConfig) -> PipelineConfig:
    """Returns how a log is read to learn from its images: with these, and without fields.

    What is made of them may be declared already, and is not there before.
    """
    changes = {"include_images": True, "catalogue_fields": CatalogueFields()}
    timeline = config.timeline.model_copy(update=changes)
    return config.model_copy(update={"timeline": timeline, "representation": None})


def learn_from(config: PipelineConfig) -> TrainingData:
    """Makes what an encoder learns from: timelines, page examples and images of the log.

    Raises:
        ValueError: Nothing says what a click is.
    """
    import models  # noqa: F401  (before TensorFlow)
    from models.training.data import TrainingData
    from tfx_pipeline.runners.transformed import transformed_log

    _label(config)
    place = {"run_dir": str(Path(config.run_dir, DIRECTORY, "data"))}
    made = transformed_log(images_alone(config).model_copy(update=place))
    files = (made.files(name) for name in ("train", "catalogue", PAGE_SPLITS[0]))
    return TrainingData(made.output(), *files)


def train_encoder(
    data: TrainingData, section: RepresentationConfig, folder: Path, label: LabelConfig
) -> dict[str, float]:
    """Trains an encoder and writes it, in place of what is in the folder.

    Args:
        data: What it learns from.
        section: The encoder.
        folder: Where encoder and report go.
        label: What a click is.

    Returns:
        Its metrics on held-out pages.

    Raises:
        ValueError: The vectors have collapsed.
    """
    from models.trainer import train

    shutil.rmtree(folder, ignore_errors=True)
    trainer = section.trainer.model_copy(update={"label": label})
    model, report = train(trainer, data, run_dir=str(folder / "logs"))
    model.export(None, str(folder / ENCODER))
    (folder / REPORT).write_text(json.dumps(report, indent=1), encoding="utf-8")
    return {name: float(value) for name, value in report["best"].items()}


def write_features(config: PipelineConfig, section: RepresentationConfig, folder: Path) -> Tables:
    """Embeds the images of a log by an encoder, clusters them and writes both into the log.

    Args:
        config: Names the log.
        section: The fields and the clusters.
        folder: Holds the encoder, and the centres of clusters, which are fitted where there
            are none yet.
    """
    from tfx_pipeline.image_features.tables import make_tables

    staged = folder_of(config, section) / "tables"
    shutil.rmtree(staged, ignore_errors=True)
    made = make_tables(
        config.log_dir,
        folder,
        staged,
        TablesConfig.of(section, config.candidate_types),
        partial(make_pipeline, config.beam_pipeline_args),
    )
    for name in (section.field, section.cluster_field):
        _put(staged / name, Path(config.log_dir, "features", name), made.fingerprint)
    shutil.rmtree(staged)
    return made


def _label(config: PipelineConfig) -> LabelConfig:
    """Returns what a click is.

    Raises:
        ValueError: Nothing says it.
    """
    if config.timeline.label is None:
        raise ValueError(
            "Nothing says what a click is: give `ranking.label`, or `timeline.label` where there "
            "is no ranking stage."
        )
    return config.timeline.label


def _put(staged: Path, target: Path, fingerprint: str) -> None:
    """Moves a table into the log."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.parent / f".{target.name}.{fingerprint}"  # no reader sees what is hidden
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(staged, aside)
    shutil.rmtree(target, ignore_errors=True)
    aside.rename(target)
    logging.info("%s was written", target)
