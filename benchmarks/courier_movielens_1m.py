"""Image features on MovieLens-1M: posters, and whether a rating is 4 or more.

    python -m benchmarks.courier_movielens_1m

The ranker is the DIN of `benchmarks.ranking_movielens_1m`, which reads ids, genres, years and
words of titles, and the log is labelled and divided as there, but that the test is the last tenth
of each user's ratings and validation the twentieth before it: 3 % have too few cold movies. Ids are
hidden in training more often (`id_dropout`), so that features can stand in for them.

A tenth of the movies, drawn by a hash of the id, is held out: their ratings before the test are
not in the log, so that training and validation never meet them, and `auc_cold` is of what the test
asks of them: 8,593 of 91,436 ratings, of 338 movies, and 3 of others that training lacks. Posters
of all movies are there, and views of images (`simclr`) learn from these as well.

Pages show a single movie, so COURIER tells a liked one from those of all pages of a batch
(`negatives: batch`), liked or not. What is before them are all rated movies, disliked ones too, as
in the ranker's history. Posters are read at 64 x 96. Sizes are made for two cores: an encoder
within six minutes, a ranker within five. See `benchmarks.courier_table` for the rest.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.cold_items import without_known
from benchmarks.courier_table import ENCODER
from benchmarks.courier_table import PAGE_MEAN
from benchmarks.courier_table import VIEWS
from benchmarks.courier_table import CourierBenchmark
from benchmarks.courier_table import main
from benchmarks.courier_table import of_first_users
from benchmarks.environment import prepare_log
from benchmarks.ranking_movielens_1m import BENCHMARK as RANKING
from tfx_pipeline.datasets.event_log import CATALOGUE_TABLE
from tfx_pipeline.datasets.event_log import EVENTS_TABLE
from tfx_pipeline.datasets.event_log import USERS_TABLE
from tfx_pipeline.datasets.event_log import EventLog
from tfx_pipeline.datasets.event_log import write_event_log

SHARES = {"validation_share": 0.05, "test_share": 0.1}
POSTER = {"height": 96, "width": 64}
_DIN: dict[str, Any] = RANKING.trainer_config("din").model_dump(mode="json", exclude={"seed"})


def prepare(log_dir: Path, users: int) -> None:
    """Prepares MovieLens-1M with posters, and without what is known of cold movies.

    Args:
        log_dir: The event log to write.
        users: The first users that it has; 0 is all.
    """
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "log")
        prepare_log(whole, RANKING.source, protocol="papers", posters=True)
        log = EventLog(whole)
        events = of_first_users(log.read(EVENTS_TABLE), users)
        kept = without_known(events, SHARES["test_share"])
        write_event_log(
            log_dir, log.manifest, kept, log.read(CATALOGUE_TABLE), log.read(USERS_TABLE)
        )


BENCHMARK = CourierBenchmark(
    name="courier_movielens_1m",
    module="courier_movielens_1m",
    prepare=prepare,
    log={"candidate_types": ["movie"], "timeline": {**RANKING.timeline, **SHARES}},
    features=("categories", "attributes", "title"),
    ranker=_DIN
    | {
        "model": _DIN["model"] | {"candidate": {"id_dropout": 0.3}},
        "candidate_types": ["movie"],
    },
    trained={"channels": [32, 64, 96]},
    courier=PAGE_MEAN | {"negatives": "batch"},
    encoder=ENCODER | {"model": ENCODER["model"] | POSTER, "input": {"batch_size": 256}},
    views=VIEWS | {"input": {"batch_size": 128}, "epochs": 12},
)

if __name__ == "__main__":
    main(BENCHMARK)
