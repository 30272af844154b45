"""MovieLens-1M as clicks: SEMINAR and other models of long histories.

    python -m benchmarks.seminar_movielens_1m

Ratings of 4 and 5 are positive, the others negative. The last tenth of each user's ratings is the
test and the twentieth before it validation. Times of half of the users are an order only, so no
time is read. Channels are id and genres, the words of the title, and the poster as a thumbnail of
4 x 6 pixels: its colours are the frozen vector, less their mean over all posters. There is no
query, so that nothing is learned of relevance and every pair is its item. See
`benchmarks.seminar` for the rest.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.ranking_models import RankingBenchmark
from benchmarks.seminar import REPEATS
from benchmarks.seminar import WITHOUT_QUERIES
from benchmarks.seminar import SeminarBenchmark
from benchmarks.seminar import main

if TYPE_CHECKING:
    import numpy as np

SIZE = (4, 6)  # pixels of a thumbnail, across and down


def prepare(log_dir: Path) -> None:
    """Prepares MovieLens-1M with thumbnails of its posters as image vectors.

    Args:
        log_dir: The event log to write.
    """
    import numpy as np

    from tfx_pipeline.datasets.event_log import EventLog
    from tfx_pipeline.datasets.event_log_writer import write_event_log
    from tfx_pipeline.datasets.registry import prepare
    from transforms.arrow import pa

    with tempfile.TemporaryDirectory() as folder:
        prepare("movielens-1m", Path(folder, "log"), protocol="papers", posters=True)
        log = EventLog(Path(folder, "log"))
        movies = log.read("catalogue")
        posters = movies.column("image").to_pylist()
        vectors = np.stack([thumbnail(poster) for poster in posters])
        there = np.array([poster is not None for poster in posters])
        vectors = np.where(there[:, None], vectors - vectors[there].mean(axis=0), 0.0)
        image = pa.array(list(vectors.astype(np.float32)), pa.list_(pa.float32()))
        kept = movies.drop([name for name in movies.column_names if name.startswith("image")])
        catalogue = kept.append_column("image_vector", image)
        tables = (log.read("events"), catalogue, log.read("users"))
        write_event_log(log_dir, log.manifest, *tables)


def thumbnail(poster: bytes | None) -> np.ndarray:
    """Returns the colours of a poster's thumbnail, [72] float32 from 0 to 1; zeros for none."""
    import numpy as np
    from PIL import Image

    if poster is None:
        return np.zeros(SIZE[0] * SIZE[1] * 3, np.float32)
    with Image.open(io.BytesIO(poster), formats=("JPEG",)) as image:
        small = image.convert("RGB").resize(SIZE, Image.Resampling.BOX)
    return np.asarray(small, np.float32).ravel() / 255.0


BENCHMARK = SeminarBenchmark(
    ranking=RankingBenchmark(
        name="seminar_movielens_1m",
        source="movielens-1m",
        timeline={
            "split": "leave-share-out",
            "validation_share": 0.05,
            "test_share": 0.1,
            "label": {"source": "values", "at_least": 4.0},
        },
        trainer={
            "model": {
                "use_event_values": True,
                "use_query": False,
                "use_repeats": False,  # nobody rates a film twice
                "position_bias": False,
            },
            "input": {"batch_size": 512},
            "epochs": 2,
        },
    ),
    prepare=prepare,
    without=("seminar_relevance", WITHOUT_QUERIES, *REPEATS),
)

if __name__ == "__main__":
    main(BENCHMARK)
