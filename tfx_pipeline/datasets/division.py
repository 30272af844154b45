"""Divides an event log into what is known and what comes later, two event logs of their own.

Embeddings are trained on what is known and exported from it; what they are good for is
measured on what comes later (`tfx_pipeline.evaluation.embeddings`). What is to be predicted
about users and items is hidden from the first of the two logs, too.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfx_pipeline.datasets.event_log import CATALOGUE_TABLE
from tfx_pipeline.datasets.event_log import EVENTS_TABLE
from tfx_pipeline.datasets.event_log import IMPRESSION
from tfx_pipeline.datasets.event_log import USERS_TABLE
from tfx_pipeline.datasets.event_log import EventLog
from tfx_pipeline.datasets.event_log import Manifest
from tfx_pipeline.datasets.event_log import write_event_log
from tfx_pipeline.datasets.schemas import FEATURES_TABLE
from transforms.arrow import pa
from transforms.arrow import pc

KNOWN, LATER = "known", "later"
USER_ATTRIBUTES, CATEGORIES = "user-attributes", "categories"
HIDEABLE = (USER_ATTRIBUTES, CATEGORIES)
NOTE = "division"  # in the manifests' notes
_HEAVY = ("image", "image_vector", "text_vector")  # of no use to a log that is only judged by


def divide_log(
    log_dir: str | Path,
    out: str | Path,
    share: float | None = None,
    moment: int | None = None,
    hide: Sequence[str] = HIDEABLE,
) -> tuple[Manifest, Manifest]:
    """Writes two event logs, `<out>/known` and `<out>/later`, that divide the events of one.

    With a share, the last of each user's events are later, `share` of them and at least one,
    and all impressions since the first of these; a user with one event has no later part. With
    a moment, every event since then is later. A result page is not divided: one of which
    something is later is later as a whole.

    Args:
        log_dir: Directory of an event log that fits in memory.
        out: Directory to be made.
        share: Between 0 and 1, of the events of each user.
        moment: Microseconds; either this or a share.
        hide: What the known log lacks: `user-attributes`, `categories`, both or none.

    Returns:
        The manifests of the two logs.

    Raises:
        FileExistsError: There is something at `out`.
        ValueError: Neither or both of share and moment, a share out of its bounds, a moment for
            a log whose times are no times, an unknown thing to hide, or nothing is left on
            one side.
    """
    log, out = EventLog(log_dir), Path(out)
    _check(log, share, moment, hide)
    if out.exists():
        raise FileExistsError(f"`{out}` is there already. Name another directory, or delete it.")
    events = log.read(EVENTS_TABLE)
    later = later_rows(events, share) if share is not None else _since(events, moment)
    if later.all() or not later.any():
        side = "known" if later.all() else "later"
        raise ValueError(f"No event of `{log_dir}` would be {side}. Divide it at another place.")
    note = {"share": share, "moment": moment, "hidden": sorted(hide)}
    catalogue, users = log.read(CATALOGUE_TABLE), log.read(USERS_TABLE)
    sides = (
        (
            KNOWN,
            ~later,
            _without(catalogue, ["categories"] if CATEGORIES in hide else []),
            _without(users, ["attributes"] if USER_ATTRIBUTES in hide else []),
        ),
        (LATER, later, _without(catalogue, _HEAVY), users),
    )
    manifests = []
    for name, chosen, *others in sides:
        update = {
            "name": f"{log.manifest.name}-{name}",
            "notes": {**log.manifest.notes, NOTE: note},
        }
        manifest = log.manifest.model_copy(update=update)
        manifests.append(
            write_event_log(out / name, manifest, events.filter(pa.array(chosen)), *others)
        )
    features = log.path / FEATURES_TABLE
    if features.is_dir():
        shutil.copytree(features, out / KNOWN / FEATURES_TABLE)
    return manifests[0], manifests[1]


def later_rows(events: pa.Table, share: float) -> np.ndarray:
    """Marks the last of each user's events.

    Args:
        events: Rows of an events table.
        share: Between 0 and 1.

    Returns:
        [n] bool, of each row whether it is later; see `divide_log`.
    """
    user = _codes(events["user_id"])
    time, ordinal = (np.asarray(events[name]) for name in ("timestamp", "ordinal"))
    shown = np.asarray(pc.equal(events["event"], IMPRESSION))
    order = np.lexsort((ordinal, time, user))
    of_user, acted = user[order], ~shown[order]
    done = np.cumsum(acted)  # events up to each row, of all users
    starts = np.searchsorted(of_user, np.arange(of_user.max(initial=-1) + 2))
    before = np.concatenate([[0], done])[starts]
    count = np.diff(before)  # events of each user
    held = np.where(count > 1, np.clip(np.rint(share * count), 1, count - 1), 0).astype(np.int64)
    # Number, from 1, of a user's event that a row is or comes after; later from the first held.
    number = done - before[of_user]
    is_later = (number > (count - held)[of_user]) & (held > 0)[of_user]
    marked = np.empty(len(user), bool)
    marked[order] = is_later
    return _whole_pages(events, user, marked)


def _since(events: pa.Table, moment: int | None) -> np.ndarray:
    later = np.asarray(events["timestamp"]) >= moment
    return _whole_pages(events, _codes(events["user_id"]), later)


def _whole_pages(events: pa.Table, user: np.ndarray, later: np.ndarray) -> np.ndarray:
    """Marks all rows of a user's page of which one is marked."""
    on_page = np.asarray(events["page_id"].is_valid())
    if not on_page.any():
        return later
    page = _codes(events["page_id"].fill_null(""))
    key = user.astype(np.int64) * (int(page.max()) + 1) + page
    _, group = np.unique(key, return_inverse=True)
    any_later = np.zeros(int(group.max()) + 1, bool)
    any_later[group[later & on_page]] = True
    return later | (any_later[group] & on_page)


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    """Numbers the distinct values of a column: [n] int32."""
    return np.asarray(column.combine_chunks().dictionary_encode().indices)


def _without(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Returns a table with nothing in some columns."""
    for name in columns:
        place = table.schema.get_field_index(name)
        field = table.schema.field(place)
        table = table.set_column(place, field, pa.nulls(len(table), field.type))
    return table


def _check(log: EventLog, share: float | None, moment: int | None, hide: Sequence[str]) -> None:
    if (share is None) == (moment is None):
        raise ValueError("A log is divided by a share or at a moment: give one of the two.")
    if share is not None and not 0 < share < 1:
        raise ValueError(f"The share must be above 0 and below 1; received {share}.")
    if moment is not None and log.manifest.time != "real":
        raise ValueError(
            f"The times of `{log.path}` only order the events of a user, so it has no moments. "
            "Divide it by a share of each user's events."
        )
    unknown = sorted(set(hide) - set(HIDEABLE))
    if unknown:
        raise ValueError(f"What can be hidden is {list(HIDEABLE)}; received {unknown}.")
