"""Files of the sources beside a servable: neighbour lists and the combination that fits them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from serving.index import files
from serving.sources import combination
from serving.sources import neighbours
from serving.sources.combination import SOURCES_DIR
from serving.sources.combination import Combination
from serving.sources.combination import CombinationError
from serving.sources.neighbours import Neighbours

REQUIRED = tuple(
    f"{SOURCES_DIR}/{name}" for name in (neighbours.TABLE, neighbours.INFO, combination.COMBINATION)
)


@dataclass(frozen=True)
class ServableSources:
    """Sources of a servable besides its tower.

    Attributes:
        neighbours: Neighbour lists, by names of entities.
        combination: How sources are joined.
        neighbours_dir: Where the lists were read.
    """

    neighbours: Neighbours
    combination: Combination
    neighbours_dir: Path

    def write(self, directory: Path) -> None:
        """Writes both into one directory, which `read` reads."""
        self.combination.write(directory)
        for name in (neighbours.TABLE, neighbours.INFO):
            shutil.copyfile(self.neighbours_dir / name, directory / name)


def read(neighbours_dir: Path, combination_dir: Path, index: files.IndexFiles) -> ServableSources:
    """Reads neighbour lists and a combination, and checks that they belong to an index.

    Raises:
        FileNotFoundError: One of them is missing.
        NeighboursIntegrityError: The lists are damaged.
        CombinationError: The combination is damaged, or was learned with other lists or towers.
    """
    lists = Neighbours.read(neighbours_dir)
    found = combination.read(combination_dir)
    if found.neighbours != lists.info["sha256"]:
        raise CombinationError(
            f"The combination at `{combination_dir}` was learned with other neighbour lists than "
            f"those at `{neighbours_dir}`. Run SourceCombiner again."
        )
    if found.towers != index.info["towers"]:
        raise CombinationError(
            f"The combination at `{combination_dir}` was learned with other towers than the index "
            f"at `{index.path}`. Run SourceCombiner again."
        )
    return ServableSources(lists, found, neighbours_dir)
