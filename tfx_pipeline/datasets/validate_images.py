"""Checks that the catalogue's images are small JPEG or PNG files that decode."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image
from PIL import UnidentifiedImageError

from tfx_pipeline.datasets.problem import Findings
from tfx_pipeline.datasets.problem import Rows
from transforms.arrow import pa

MAX_IMAGE_BYTES = 4 << 20
MAX_IMAGE_PIXELS = 4_096 * 4_096
_FORMATS = ("JPEG", "PNG")


def check_images(rows: Rows, findings: Findings, decode: bool = True) -> None:
    """Reports images that are too large or do not decode.

    Args:
        rows: Rows of the catalogue.
        findings: Receives the problems.
        decode: Whether to decode them; otherwise only their headers are read.
    """
    column = rows.data.column("image")
    if column.null_count == len(column):
        return
    with ThreadPoolExecutor() as pool:
        told = list(pool.map(lambda image: _fault(image, decode), column))
    faults = np.array(told, object)
    message = (
        f"{{count}} of {{rows}} images are larger than {MAX_IMAGE_BYTES:,} bytes or "
        f"{MAX_IMAGE_PIXELS:,} pixels and are not decoded. Scale them down; models read a few "
        f"hundred pixels a side."
    )
    findings.rows("error", "oversized-image", None, rows, faults == "large", message, _SHOW)
    message = (
        "{count} of {rows} images are not whole JPEG or PNG files. Convert them, or make them "
        "null: an item may have no image."
    )
    findings.rows("error", "bad-image", None, rows, faults == "bad", message, _SHOW)


_SHOW = ("entity_type", "entity_id")


def _fault(image: pa.BinaryScalar, decode: bool) -> str:
    """Returns "", `large` or `bad`."""
    if not image.is_valid:
        return ""
    data = image.as_buffer()
    if data.size > MAX_IMAGE_BYTES:
        return "large"
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as opened:
            if opened.width * opened.height > MAX_IMAGE_PIXELS:
                return "large"
            if decode:
                opened.load()
    except Image.DecompressionBombError:
        return "large"
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        return "bad"
    return ""
