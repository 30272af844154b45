"""An event log whose users click one of four colours, and a run that makes image features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.helpers.image_logs import png
from tests.tfx_pipeline.components.timeline_example_gen.logs import event
from tests.tfx_pipeline.components.timeline_example_gen.logs import write_log

ITEMS, USERS, DAYS = 24, 40, 10
DAY, START = 86_400_000_000, 1_700_000_000_000_000
COLOURS = ([220, 40, 40], [40, 200, 40], [50, 60, 220], [128, 128, 128])
TRAINER: dict[str, Any] = {
    "model": {"height": 8, "width": 8, "dim": 4, "backbone": {"channels": [8]}, "heads": 2},
    "input": {"batch_size": 64},
    "validation": {"min_effective_rank": 1.0, "max_mean_cosine": 1.0},  # of what learns for seconds
    "epochs": 1,
    "tensorboard": False,
    "checkpoints": False,
}
RANKER: dict[str, Any] = {
    "model": {
        "family": "pooled_mlp",
        "similarity": ["vector/look"],
        "candidate": {"features": ["vector/look", "token/look_cluster"]},
    },
    "epochs": 1,
    "input": {"batch_size": 64},
    "tensorboard": False,
    "checkpoints": False,
}


def image(item: int) -> bytes:
    """Returns a square of the colour of the item's group, `item % 4`, in its own shade."""
    return png((np.array(COLOURS[item % 4]) * (1 - item / 100)).astype(np.uint8))


def write_clicked_images(log: Path, items: int = ITEMS) -> Path:
    """Writes a log of a page a user and day: three items, of which that of the colour is clicked.

    Args:
        log: Its directory.
        items: In the catalogue; those above 24 have no events.
    """
    events = []
    for user in range(USERS):
        for day in range(DAYS):
            time, page = START + day * DAY + user * 1_000_000, f"{user}-{day}"
            liked = (user + 4 * day) % ITEMS
            shown = [liked, (liked + 1) % ITEMS, (user + 2 + day) % ITEMS]
            for position, item in enumerate(shown):
                row = {"ordinal": position, "page_id": page, "position": position}
                events.append(event(f"u{user}", str(item), time, "impression", **row))
            row = {"ordinal": 9, "page_id": page}
            events.append(event(f"u{user}", str(liked), time + 1, "click", **row))
    catalogue = [
        {"entity_type": "item", "entity_id": str(item), "image": image(item)}
        for item in range(items)
    ]
    return write_log(log, events, catalogue)


def clicked_images_config(log: Path, run_dir: Path, **representation: Any) -> dict[str, Any]:
    """Returns a configuration of a run that makes the fields `look`, and ranks by them."""
    section = {"field": "look", "clusters": 4, "trainer": TRAINER} | representation
    return {
        "name": "look",
        "log_dir": str(log),
        "run_dir": str(run_dir),
        "target_events": ["click"],
        "candidate_types": ["item"],
        "timeline": {"split": "time-cut", "validation_days": 2, "test_days": 2},
        "representation": section,
        "retrieval": None,
        "ranking": {
            "label": {"source": "impressions"},
            "trainer": RANKER,
            "evaluation": {"min_users": 1, "thresholds": {}, "change_thresholds": {}},
            "serving_validation": {"enabled": False},
        },
    }
