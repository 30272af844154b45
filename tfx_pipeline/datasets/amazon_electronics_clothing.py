"""Amazon Electronics and Clothing: what the same users reviewed in two shops.

Jiangxia Cao et al. 2022. DisenCDR: Learning Disentangled Representations for Cross-Domain
Recommendation. SIGIR. The division into training and test part is theirs.
"""

from __future__ import annotations

from pathlib import Path

from tfx_pipeline.datasets.download import SourceFile
from tfx_pipeline.datasets.event_log_writer import write_event_log
from tfx_pipeline.datasets.given_parts import PART_SECONDS
from tfx_pipeline.datasets.given_parts import distinct
from tfx_pipeline.datasets.given_parts import events_of
from tfx_pipeline.datasets.given_parts import in_order
from tfx_pipeline.datasets.given_parts import read_pairs
from tfx_pipeline.datasets.manifest import Manifest
from tfx_pipeline.datasets.sequences import constant
from transforms.arrow import pa

NAME = "amazon-electronics-clothing"
HOMEPAGE = "https://github.com/cjx96/DisenCDR"
DOMAINS = ("electronics", "clothing")
REVIEW = "review"
PARTS = ("train", "test")  # of the given split
_COLUMNS = {"user": pa.string(), "item": pa.string(), "one": pa.string()}


def prepare_amazon_electronics_clothing(
    out: str | Path, source: str | Path | None = None, overwrite: bool = False, seed: int = 0
) -> Manifest:
    """Turns the reviews of two shops by the same users into an event log.

    The source has no times: a user's events of the training part are in an order that is drawn,
    and the one that is held out of each shop comes behind them (`given_parts`), so that the
    given split can be read off the timestamps. The shops are two types of entities.

    Args:
        out: Directory of the event log to make.
        source: Directory of the four files. By default it is looked up.
        overwrite: Whether an event log at `out` may be replaced.
        seed: Of the order.

    Returns:
        The manifest as written.

    Raises:
        FileExistsError: If `out` may not be replaced.
        FileNotFoundError: If a file is not at hand.
        ValueError: If a file is not what it should be.
    """
    tables, types, ids = [], [], []
    for domain in DOMAINS:
        files = [SourceFile(f"{NAME}/{domain}_{part}.txt.gz", HOMEPAGE) for part in PARTS]
        rows = [read_pairs(file, source, _COLUMNS) for file in files]
        tables += [events_of(pairs, domain, "item", REVIEW, p) for p, pairs in enumerate(rows)]
        ids.append(distinct(rows, "item"))
        types.append(constant(domain, len(ids[-1])))
    manifest = Manifest(
        name=NAME,
        source=HOMEPAGE,
        time="ordinal",
        tie_order=f"drawn with seed {seed}",
        notes={"part_seconds": PART_SECONDS, "parts": list(PARTS)},
    )
    catalogue = {"entity_type": pa.concat_arrays(types), "entity_id": pa.concat_arrays(ids)}
    events = in_order(pa.concat_tables(tables), len(PARTS), seed)
    return write_event_log(out, manifest, events, pa.table(catalogue), overwrite=overwrite)
