"""Configuration of timeline generation; imports neither TensorFlow nor TFX."""

from __future__ import annotations

import datetime
from typing import Annotated
from typing import Any
from typing import Literal

from pydantic import BeforeValidator
from pydantic import Field
from pydantic import model_validator

from tfx_pipeline.datasets.day_folders import DayRange
from transforms.base_config import Config
from transforms.catalogue_fields import CatalogueFields
from transforms.features import PAGE_SPLITS
from transforms.features import SPLITS
from transforms.label_config import LabelConfig

ANY = "*"
MICROSECONDS_A_DAY = 86_400_000_000


def to_microseconds(value: Any) -> Any:
    """Returns a date, a time or an ISO 8601 string as microseconds since the epoch.

    A time without a zone is UTC, and a number is microseconds already.

    Raises:
        ValueError: A string that is no date.
    """
    if isinstance(value, str):
        try:
            value = datetime.datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
        except ValueError:
            raise ValueError(
                f"expected a date such as 2024-05-01 or 2024-05-01T12:00:00Z, received `{value}`"
            ) from None
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        value = datetime.datetime.combine(value, datetime.time())
    if not isinstance(value, datetime.datetime):
        return value
    if value.tzinfo is None:
        value = value.replace(tzinfo=datetime.timezone.utc)
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    return (value - epoch) // datetime.timedelta(microseconds=1)


Microseconds = Annotated[int, BeforeValidator(to_microseconds)]


class TimelineConfig(Config):
    """Configuration of timelines and how they are cut from an event log.

    Attributes:
        split: `leave-last-out` holds out each user's last two targets, for
            comparison with papers; it trains on events later than other users'
            targets. `time-cut` freezes every history at two points in time and
            needs true timestamps. `leave-share-out` holds out the last share of
            each user's rows, impressions among them, in their order.
        validation_start: First moment of the validation period, for `time-cut`:
            an ISO date, or microseconds since the epoch.
        test_start: First moment of the test period, likewise.
        validation_days: Length of the validation period instead of its start.
        test_days: Length of the test period, which ends with the log, instead
            of its start.
        validation_share: Share of each user's rows, rounded to whole rows, before those
            of the test, for `leave-share-out`.
        test_share: Share of each user's rows, the last ones, likewise.
        days: Which folders of days of the events are read, such as `events/day=2024-05-01`:
            `{newest: 30}` is a rolling window, `{last: 2024-05-01}` the log as it was then.
        label: Rows of a ranking model: with it the job writes the splits `validation_pages`
            and `test_pages`, and training timelines carry `impression/events`. Without it
            there is neither.
        target_events: Event types that may be targets; `*` is all.
        candidate_types: Entity types that may be targets; `*` is all.
        min_target_events: Users with fewer events that may be targets are in
            `train` alone (`leave-last-out`).
        min_history: Users with fewer events before a cut have no example in
            the split behind it (`time-cut` and `leave-share-out`).
        request_query: Whether `request/query` of a held-out example is empty or
            the query of its first target.
        event_types: Event types that are allowed, rows of others being dead
            letters; `*` is all that the log's manifest names.
        unknown_entities: What to do with events whose entity is not in the
            catalogue.
        min_catalogue_match: Generation fails when a smaller share of the events
            that may be targets is about entities of the catalogue: then their
            ids are written differently.
        earliest: Events before it, and catalogue rows available from before it,
            are dead letters: an ISO date, or microseconds. By default 1990, or
            0 where times are an order only.
        latest: Events from it on are dead letters. By default the end of
            tomorrow, on the day of generation, or none for an order.
        max_events_per_example: A user with more events becomes several chunks.
        context_events: Leading events of a chunk that repeat the chunk before
            and are never targets.
        max_held_out_users: Validation and test keep at most so many users each, drawn by a
            hash of their ids, so that judging a model does not grow with the log; 0 keeps all.
            With 100,000 users the standard error of a hit rate of .1 is .001.
        max_impressions_per_example: The newest result pages are kept as long as
            they hold no more impressions than this.
        include_images: Whether catalogue rows carry their encoded image.
        catalogue_fields: Vectors and tokens of catalogue rows that the log has in tables of
            their own, `features/<name>/*.parquet`.
        max_dead_letter_fraction: Generation fails when a larger share of the
            rows of any table is bad.
        allow_empty_splits: Whether a split without examples is acceptable.
        buckets: Users are divided into so many groups, each sorted in memory
            and written as one file a split; 0 chooses by the log's size.
        compression_level: Gzip's level. On 2 cores more than 1 costs more time
            than all other work together.
    """

    split: Literal["leave-last-out", "leave-share-out", "time-cut"] = "leave-last-out"
    validation_start: Microseconds | None = None
    test_start: Microseconds | None = None
    validation_days: float = Field(default=0.0, ge=0.0)
    test_days: float = Field(default=0.0, ge=0.0)
    validation_share: float = Field(default=0.1, gt=0.0, lt=1.0)
    test_share: float = Field(default=0.1, gt=0.0, lt=1.0)
    days: DayRange = DayRange()
    label: LabelConfig | None = None
    target_events: tuple[str, ...] = (ANY,)
    candidate_types: tuple[str, ...] = (ANY,)
    min_target_events: int = Field(default=3, ge=2)
    min_history: int = Field(default=1, ge=0)
    request_query: Literal["empty", "target"] = "empty"
    event_types: tuple[str, ...] = (ANY,)
    unknown_entities: Literal["keep", "dead-letter"] = "keep"
    min_catalogue_match: float = Field(default=0.05, ge=0.0, le=1.0)
    earliest: Microseconds | None = None
    latest: Microseconds | None = None
    max_events_per_example: int = Field(default=4_096, ge=2)
    context_events: int = Field(default=256, ge=0)
    max_held_out_users: int = Field(default=100_000, ge=0)
    max_impressions_per_example: int = Field(default=65_536, ge=1)
    include_images: bool = False
    catalogue_fields: CatalogueFields = CatalogueFields()
    max_dead_letter_fraction: float = Field(default=0.01, ge=0.0, le=1.0)
    allow_empty_splits: bool = False
    buckets: int = Field(default=0, ge=0)
    compression_level: int = Field(default=1, ge=0, le=9)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that the job writes."""
        return SPLITS + PAGE_SPLITS if self.label else SPLITS

    @model_validator(mode="after")
    def _check_chunks(self) -> TimelineConfig:
        if self.context_events >= self.max_events_per_example:
            raise ValueError(
                f"context_events ({self.context_events}) must be below max_events_per_example "
                f"({self.max_events_per_example}), or a chunk has no event of its own."
            )
        return self

    @model_validator(mode="after")
    def _check_names(self) -> TimelineConfig:
        for key in ("target_events", "candidate_types", "event_types"):
            if not getattr(self, key):
                raise ValueError(f'{key} is empty; name some, or write ["*"] for all.')
        bounds = (self.earliest, self.latest)
        if None not in bounds and not bounds[0] < bounds[1]:  # type: ignore[operator]
            raise ValueError(f"earliest ({self.earliest}) must be before latest ({self.latest}).")
        return self

    @model_validator(mode="after")
    def _check_periods(self) -> TimelineConfig:
        pairs = (
            ("validation_start", self.validation_start, "validation_days", self.validation_days),
            ("test_start", self.test_start, "test_days", self.test_days),
        )
        for start_key, start, days_key, days in pairs:
            if self.split != "time-cut":
                if start is not None or days:
                    raise ValueError(
                        f"{start_key} and {days_key} belong to split `time-cut`; the split is "
                        f"`{self.split}`. Remove them or change the split."
                    )
            elif (start is None) == (not days):
                raise ValueError(
                    f"split `time-cut` needs one of {start_key} and {days_key}; received "
                    f"{start_key}={start} and {days_key}={days}."
                )
        starts = (self.validation_start, self.test_start)
        if None not in starts and not starts[0] < starts[1]:  # type: ignore[operator]
            raise ValueError(
                f"validation_start ({starts[0]}) must be before test_start ({starts[1]})."
            )
        return self

    @model_validator(mode="after")
    def _check_shares(self) -> TimelineConfig:
        if self.split == "leave-share-out":
            if self.validation_share + self.test_share >= 1.0:
                raise ValueError(
                    f"validation_share ({self.validation_share}) and test_share "
                    f"({self.test_share}) leave nothing to train on; their sum should be below 1."
                )
            return self
        for key in ("validation_share", "test_share"):
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(
                    f"{key} belongs to split `leave-share-out`; the split is `{self.split}`. "
                    "Remove it or change the split."
                )
        return self
