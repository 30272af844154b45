"""Training data: transformed splits, vocabularies and counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from absl import logging

from models.input.timeline_files import Spec
from models.input.vocabulary_sizes import VocabularySizes
from transforms import names
from transforms.vocabulary import target_counts

if TYPE_CHECKING:
    import tensorflow_transform as tft


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """The artifacts that a Trainer reads.

    Attributes:
        transform: What Transform wrote.
        train_files: Transformed timelines to cut targets from, gzipped TFRecord files.
        catalogue_files: The transformed catalogue.
        validation_files: Transformed timelines with held-out targets.
    """

    transform: tft.TFTransformOutput
    train_files: Sequence[str]
    catalogue_files: Sequence[str]
    validation_files: Sequence[str]

    @cached_property
    def spec(self) -> Spec:
        """The transformed feature spec."""
        spec: Spec = self.transform.transformed_feature_spec()
        return spec

    @cached_property
    def sizes(self) -> VocabularySizes:
        """Sizes of the vocabularies."""
        return VocabularySizes.of(self.transform)

    @cached_property
    def target_counts(self) -> np.ndarray:
        """Number of training targets of each entity, [V + 1]; 0 for the unknown one."""
        counts = target_counts(self.transform)
        counts[0] = 0
        return counts

    def event_types(self, chosen: Sequence[str]) -> tuple[int, ...] | None:
        """Returns the indices of event types; None for all of them (`*`)."""
        if "*" in chosen:
            return None
        known = [name.decode() for name in self.transform.vocabulary_by_name(names.EVENT_TYPE)]
        absent = sorted(set(chosen) - set(known))
        if absent:
            logging.warning("no event of the types %s; the log has %s", absent, known)
        return tuple(known.index(name) + 1 for name in chosen if name in known)
