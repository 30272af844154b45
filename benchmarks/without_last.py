"""Makes an event log without everybody's last event, to choose settings on.

    python -m benchmarks.without_last data/amazon-beauty data/amazon-beauty-without-last
    python -m benchmarks.amazon_beauty --log-dir data/amazon-beauty-without-last \
        --results-dir runs/choice/results --runs-dir runs/choice/runs --only sequence --seeds 1

Leave-last-out validates on each user's last item but one, and the event before that was a
training target of the same user. The event before a test item was not: it is the validation
item. So validation flatters models that remember single users. In the log that this makes, what
leave-last-out calls the test are the old validation items, and the event before them was no
target either; nothing of the old test items is in it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from tfx_pipeline.datasets.event_log import CATALOGUE_TABLE
from tfx_pipeline.datasets.event_log import EVENTS_TABLE
from tfx_pipeline.datasets.event_log import USERS_TABLE
from tfx_pipeline.datasets.event_log import EventLog
from tfx_pipeline.datasets.event_log import write_event_log
from transforms.arrow import pa


def write_without_last(log_dir: str | Path, out: str | Path) -> None:
    """Writes a log's copy that lacks the newest event of every user.

    Args:
        log_dir: Directory of an event log that fits in memory.
        out: Directory to be made.

    Raises:
        FileExistsError: `out` is there already.
    """
    log = EventLog(log_dir)
    events = log.read(EVENTS_TABLE)
    user = np.asarray(events["user_id"].combine_chunks().dictionary_encode().indices)
    order = np.lexsort((np.asarray(events["ordinal"]), np.asarray(events["timestamp"]), user))
    is_last = np.append(np.diff(user[order]) > 0, True)
    kept = np.ones(len(user), bool)
    kept[order[is_last]] = False
    manifest = log.manifest.model_copy(update={"name": f"{log.manifest.name}-without-last"})
    others = log.read(CATALOGUE_TABLE), log.read(USERS_TABLE)
    write_event_log(out, manifest, events.filter(pa.array(kept)), *others)


def main() -> None:
    """Reads the command line and writes the log."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("log_dir", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    write_without_last(options.log_dir, options.out)


if __name__ == "__main__":
    main()
