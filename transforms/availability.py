"""Time from which a candidate may be recommended: one rule for training, evaluation and serving."""

from __future__ import annotations

from typing import Any


def not_yet_available(available_from: Any, request_time: Any) -> Any:
    """Says which candidates may not be recommended yet at a moment.

    Args:
        available_from: int64, microseconds, an array of NumPy or a tensor.
        request_time: int64, microseconds, broadcastable to it. 0 or less is no moment: at
            that, everything may be recommended.

    Returns:
        bool of the broadcast shape.
    """
    return (request_time > 0) & (available_from > request_time)
