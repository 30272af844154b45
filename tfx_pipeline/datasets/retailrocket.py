"""Sessions of a web shop: RetailRocket (2015) as the session papers cut it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tfx_pipeline.datasets.download import SourceFile
from tfx_pipeline.datasets.download import obtain
from tfx_pipeline.datasets.event_log_writer import write_event_log
from tfx_pipeline.datasets.manifest import Manifest
from tfx_pipeline.datasets.sequences import Sequences
from tfx_pipeline.datasets.sequences import constant
from tfx_pipeline.datasets.sequences import read_lines
from tfx_pipeline.datasets.sequences import sequence_events
from transforms.arrow import pa
from transforms.arrow import pc

HOMEPAGE = "https://www.kaggle.com/datasets/retailrocket/ecommerce-dataset"
TRAIN = SourceFile("retailrocket/train_sessions.txt.gz", HOMEPAGE)
TEST = SourceFile("retailrocket/test_sessions.txt.gz", HOMEPAGE)
ITEM = "item"
VIEW = "view"


def prepare_retailrocket(
    out: str | Path, source: str | Path | None = None, overwrite: bool = False
) -> Manifest:
    """Turns RetailRocket's sessions into an event log; each session is a user.

    The file of test sessions lists a session together with its prefixes, one a
    row, as the session papers test them. Only the whole session becomes events,
    or its items would count several times; the manifest's notes count the rows
    that are left out so. Users of the test file have the attribute
    `part=test`.

    Args:
        out: Directory of the event log to make.
        source: Directory with `train_sessions.txt.gz` and
            `test_sessions.txt.gz`. By default it is looked up.
        overwrite: Whether an event log at `out` may be replaced.

    Returns:
        The manifest as written.

    Raises:
        FileExistsError: If `out` may not be replaced.
        FileNotFoundError: If a file is not at hand.
        ValueError: If a file is not what it should be.
    """
    train = read_lines(obtain(TRAIN, source))
    test = read_lines(obtain(TEST, source))
    whole = whole_sessions(test)
    lines = pa.concat_arrays([train, test.filter(pa.array(whole))])
    names = [f"train-{i}" for i in range(len(train))]
    names += [f"test-{i}" for i in np.flatnonzero(whole)]
    lengths = pc.list_value_length(lines).to_numpy().astype(np.int64)
    sequences = Sequences(pa.array(names), lengths, lines.flatten())
    items = pc.unique(sequences.items)
    catalogue = pa.table({"entity_type": constant(ITEM, len(items)), "entity_id": items})
    users = pa.table(
        {
            "user_id": sequences.users,
            "attributes": [[f"part={name.partition('-')[0]}"] for name in names],
        }
    )
    manifest = Manifest(
        name="retailrocket",
        source=HOMEPAGE,
        time="ordinal",
        tie_order="the sessions' files",
        notes={"rows_left_out": {"prefix of the session before it": int((~whole).sum())}},
    )
    events = sequence_events(sequences, ITEM, VIEW)
    return write_event_log(out, manifest, events, catalogue, users, overwrite)


def whole_sessions(sessions: pa.Array) -> np.ndarray:
    """Returns which rows are not a prefix of the row before them, [N] bool.

    Prefixes of a session follow it from the longest to the shortest, so each
    is a prefix of the row before it.

    Args:
        sessions: [N] list of string.
    """
    text = pc.binary_join(sessions, " ")
    text = pc.binary_join_element_wise(text, "", " ")  # a prefix ends where an item does
    before, row = text.slice(0, len(text) - 1).to_pylist(), text.slice(1).to_pylist()
    prefix = [a.startswith(b) and a != b for a, b in zip(before, row, strict=True)]
    return ~np.array([False, *prefix])
