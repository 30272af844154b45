"""Configuration of the simulated shop: its size and the period of its log."""

from __future__ import annotations

import datetime
import math
from typing import Any
from typing import Literal

from pydantic import Field
from pydantic import model_validator

from transforms.base_config import Config

# Changes whenever the same configuration gives another log: every table that
# was made on the shop has to be made again then.
VERSION = "2"

MICROSECONDS = 1_000_000
DAY = 86_400 * MICROSECONDS
SESSION_GAP = 3_600 * MICROSECONDS  # between the starts of a user's sessions, before warping

_MAX_USERS_PER_SHARD = 4_096
_ENTITIES_PER_TASK = 512

# What a preset gives to the options that are not said.
PRESETS: dict[str, dict[str, Any]] = {
    "standard": {},
    # Two years. Power users have some thousands of sessions; a few in a hundred users pass
    # 10,000 behaviours, and most stay casual.
    "lifelong": {
        "days": 730,
        "sessions_scale": 80.0,
        "sessions_tail": 1.2,
        "sessions_max": 5_000,
        "truth_users": 200,
    },
}


class ShopConfig(Config):
    """Size, span and seed of a simulated shop.

    The log depends on nothing else: not on the machine, and not on the number
    of processes that write it.

    Attributes:
        preset: `standard`, or `lifelong` for histories of two years; what it sets
            is in `PRESETS`, and gives way to what is set beside it.
        users: Number of users.
        items: Number of items; by default 200 times the root of `users` in 60 days, and more
            in the root of the days.
        videos: Number of videos; a third of the items by default.
        days: Days that the log covers.
        start: First day, as YYYY-MM-DD (UTC).
        seed: Seed of everything.
        images: Whether the catalogue carries drawn images.
        image_size: Height and width of an image in pixels.
        sessions_scale: Scale of the power law that sessions follow over the whole
            span: 1 + scale (u^(-1 / tail) - 1) for an even u, so that some come once.
        sessions_tail: Exponent of that power law.
        sessions_max: Cap on the sessions of a user.
        truth_users: Users (the first ones) whose page states are kept for the oracle.
    """

    preset: Literal["standard", "lifelong"] = "standard"
    users: int = Field(1_000, ge=1, le=20_000_000)
    items: int | None = Field(None, ge=200, le=2_000_000)
    videos: int | None = Field(None, ge=40, le=1_000_000)
    days: int = Field(60, ge=7, le=730)
    start: datetime.date = datetime.date(2024, 1, 1)
    seed: int = Field(0, ge=0)
    images: bool = True
    image_size: int = Field(64, ge=16, le=256)
    sessions_scale: float = Field(8.0, gt=0.0)
    sessions_tail: float = Field(1.5, gt=1.0)
    sessions_max: int = Field(250, ge=1)
    truth_users: int = Field(10_000, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _fill_in_the_preset(cls, values: Any) -> Any:
        preset = values.get("preset") if isinstance(values, dict) else None
        return {**PRESETS[preset], **values} if preset in PRESETS else values

    @model_validator(mode="after")
    def _sessions_fit_into_the_span(self) -> ShopConfig:
        most = int(0.8 * self.days * DAY / SESSION_GAP)
        if self.sessions_max > most:
            raise ValueError(
                f"Expected sessions_max <= {most} (what {self.days} days hold); received "
                f"{self.sessions_max}. Lower `sessions_max` or raise `days`."
            )
        return self

    @property
    def n_items(self) -> int:
        """Number of items."""
        return self.items or max(200, round(200 * math.sqrt(self.users * self.days / 60)))

    @property
    def n_videos(self) -> int:
        """Number of videos."""
        return self.videos or max(40, self.n_items // 3)

    @property
    def start_time(self) -> int:
        """First microsecond of the log."""
        start = datetime.datetime.combine(self.start, datetime.time(), datetime.timezone.utc)
        return int(start.timestamp()) * MICROSECONDS

    @property
    def span(self) -> int:
        """Length of the log in microseconds."""
        return self.days * DAY

    def user_shards(self) -> list[tuple[int, int]]:
        """Returns first and last (exclusive) user of each shard, a function of `users` alone."""
        shards = max(min(2, self.users), -(-self.users // _MAX_USERS_PER_SHARD))
        bounds = [self.users * i // shards for i in range(shards + 1)]
        return list(zip(bounds[:-1], bounds[1:], strict=True))

    def entity_chunks(self) -> list[tuple[str, int, int]]:
        """Returns (entity type, first, last (exclusive)) of the pieces of the catalogue."""
        return [
            (kind, first, min(first + _ENTITIES_PER_TASK, count))
            for kind, count in (("item", self.n_items), ("video", self.n_videos))
            for first in range(0, count, _ENTITIES_PER_TASK)
        ]
