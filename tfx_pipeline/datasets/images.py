"""Check that the catalogue's images are small JPEG or PNG files that decode."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image
from PIL import UnidentifiedImageError

from transforms.arrow import pa

MAX_IMAGE_BYTES = 4 << 20
MAX_IMAGE_PIXELS = 4_096 * 4_096
_FORMATS = ("JPEG", "PNG")
_DRAFT = (64, 64)  # a JPEG is decoded at an eighth of its size, which finds the same faults


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
