"""The catalogue's images: taken from an archive, and checked to be small files that decode."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from PIL import UnidentifiedImageError

from tfx_pipeline.datasets.archives import extract
from transforms.arrow import pa

MAX_IMAGE_BYTES = 4 << 20
MAX_IMAGE_PIXELS = 4_096 * 4_096
_FORMATS = ("JPEG", "PNG")
_DRAFT = (64, 64)  # a JPEG is decoded at an eighth of its size, which finds the same faults


def with_images(catalogue: pa.Table, archive: Path, names: Sequence[str]) -> pa.Table:
    """Adds images to catalogue rows from an archive of `<name>.jpg`.

    Args:
        catalogue: n rows without a column `image`.
        archive: The archive.
        names: n names, one a row; those that are not in the archive have no image.
    """
    with tempfile.TemporaryDirectory() as work:
        folder = extract(archive, Path(work, "images"), max_member_bytes=1 << 20)
        files = {path.stem: path for path in folder.rglob("*.jpg")}
        images = [files[name].read_bytes() if name in files else None for name in names]
    return catalogue.append_column("image", pa.array(images, pa.binary()))


def image_faults(images: pa.Array) -> np.ndarray:
    """Returns what is wrong with each image, [n] object: "", `large` or `bad`; null is right."""
    with ThreadPoolExecutor() as pool:  # decoding releases the lock
        return np.array(list(pool.map(_fault, images)), object)


def _fault(image: pa.BinaryScalar) -> str:
    if not image.is_valid:
        return ""
    data = image.as_buffer()
    if data.size > MAX_IMAGE_BYTES:
        return "large"
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as opened:
            if opened.width * opened.height > MAX_IMAGE_PIXELS:
                return "large"
            opened.draft(None, _DRAFT)
            opened.load()
    except Image.DecompressionBombError:
        return "large"
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        return "bad"
    return ""
