"""The learned combination of sources: what is written, read and checked.

`combination.json` holds the weights of each feature for each bucket of history lengths, how
many candidates each source brings, and what the combination gains on the validation split.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

import numpy as np

from serving.index.config import EVERY
from serving.sources.config import ScoringConfig
from serving.sources.config import SourcesConfig
from serving.sources.config import UnionConfig
from serving.sources.features import BUCKETS
from serving.sources.features import FEATURES
from serving.sources.features import MONOTONE

FORMAT_VERSION = 1
COMBINATION = "combination.json"
SOURCES_DIR = "sources"  # of a servable: the neighbour lists and the combination


class CombinationError(ValueError):
    """A combination is damaged, or was learned for something else."""


class Settings(ScoringConfig):
    """Settings that features depend on: the same in training and serving.

    Attributes:
        event_types: Events of a history whose neighbours count; ["*"] is all.
        union: How many candidates each source brings.
    """

    event_types: tuple[str, ...] = (EVERY,)
    union: UnionConfig = UnionConfig()


def settings_of(config: SourcesConfig) -> Settings:
    """Returns the settings that a configuration gives features."""
    counted = config.neighbours
    return Settings(
        decay=counted.decay,
        newest_events=counted.newest_events,
        event_types=counted.event_types,
        union=config.union,
    )


@dataclass(frozen=True)
class Combination:
    """Weights of the sources' features.

    Attributes:
        settings: What the features depend on.
        weights: [buckets, F] float32; a candidate's score is the product with its features.
        towers: Fingerprint of the towers that it was learned with.
        neighbours: SHA-256 of the neighbours' table that it was learned with.
        report: What was measured: `chosen`, `monitor`, `validation`, `recall`.
    """

    settings: Settings
    weights: np.ndarray
    towers: str
    neighbours: str
    report: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_tower(self) -> bool:
        """True where the tower alone was better than all sources together, for every user."""
        return set(self.report.get("chosen", {}).values()) == {"tower"}

    def write(self, directory: Path) -> None:
        """Writes `combination.json` into a directory."""
        directory.mkdir(parents=True, exist_ok=True)
        content = {
            "format_version": FORMAT_VERSION,
            "settings": self.settings.model_dump(mode="json"),
            "features": list(FEATURES),
            "buckets": list(BUCKETS),
            "weights": [[float(value) for value in row] for row in self.weights],
            "towers": self.towers,
            "neighbours": self.neighbours,
            **self.report,
        }
        text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n"
        (directory / COMBINATION).write_text(text, encoding="utf-8")


_OWN = {"format_version", "settings", "features", "buckets", "weights", "towers", "neighbours"}


def read(directory: Path) -> Combination:
    """Reads a combination and checks it.

    Raises:
        FileNotFoundError: There is none.
        CombinationError: It is of another version, of other features, or has weights that
            are not finite, or are negative where they may not be.
    """
    path = directory / COMBINATION
    if not path.is_file():
        raise FileNotFoundError(
            f"`{directory}` holds no `{COMBINATION}`. Run SourceCombiner again."
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format_version"] != FORMAT_VERSION:
            raise ValueError(
                f"has format version {content['format_version']}, and this code reads "
                f"{FORMAT_VERSION}"
            )
        for name, known in (("features", list(FEATURES)), ("buckets", list(BUCKETS))):
            if content[name] != known:
                raise ValueError(f"has the {name} {content[name]}, and this code knows {known}")
        found = Combination(
            Settings.model_validate(content["settings"]),
            np.array(content["weights"], np.float32),
            content["towers"],
            content["neighbours"],
            {name: value for name, value in content.items() if name not in _OWN},
        )
        _check_weights(found.weights)
    except (ValueError, TypeError, KeyError) as error:
        raise CombinationError(f"`{path}` {error}. Run SourceCombiner again.") from error
    return found


def _check_weights(weights: np.ndarray) -> None:
    shape = (len(BUCKETS), len(FEATURES))
    if weights.shape != shape or not np.isfinite(weights).all():
        raise ValueError(f"has no finite weights of the shape {list(shape)}")
    for column, name in enumerate(FEATURES):
        if name in MONOTONE and (weights[:, column] < 0).any():
            raise ValueError(f"has a negative weight of `{name}`, which never lowers a score")
