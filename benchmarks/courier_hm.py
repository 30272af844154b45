"""Image features on a day of H&M's purchases: photos, and which article is bought next.

    python -m benchmarks.courier_hm

There are no impressions: a page is a purchase and four articles of the catalogue drawn at random
(`label.source: events`), so that much of what is told is what sells, and the table says less than
one of pages that were shown. Histories are short: two thirds of 2,954 customers bought at most
three articles that day; their order is that of the file. Of several pieces of an article the first
counts. The last 30 % of each customer's purchases are the test, the 15 % before them
validation; who has nothing before it is left out there.

The ranker is a DIN of ids, categories, attributes and words of names. Articles of one product, as
its colours, share a photo of 64 x 96. `auc_cold` is of articles that nobody bought in training.
The log is small: encoder and ranker each take minutes on two cores, and figures are uncertain by
about .005. See `benchmarks.courier_table` for the rest.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from benchmarks import sources
from benchmarks.courier_table import ENCODER
from benchmarks.courier_table import VIEWS
from benchmarks.courier_table import CourierBenchmark
from benchmarks.courier_table import main
from benchmarks.courier_table import of_first_users
from tfx_pipeline.datasets.download import SourceFile
from tfx_pipeline.datasets.download import obtain
from tfx_pipeline.datasets.event_log import CATALOGUE_TABLE
from tfx_pipeline.datasets.event_log import EVENTS_TABLE
from tfx_pipeline.datasets.event_log import EventLog
from tfx_pipeline.datasets.event_log import write_event_log
from tfx_pipeline.datasets.images import with_images
from transforms.arrow import pa
from transforms.arrow import pc

PHOTOS = SourceFile("hm/hm_images_64x96.tar", homepage="")
LABEL = {"source": "events"}
_LOG = next(log for log in sources.LOGS if log.name == "hm")


def prepare(log_dir: Path, users: int) -> None:
    """Imports the purchases, as `benchmarks.sources` does, and adds photos.

    Args:
        log_dir: The event log to write.
        users: The first customers that it has; 0 is all.
    """
    with tempfile.TemporaryDirectory() as folder:
        sources.prepare(_LOG, Path(folder, "log"))
        log = EventLog(Path(folder, "log"))
        articles = log.read(CATALOGUE_TABLE).drop(["image"])
        photos = [photo_of(article) for article in articles["entity_id"].to_pylist()]
        events = of_first_users(first_purchases(log.read(EVENTS_TABLE)), users)
        write_event_log(
            log_dir, log.manifest, events, with_images(articles, obtain(PHOTOS), photos)
        )


def photo_of(article: str) -> str:
    """Returns the name of an article's photo, which is that of its product."""
    return f"{int(article) // 1000:07d}"


def first_purchases(events: pa.Table) -> pa.Table:
    """Keeps the first row of each customer and article."""
    pairs = pc.binary_join_element_wise(events["user_id"], events["entity_id"], " ")
    codes = np.asarray(pairs.combine_chunks().dictionary_encode().indices)
    return events.take(pa.array(np.sort(np.unique(codes, return_index=True)[1])))


BENCHMARK = CourierBenchmark(
    name="courier_hm",
    module="courier_hm",
    prepare=prepare,
    log={
        "candidate_types": ["item"],
        "timeline": {
            "split": "leave-share-out",
            "validation_share": 0.15,
            "test_share": 0.3,
            "label": LABEL,
        },
    },
    features=("categories", "attributes", "title"),
    ranker={
        "model": {
            "family": "din",
            "window": 20,
            "use_query": False,
            "use_repeats": False,
            "position_bias": False,
            "candidate": {"id_dropout": 0.6},
        },
        "label": LABEL,
        "candidate_types": ["item"],
        "input": {"batch_size": 128},
        "optimizer": {"learning_rate": 0.003},
        "epochs": 10,
        "validation": {"monitor": "auc", "patience": 3},
        "tensorboard": False,
        "checkpoints": False,
    },
    trained={"channels": [32, 64, 96]},
    encoder=ENCODER | {"model": ENCODER["model"] | {"height": 96, "width": 64}, "epochs": 10},
    views=VIEWS | {"input": {"batch_size": 128}, "epochs": 8},
)

if __name__ == "__main__":
    main(BENCHMARK)
