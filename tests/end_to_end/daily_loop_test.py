"""Five days of a tiny shop, by the commands of docs/daily_loop.md."""

from __future__ import annotations

import ast
import datetime
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from serving.publishing.labels import read_labels
from serving.publishing.versions import pushed_versions
from tests.end_to_end.conftest import SHRUNK
from tests.end_to_end.conftest import newest
from tfx_pipeline.cli import cli
from tfx_pipeline.commands.run import REFUSED
from tfx_pipeline.export.files import open_export

pytestmark = [pytest.mark.nightly, pytest.mark.e2e, pytest.mark.timeout(3_600)]

DAY = 86_400_000_000
FIRST = datetime.date(2024, 5, 1)
BEFORE = 8  # days that are there at first
USERS, GROUPS, ITEMS = 100, 8, 10  # a user likes one group of so many items
SETTINGS = (
    "target_events=[click]",
    "timeline.validation_days=1",
    "timeline.test_days=1",
    "retrieval.trainer.warm_start=true",
    "retrieval.trainer.deterministic=true",
    "retrieval.trainer.optimizer.learning_rate=0.01",
    "retrieval.sources.enabled=false",
    "retrieval.serving_validation.enabled=false",  # a process of ten seconds each time
    'retrieval.evaluation.change_thresholds={"hr@10": -0.2}',
)
# A model that starts afresh and learns nothing.
BROKEN = ("retrieval.trainer.warm_start=false", "retrieval.trainer.optimizer.learning_rate=1e-9")


class Shop:
    """A shop whose events arrive in a folder a day, and the commands of its night."""

    def __init__(self, root: Path) -> None:
        self.log, self.run, self.exported = root / "log", root / "run", root / "embeddings"
        self.random = np.random.default_rng(0)
        items = [
            {"entity_type": "item", "entity_id": str(i), "categories": [f"group{i // ITEMS}"]}
            for i in range(GROUPS * ITEMS)
        ]
        (self.log / "catalogue").mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(items), self.log / "catalogue/part-0.parquet")
        (self.log / "manifest.json").write_text('{"name": "tiny", "time": "real"}')
        self.arrived: list[pa.Table] = []
        for _ in range(BEFORE):
            self.arrives()

    def arrives(self) -> None:
        """Writes the next day's folder: six users in ten click on two items of their group."""
        number = len(self.arrived)
        day = FIRST + datetime.timedelta(days=number)
        user = np.repeat(np.flatnonzero(self.random.random(USERS) < 0.6), 2)
        item = user % GROUPS * ITEMS + self.random.integers(0, ITEMS, len(user))
        midnight = (day - datetime.date(1970, 1, 1)).days * DAY
        rows = {
            "user_id": [f"u{one}" for one in user],
            "entity_type": ["item"] * len(user),
            "entity_id": [str(one) for one in item],
            "event": ["click"] * len(user),
            "timestamp": midnight + np.sort(self.random.integers(0, DAY, len(user))),
            "ordinal": np.arange(len(user)),
        }
        folder = self.log / f"events/day={day}"
        folder.mkdir(parents=True)
        self.arrived.append(pa.table(rows))
        pq.write_table(self.arrived[-1], folder / "part-0.parquet")

    @property
    def visitors(self) -> int:
        """How many users did something on the newest day."""
        return len(self.arrived[-1]["user_id"].unique())

    @property
    def there(self) -> tuple[int, int]:
        """Rows of events in the log, and the number of its newest day."""
        newest_day = FIRST + datetime.timedelta(days=len(self.arrived) - 1)
        return sum(map(len, self.arrived)), (newest_day - datetime.date(1970, 1, 1)).days

    @property
    def newest_event(self) -> int:
        """The time of the last event."""
        return int(self.arrived[-1]["timestamp"][-1].as_py())

    def command(self, *words: str) -> tuple[int, str]:
        done = CliRunner().invoke(cli, words, catch_exceptions=False)
        return done.exit_code, done.output

    def night(self, *more: str) -> Night:
        """`vitrine run`."""
        log = self.run / "run.log"
        seen = log.stat().st_size if log.is_file() else 0
        given = (f"log_dir={self.log}", f"run_dir={self.run}", *SHRUNK, *SETTINGS, *more)
        sets = [word for key in given for word in ("--set", key)]
        code, output = self.command("run", "shop_demo", *sets)
        metrics = json.loads((self.run / "metrics.json").read_text(encoding="utf-8"))
        logged = log.read_bytes()[seen:].decode()
        labels = read_labels(self.run / "pushed/retrieval")
        report = newest(self.run, "timeline-example-gen/examples") / "generation_report.json"
        generated = json.loads(report.read_text(encoding="utf-8"))
        versions = dict(labels.versions) if labels else {}
        return Night(code, output, metrics, logged, generated, versions)

    def export(self, *options: str) -> dict[str, Any]:
        """`vitrine export`; returns what it counts of users."""
        words = ("export", str(self.run), "--out", str(self.exported), *options)
        code, output = self.command(*words)
        assert code == 0, output
        counted: dict[str, Any] = open_export(self.exported).manifest["tables"]["users"]
        return counted

    def pushed(self) -> list[int]:
        return pushed_versions(self.run / "pushed/retrieval")


@dataclass(frozen=True)
class Night:
    """A run: what it returned, said, measured and logged, its timelines, and labels after it."""

    code: int
    output: str
    metrics: dict[str, Any]
    log: str
    generated: dict[str, Any]
    labels: dict[str, int]

    @property
    def sees(self) -> tuple[int, int]:
        """Rows of events and the newest day's number, as the example generator reports them."""
        return self.generated["rows"]["events"], self.generated["span"]

    @property
    def started_from(self) -> dict[str, int] | None:
        """What the Trainer took of an earlier model; None if it did not start from any."""
        found = [line for line in self.log.splitlines() if "warm start: {" in line]
        return ast.literal_eval(found[0].rpartition("warm start: ")[2]) if found else None

    @property
    def baseline(self) -> int:
        """The version that was looked up as the one that is served; 0 for none."""
        found = [line for line in self.log.splitlines() if "The baseline is version" in line]
        return int(found[0].rstrip(".").rpartition(" ")[2]) if found else 0


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """The shop; runs of it choose deterministic kernels for the whole process."""
    yield Shop(tmp_path)
    from tensorflow.python.framework import config as framework_config

    framework_config.disable_op_determinism()


def test_five_days(shop: Shop) -> None:

    shop.arrives()
    night = shop.night()
    assert night.code == 0, night.output
    assert night.sees == shop.there
    assert night.generated["test_start"] == shop.newest_event + 1 - DAY
    assert (night.started_from, night.baseline) == (None, 0)
    assert night.labels == {"stable": 1, "canary": 1}
    everybody = shop.export()["embedded"]
    assert everybody == USERS

    # Nothing new: everything is answered from the cache.
    again = shop.night()
    assert again.code == 0 and shop.pushed() == [1] and "Training model." not in again.log
    assert again.metrics == night.metrics
    assert shop.export()["embedded"] == 0

    # A new day: the model starts from the one that is served, and becomes its canary.
    shop.arrives()
    night = shop.night()
    assert night.code == 0, night.output
    assert night.sees == shop.there
    assert night.baseline == 1
    assert night.started_from is not None and night.started_from["left"] == 0
    assert night.labels == {"stable": 1, "canary": 2}
    code, output = shop.command("push", "promote", "--run", str(shop.run))
    assert code == 0 and "after   stable 2 · canary 2" in output
    assert shop.export()["embedded"] == USERS  # by another model

    # A broken model is refused: what is served stays, and embeds whom the day brought.
    shop.arrives()
    night = shop.night(*BROKEN)
    assert night.code == REFUSED and "hr@10" in night.output, night.output
    assert night.sees == shop.there and night.baseline == 2
    assert shop.pushed() == [1, 2] and night.labels == {"stable": 2, "canary": 2}
    told = shop.export()
    assert (told["embedded"], told["kept"]) == (shop.visitors, USERS - shop.visitors)

    # Mended, the same night starts from what is served and not from what was refused.
    night = shop.night()
    assert night.code == 0, night.output
    assert night.sees == shop.there and night.baseline == 2
    assert night.started_from is not None and night.started_from["left"] == 0
    assert night.labels == {"stable": 2, "canary": 3}
    wait = ("--wait", "0")
    code, output = shop.command("push", "rollback", "--canary", "--run", str(shop.run), *wait)
    assert code == 0 and "after   stable 2 · canary 2" in output
    assert shop.pushed() == [1, 2]

    # A night was missed: the next one sees both days. What was rolled back is no start.
    shop.arrives()
    shop.arrives()
    night = shop.night()
    assert night.code == 0, night.output
    assert night.sees == shop.there and night.baseline == 2
    assert night.labels == {"stable": 2, "canary": 4}
