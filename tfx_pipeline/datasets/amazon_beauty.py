"""Amazon Beauty (2014), 5-core, as the authors of S3-Rec prepared it.

Kun Zhou et al. 2020. S3-Rec: Self-Supervised Learning for Sequential
Recommendation with Mutual Information Maximization. CIKM.
"""

from __future__ import annotations

import json
from pathlib import Path

from tfx_pipeline.datasets.download import SourceFile
from tfx_pipeline.datasets.download import obtain
from tfx_pipeline.datasets.event_log_writer import write_event_log
from tfx_pipeline.datasets.manifest import Manifest
from tfx_pipeline.datasets.sequences import constant
from tfx_pipeline.datasets.sequences import read_sequences
from tfx_pipeline.datasets.sequences import sequence_events
from transforms.arrow import pa
from transforms.arrow import pc

HOMEPAGE = "https://github.com/RUCAIBox/CIKM2020-S3Rec"
SEQUENCES = SourceFile("amazon-beauty/Beauty.txt.gz", HOMEPAGE)
ATTRIBUTES = SourceFile("amazon-beauty/Beauty_item2attributes.json.gz", HOMEPAGE)
ITEM = "item"
REVIEW = "review"


def prepare_amazon_beauty(
    out: str | Path, source: str | Path | None = None, overwrite: bool = False
) -> Manifest:
    """Turns Amazon Beauty into an event log of reviews in order, without times.

    Args:
        out: Directory of the event log to make.
        source: Directory with `Beauty.txt.gz` and
            `Beauty_item2attributes.json.gz`. By default it is looked up.
        overwrite: Whether an event log at `out` may be replaced.

    Returns:
        The manifest as written.

    Raises:
        FileExistsError: If `out` may not be replaced.
        FileNotFoundError: If a file is not at hand.
        ValueError: If a file is not what it should be.
    """
    sequences = read_sequences(obtain(SEQUENCES, source))
    attributes = _read_attributes(obtain(ATTRIBUTES, source))
    items = pc.unique(sequences.items)
    catalogue = pa.table(
        {
            "entity_type": constant(ITEM, len(items)),
            "entity_id": items,
            "attributes": [
                [f"attribute={number}" for number in attributes.get(item, ())]
                for item in items.to_pylist()
            ],
        }
    )
    manifest = Manifest(
        name="amazon-beauty", source=HOMEPAGE, time="ordinal", tie_order="Beauty.txt"
    )
    events = sequence_events(sequences, ITEM, REVIEW)
    return write_event_log(out, manifest, events, catalogue, overwrite=overwrite)


def _read_attributes(path: Path) -> dict[str, list[int]]:
    with pa.input_stream(str(path), compression="detect") as stream:
        try:
            attributes = json.loads(stream.read())
        except ValueError as error:
            raise ValueError(f"`{path}` must be JSON, item to attributes: {error}") from error
    if not isinstance(attributes, dict):
        raise ValueError(f"`{path}` must hold an object; it holds a {type(attributes).__name__}.")
    return attributes
