"""Trains an image encoder on an event log, and writes what it makes of the catalogue there."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import numpy as np
from absl import logging

from models.config import RepresentationValidationConfig
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.image_features.clusters import fit_centres
from tfx_pipeline.image_features.clusters import read_vectors
from tfx_pipeline.image_features.clusters import write_tokens
from tfx_pipeline.image_features.config import RepresentationConfig
from transforms.arrow import pq
from transforms.arrow import read_table
from transforms.catalogue_fields import CatalogueFields
from transforms.features import PAGE_SPLITS
from transforms.label_config import LabelConfig

if TYPE_CHECKING:
    from models.training.data import TrainingData

DIRECTORY = "image_features"
ENCODER, CENTRES, REPORT, FINGERPRINT = (
    "encoder",
    "centres.npy",
    "training.json",
    "fingerprint.json",
)


@dataclass(frozen=True)
class Made:
    """What was written.

    Attributes:
        folder: Encoder, centres of clusters, report of the training.
        fingerprint: Of the encoder.
        images: How many have features.
        dim: Length of a vector.
        clusters: How many there are.
        metrics: Of the encoder on held-out pages; none where it was not trained now.
    """

    folder: Path
    fingerprint: str
    images: int
    dim: int
    clusters: int
    metrics: Mapping[str, float] = field(default_factory=dict)


def make_features(
    config: PipelineConfig, section: RepresentationConfig, encoder: Path | None = None
) -> Made:
    """Trains an encoder, embeds the catalogue's images and clusters them.

    Args:
        config: Names the log, and how its timelines are cut: nothing held out is learned from.
        section: The encoder, the fields and the clusters.
        encoder: What an earlier call left in its `folder`; its encoder and its clusters are used
            as they are, so that new items get features that old ones agree with.

    Returns:
        What was written: tables below the log's `features/`, the rest below `run_dir`.

    Raises:
        ValueError: The log has no images or no clicks on them, or the vectors have collapsed.
    """
    if encoder is not None:
        return write_features(config, section, encoder)
    folder = folder_of(config, section)
    metrics = train_encoder(learn_from(config), section, folder, _label(config))
    return dataclasses.replace(write_features(config, section, folder), metrics=metrics)


def folder_of(config: PipelineConfig, section: RepresentationConfig) -> Path:
    """Returns where the encoder of a field is."""
    return Path(config.run_dir, DIRECTORY, section.field)


def learn_from(config: PipelineConfig) -> TrainingData:
    """Makes what an encoder learns from: timelines, page examples and images of the log.

    Raises:
        ValueError: Nothing says what a click is.
    """
    import models  # noqa: F401  (before TensorFlow)
    from models.training.data import TrainingData
    from tfx_pipeline.runners.transformed import transformed_log

    _label(config)
    # What is made here may be declared already, and is not there before.
    changes = {"include_images": True, "catalogue_fields": CatalogueFields()}
    timeline = config.timeline.model_copy(update=changes)
    places = {"timeline": timeline, "run_dir": str(Path(config.run_dir, DIRECTORY, "data"))}
    made = transformed_log(config.model_copy(update=places))
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
    from models.families import find_family
    from models.trainer import train
    from models.training.learner import seed_everything

    shutil.rmtree(folder, ignore_errors=True)
    trainer = section.trainer.model_copy(update={"label": label})
    if trainer.model.objective == "none":
        seed_everything(trainer)
        model = find_family(trainer.model.family).load().of(trainer, data)
        best = model.validation(data).evaluate()
        report: dict[str, Any] = {"config": trainer.model_dump(mode="json"), "best": best}
    else:
        model, report = train(trainer, data, run_dir=str(folder / "logs"))
        best = report["best"]
    _require_spread(best, trainer.validation)
    model.export(None, str(folder / ENCODER))
    (folder / REPORT).write_text(json.dumps(report, indent=1), encoding="utf-8")
    return {name: float(value) for name, value in best.items()}


def write_features(config: PipelineConfig, section: RepresentationConfig, folder: Path) -> Made:
    """Embeds the images of a log by an encoder, clusters them and writes both into the log.

    Args:
        config: Names the log.
        section: The fields and the clusters.
        folder: Holds the encoder, and the centres of clusters, which are fitted where there
            are none yet.

    Returns:
        What was written, without metrics.
    """
    from tfx_pipeline.image_features.embed import embed_images

    content = json.loads((folder / ENCODER / FINGERPRINT).read_text(encoding="utf-8"))
    staged = folder_of(config, section) / "tables"
    shutil.rmtree(staged, ignore_errors=True)
    vectors = staged / section.field
    options = config.beam_pipeline_args
    images = embed_images(
        config.log_dir, folder / ENCODER, vectors, config.candidate_types, options
    )
    files = sorted(vectors.glob("*.parquet"))
    if not (folder / CENTRES).is_file():
        every = np.concatenate([read_vectors(path) for path in files])
        np.save(folder / CENTRES, fit_centres(every, section.clusters, section.trainer.seed))
    centres = np.load(folder / CENTRES, allow_pickle=False)
    write_tokens(files, staged / section.cluster_field, centres)
    for name in (section.field, section.cluster_field):
        _put(staged / name, Path(config.log_dir, "features", name), content["fingerprint"])
    shutil.rmtree(staged)
    return Made(folder, content["fingerprint"], images, centres.shape[1], len(centres))


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


def _require_spread(metrics: Mapping[str, float], limits: RepresentationValidationConfig) -> None:
    """Refuses vectors that all point the same way, or lie along one line.

    Raises:
        ValueError: Their mean cosine is too great, or their effective rank too small.
    """
    key = "representation.trainer.validation"
    found = None
    if metrics["mean_cosine"] > limits.max_mean_cosine:
        found = (
            f"the mean cosine of two images is {metrics['mean_cosine']:.3f}, and at most "
            f"{limits.max_mean_cosine} is allowed (`{key}.max_mean_cosine`)"
        )
    if metrics["effective_rank"] < limits.min_effective_rank:
        found = (
            f"their effective rank is {metrics['effective_rank']:.2f}, and at least "
            f"{limits.min_effective_rank} is asked for (`{key}.min_effective_rank`)"
        )
    if found:
        raise ValueError(
            f"The vectors have collapsed: {found}. Lower the learning rate, or train longer."
        )


def _put(staged: Path, target: Path, fingerprint: str) -> None:
    """Moves a table into the log, with the encoder's fingerprint in the files' metadata."""
    for path in sorted(staged.glob("*.parquet")):
        table = read_table(path)
        kept = table.schema.metadata or {}
        pq.write_table(table.replace_schema_metadata(kept | {"encoder": fingerprint}), path)
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.parent / f".{target.name}.{fingerprint}"  # no reader sees what is hidden
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(staged, aside)
    shutil.rmtree(target, ignore_errors=True)
    aside.rename(target)
    logging.info("%s was written", target)
