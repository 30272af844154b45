"""Configuration of the index: what is built, how it is checked, how it answers."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field
from pydantic import model_validator

from transforms.base_config import Config

EVERY = "*"  # in a list of names: all of them
VectorType = Literal["float32", "bfloat16", "int8"]  # as in `quantised_vectors`


class BuildConfig(Config):
    """Configuration of `IndexBuilder`.

    Attributes:
        candidate_types: Entity types that are candidates, or ["*"] for all.
        recall_at: The K of recall@K, for which the search is tuned and checked.
        target_recall: Recall@K against exact search that tuning aims at; above
            `min_recall`, so that the check on other queries has room.
        tuning_queries: Training timelines whose query embeddings tune the search.
        tree_from: Candidates from which the index has a tree; ScaNN searches
            smaller ones by brute force.
        leaves: Leaves of the tree; see `leaves_for` if unset.
        leaves_to_search: Leaves searched for one query; tuned if unset.
        reorder: Candidates that are scored again exactly; tuned if unset.
        dimensions_per_block: Dimensions that share one 4-bit code.
        anisotropic_threshold: ScaNN's anisotropic quantisation threshold.
        training_sample: Vectors on which leaves and codes are trained.
        parts: Parts of a tree's candidates that are put into leaves and encoded
            in parallel, each by a process that holds its own vectors alone. A
            candidate's leaf and code do not depend on how many there are, but
            in one part ScaNN draws the training sample itself.
        embed_batch: Catalogue rows embedded at a time.
        shards: Files in which the embedded catalogue is sorted.
    """

    candidate_types: tuple[str, ...] = (EVERY,)
    recall_at: int = Field(100, gt=0)
    target_recall: float = Field(0.99, gt=0, le=1)
    tuning_queries: int = Field(512, ge=0)
    tree_from: int = Field(1_000, ge=100)
    leaves: int | None = Field(None, gt=0)
    leaves_to_search: int | None = Field(None, gt=0)
    reorder: int | None = Field(None, gt=0)
    dimensions_per_block: int = Field(2, gt=0)
    anisotropic_threshold: float = Field(0.2, gt=0, lt=1)
    training_sample: int = Field(100_000, ge=1_000)
    parts: int = Field(1, gt=0, lt=100_000)
    embed_batch: int = Field(512, gt=0)
    shards: int = Field(16, gt=0)

    def leaves_for(self, candidates: int) -> int:
        """Returns how many leaves a tree over `candidates` vectors has.

        The power 0.6 of the candidates, or 1,000 leaves of 100,000 and 4,000 of a million:
        clustered vectors want four times the square root, for then a third of the candidates
        are looked at; among few, leaves themselves would be what a search looks at.
        """
        return min(candidates, self.leaves or round(candidates**0.6))

    def parts_for(self, candidates: int) -> int:
        """Returns in how many parts `candidates` vectors are encoded; brute force is in one."""
        return 1 if candidates < self.tree_from else min(self.parts, candidates)

    def default_reorder(self, candidates: int) -> int:
        """Returns how many candidates are scored again when nothing was tuned."""
        return min(candidates, self.reorder or 4 * self.recall_at)

    def default_leaves_to_search(self, candidates: int, leaves: int) -> int:
        """Returns how many leaves are searched when nothing was tuned.

        They hold about max(4,000, 10,000 * sqrt(candidates / 100,000))
        candidates, or 10 % of 100,000 and 3 % of a million.
        """
        if self.leaves_to_search:
            return min(leaves, self.leaves_to_search)
        scanned = max(4_000.0, 10_000.0 * math.sqrt(candidates / 100_000))
        return max(1, min(leaves, math.ceil(leaves * scanned / candidates)))


class CheckConfig(Config):
    """Configuration of `IndexValidator`.

    Attributes:
        recall_at: The K of recall@K; all candidates when there are fewer.
        min_recall: Lowest mean recall@K, against exact search, that is blessed.
        max_latency_ms: Highest 99th percentile, in milliseconds, of one query
            at a time on the validating machine that is blessed.
        validation_queries: Timelines of the validation split that are asked.
        exact_below: See `ServeConfig`: the search backend that will answer is checked too.
        vectors: See `ServeConfig`.
    """

    recall_at: int = Field(100, gt=0)
    min_recall: float = Field(0.98, ge=0, le=1)
    max_latency_ms: float = Field(50.0, gt=0)
    validation_queries: int = Field(1_000, gt=0)
    exact_below: int | None = Field(None, ge=0)
    vectors: VectorType = "float32"


class ServeConfig(Config):
    """Configuration of `ServableBuilder`.

    Attributes:
        k: Results of one request, fixed at export.
        exact_below: Candidates below which exact search answers, and not the
            index; if unset, exact search answers where it is faster on a CPU. A
            GPU is faster with exact search up to much larger catalogues.
        vectors: Type in which the index holds vectors in memory: `bfloat16` takes
            half of float32 and `int8` a quarter, and scores are rounded.
        exclude_seen: Types of history events whose entities are not
            recommended again; ["*"] for all, [] for none.
        seen_events: How many of a history's newest events `exclude_seen` looks at. In a
            pipeline it is `timeline.max_events_per_example`, what the evaluation sees of
            a user, so that what is measured is what is served.
        chunk_mb: MiB that the index's search of one part of a batch takes: 8
            stays in a CPU's cache, a GPU wants 256 or more.
    """

    k: int = Field(100, gt=0)
    exact_below: int | None = Field(None, ge=0)
    vectors: VectorType = "float32"
    exclude_seen: tuple[str, ...] = ()
    seen_events: int = Field(4_096, gt=0)
    chunk_mb: int = Field(8, gt=0)


class IndexConfig(BuildConfig, CheckConfig, ServeConfig):
    """The whole section `index` of a pipeline's configuration."""

    @model_validator(mode="after")
    def _agree(self) -> IndexConfig:
        if self.target_recall < self.min_recall:
            raise ValueError(
                f"`target_recall` ({self.target_recall}) is below `min_recall` "
                f"({self.min_recall}): the search would be tuned to fail its check. "
                "Raise the first or lower the second."
            )
        return self
