"""Statistics of the simulated shop, beside public logs and beside its own truth.

    python -m benchmarks.shop_statistics
    python -m benchmarks.shop_statistics --only shop

Public logs are read where `$VITRINE_DATA_HOME` has them and left out elsewhere. The shops are
made as `vitrine data prepare shop` makes them, each in a process of its own.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.log_statistics import figures
from benchmarks.log_statistics import read_log
from benchmarks.log_statistics import read_trivago
from benchmarks.results import Results
from benchmarks.results_table import render
from tfx_pipeline.datasets.download import DATA_HOME
from tfx_pipeline.datasets.event_log import EventLog
from tfx_pipeline.datasets.registry import prepare
from tfx_pipeline.datasets.shop import VERSION
from tfx_pipeline.datasets.shop import ShopConfig
from tfx_pipeline.datasets.shop.config import DAY
from tfx_pipeline.datasets.shop.lifts import item_to_video
from tfx_pipeline.datasets.shop.lifts import video_to_item
from tfx_pipeline.datasets.shop.oracle import Oracle
from tfx_pipeline.datasets.shop.truth import Truth
from transforms.arrow import pc

COMMAND = "python -m benchmarks.shop_statistics"
SHOPS: dict[str, dict[str, Any]] = {
    "shop": {"users": 10_000},
    "shop, small": {"users": 1_000},
    "shop, lifelong": {"preset": "lifelong", "users": 1_000},
}
PUBLIC = ("taobao", "retailrocket", "amazon-beauty")
TRIVAGO = Path(os.environ.get(DATA_HOME, ""), "trivago", "validation_100k.snappy.parquet")
# The tables that are printed: rows that have the first column, and the columns.
TABLES = (
    "users,behaviours,a_user,median,most,beyond_10000,sessions_a_user,once,a_session",
    "things,gini,top_1_percent,repeats,carts,favourites,buys",
    "categories,categories_a_user,effective,same_next,same_other",
    "shown,clicks,position_1,position_2,position_5,position_10",
    "auc_items,auc_videos,images_items,images_videos,titles,item_to_video,video_to_item,"
    "late_buys,new_items,old_videos",
    "events,cpu_seconds,us_an_event,peak_mib,disk_mib",
)
_GENERATE = """
import json, re, resource, sys
from pathlib import Path
from tfx_pipeline.datasets.shop import ShopConfig, prepare_shop
prepare_shop(Path(sys.argv[1]), ShopConfig.model_validate_json(sys.argv[2]))
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
# Linux counts the peak of the process that started this one, too, in its own ru_maxrss.
own = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
print(json.dumps({
    "cpu_seconds": sum(one.ru_utime + one.ru_stime for one in used),
    "peak_mib": max(own, used[1].ru_maxrss) / 1024,
}))
"""


def measure_shop(config: ShopConfig) -> dict[str, float]:
    """Makes a shop and returns its figures: of the log, of its truth, and what it cost."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        command = [sys.executable, "-W", "ignore", "-c", _GENERATE, str(log), config.to_json()]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        cost = json.loads(done.stdout.splitlines()[-1])
        cost["events"] = EventLog(log).manifest.events
        cost["us_an_event"] = 1e6 * cost["cpu_seconds"] / cost["events"]
        size = sum(file.stat().st_size for file in log.rglob("*") if "truth" not in file.parts)
        cost["disk_mib"] = size / 2**20
        return figures(read_log(log)) | truth_figures(log) | cost


def truth_figures(log: Path) -> dict[str, float]:
    """Returns what the truth beside a shop's log says of it."""
    oracle = Oracle(log)
    truth, of = oracle.truth, {kind: oracle.clicks(kind) for kind in ("item", "video")}
    return {
        "auc_items": of["item"]["auc"],
        "auc_videos": of["video"]["auc"],
        "images_items": of["item"]["share"]["all"]["style"],
        "images_videos": of["video"]["share"]["all"]["style"],
        "titles": of["item"]["share"]["all"]["material"],
        "item_to_video": item_to_video(truth).ratio,
        "video_to_item": video_to_item(truth).ratio,
        "late_buys": late_buys(truth),
        "new_items": new_items(truth),
        "old_videos": float((truth.world.video_launch <= 0).mean()),
    }


def late_buys(truth: Truth) -> float:
    """Returns the share of purchases that come after the user's next page was shown."""
    table = truth.events.filter(pc.equal(truth.events.column("event"), "buy"))
    page = table.column("page_row").to_numpy()
    time = table.column("timestamp").to_numpy() - truth.config.start_time
    user, shown = (np.append(truth.pages[name], -1) for name in ("user", "time"))
    return float(((user[page + 1] == user[page]) & (shown[page + 1] < time)).mean())


def new_items(truth: Truth) -> float:
    """Returns the share of clicks that go to items launched in the week before."""
    seen = truth.impressions("item")
    row, column = np.nonzero(seen.chosen)
    age = truth.pages["time"][seen.page[row]] - truth.world.item_launch[seen.things[row, column]]
    return float((age < 7 * DAY).mean())


def measure_public(name: str) -> dict[str, float]:
    """Returns the figures of a public log, by its name."""
    if name == "trivago":
        return figures(read_trivago(TRIVAGO))
    with tempfile.TemporaryDirectory() as folder:
        prepare(name, Path(folder, "log"))
        return figures(read_log(Path(folder, "log")))


def main() -> None:
    """Measures what is missing and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", help="names of logs, all by default")
    parser.add_argument("--fresh", action="store_true", help="forget the runs that are there")
    args = parser.parse_args()
    results = Results("shop_statistics", COMMAND, fresh=args.fresh)
    for name, options in SHOPS.items():
        config = ShopConfig.model_validate(options)
        settings = {"version": VERSION, "config": config.model_dump(mode="json")}
        if args.only is None or name in args.only:
            print(f"{name} ...", flush=True)
            results.measure({"log": name}, 0, functools.partial(measure_shop, config), settings)
    for name in (*PUBLIC, *(("trivago",) if TRIVAGO.is_file() else ())):
        if args.only is None or name in args.only:
            print(f"{name} ...", flush=True)
            try:
                results.measure({"log": name}, 0, functools.partial(measure_public, name))
            except FileNotFoundError as error:
                print(f"left out: {error}")
    for columns in TABLES:
        names = columns.split(",")
        print(render(results.path, ["log", *names], digits=3, only=names[0]))


if __name__ == "__main__":
    main()
