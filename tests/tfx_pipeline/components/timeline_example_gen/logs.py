"""Hand-made event logs, and what the generator makes of them, as Python values."""

from __future__ import annotations

import gzip
import io
import json
import struct
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from tfx_bsl.coders import example_coder

from tests.helpers.direct import ONE_WORKER
from tests.helpers.direct import direct
from tfx_pipeline.components.timeline_example_gen.config import TimelineConfig
from tfx_pipeline.components.timeline_example_gen.job import generate

DAY = 86_400_000_000
HOUR = DAY // 24
START = 1_700_000_000_000_000  # of random logs

Row = dict[str, Any]
Example = dict[str, list[Any]]

# Of random logs, which have two more entities of each type.
CATALOGUE = [
    {"entity_type": kind, "entity_id": str(i), "available_from": at}
    for kind in ("item", "video")
    for i, at in enumerate(
        [START - 40 * DAY, START - 3 * DAY, START + DAY, None, START, START - DAY]
    )
]


def event(user: str, entity: str, time: Any, kind: str = "watch", **more: Any) -> Row:
    """An event on `entity` (`type:id`, or the id of an item)."""
    entity_type, _, entity_id = entity.rpartition(":")
    return {
        "user_id": user,
        "entity_type": entity_type or "item",
        "entity_id": entity_id,
        "event": kind,
        "timestamp": time,
        "ordinal": 0,
        **more,
    }


def random_log(seed: int, users: int = 9, rows: int = 500) -> list[Row]:
    """Rows with ties, repeats, page ids that return and are shared, and unknown entities."""
    random = np.random.default_rng(seed)
    log: list[Row] = []
    shown: list[Row] = []
    for _ in range(rows):
        kind = str(random.choice(["impression", "click", "cart", "buy"], p=[0.5, 0.3, 0.1, 0.1]))
        page = f"p{random.integers(10)}"
        row = event(
            f"u{random.geometric(0.3) % users}",
            f"{random.choice(['item', 'video'])}:{random.integers(8)}",
            START + int(random.integers(0, 40)) * 3 * HOUR,
            kind,
            ordinal=int(random.integers(0, 3)),
            page_id=page if kind == "impression" or random.random() < 0.7 else None,
            position=int(random.integers(0, 6)) if random.random() < 0.7 else None,
            query=str(random.choice(["red shoes", "hat"])) if random.random() < 0.5 else None,
            value=float(random.integers(0, 6)) if random.random() < 0.8 else None,
        )
        if kind == "impression":
            shown.append(row)
        elif shown and random.random() < 0.6:  # of something that was shown, mostly afterwards
            on = shown[random.integers(len(shown))]
            row |= {name: on[name] for name in ("user_id", "page_id", "entity_type", "entity_id")}
            row["timestamp"] = on["timestamp"] + int(random.integers(-1, 5)) * HOUR
        log += [row] * (2 if random.random() < 0.02 else 1)
    return log


def write_log(
    path: Path,
    events: Sequence[Row] | pa.Table,
    catalogue: Sequence[Row] | pa.Table | None = None,
    users: Sequence[Row] | None = None,
    time: str = "real",
    row_group_size: int = 1_000,
    files: int = 1,
) -> Path:
    """Writes tables as they are, which the project's own writer would refuse.

    Without a catalogue, one is made of the entities of the events.
    """
    table = events if isinstance(events, pa.Table) else as_table(events)
    if catalogue is None:
        names = {(e["entity_type"], e["entity_id"]) for e in table.to_pylist()}
        catalogue = [
            {"entity_type": t, "entity_id": i} for t, i in sorted(names, key=str) if t and i
        ]
    tables = {"events": table, "catalogue": catalogue, "users": users or []}
    for name, rows in tables.items():
        (path / name).mkdir(parents=True)
        if not isinstance(rows, pa.Table):
            if not rows:
                continue
            rows = as_table(rows)
        parts = files if name == "events" else 1
        size = -(-rows.num_rows // parts)
        for part in range(parts):
            pq.write_table(
                rows.slice(part * size, size),
                path / name / f"part-{part:05d}.parquet",
                row_group_size=row_group_size,
            )
    (path / "manifest.json").write_text(json.dumps({"name": "hand-made", "time": time}))
    return path


def as_table(rows: Sequence[Row]) -> pa.Table:
    """Rows with different keys as a table."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({name: [row.get(name) for row in rows] for name in names})


def picture(width: int = 8, height: int = 8, form: str = "PNG") -> bytes:
    """An image file."""
    out = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(out, form)
    return out.getvalue()


def not_utf8(values: Sequence[bytes | None]) -> pa.Array:
    """A column of strings that holds bytes which are not UTF-8, as broken writers make them."""
    raw = pa.array(values, pa.binary())
    return pa.Array.from_buffers(pa.string(), len(raw), raw.buffers())


def run(
    log: Path,
    uri: Path,
    arguments: Iterable[str] = ONE_WORKER,
    made: Path | None = None,
    **config: Any,
) -> dict[str, Any]:
    """Generates examples below `uri` and returns the report."""
    timeline = TimelineConfig(**config)
    return generate(str(log), str(uri), timeline, lambda: direct(*arguments), made)


def timelines(
    tmp_path: Path, events: Sequence[Row], *, log: Mapping[str, Any] | None = None, **config: Any
) -> tuple[dict[str, list[Example]], dict[str, Any]]:
    """Writes a log and returns its splits and the report."""
    directory = write_log(tmp_path / "log", events, **(log or {}))
    report = run(directory, tmp_path / "examples", **config)
    return read_splits(tmp_path / "examples"), report


def read_splits(uri: Path) -> dict[str, list[Example]]:
    """Reads all examples of all splits, each split sorted by user and chunk or by entity."""
    splits = {}
    for split in (path.name.removeprefix("Split-") for path in sorted(uri.glob("Split-*"))):
        examples = []
        for path in sorted(uri.glob(f"Split-{split}/data_tfrecord-*.gz")):
            examples += decode(read_records(path))
        splits[split] = sorted(
            examples, key=lambda e: (e.get("user_id") or e["catalogue/entity"], e.get("chunk"))
        )
    return splits


def read_records(path: Path) -> list[bytes]:
    """Reads a gzipped TFRecord file; checksums are another test's business."""
    data, records, place = gzip.decompress(path.read_bytes()), [], 0
    while place < len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        records.append(data[place + 12 : place + 12 + length])
        place += length + 16
    return records


def decode(records: Sequence[bytes]) -> list[Example]:
    """Parses examples with tfx_bsl; texts become strings, a missing feature has no key."""
    if not records:
        return []
    batch = example_coder.ExamplesToRecordBatchDecoder().DecodeBatch(list(records))
    return [
        {
            name: [v.decode() if isinstance(v, bytes) else v for v in values]
            for name, values in row.items()
            if values is not None
        }
        for row in pa.Table.from_batches([batch]).to_pylist()
    ]


def of_user(examples: Sequence[Example], user: str) -> list[Example]:
    """The examples of one user, in the order of their chunks."""
    return [example for example in examples if example["user_id"] == [user]]


def dead_letters(uri: Path) -> list[Row]:
    """All dead letters of a run."""
    rows: list[Row] = []
    for path in sorted((uri / "dead_letter").glob("*.parquet")):
        rows += pq.read_table(path).to_pylist()
    return rows
