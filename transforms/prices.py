"""Prices: standardised logarithms and quantile buckets."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_transform as tft

_UNKNOWN = -1.0  # below the logarithm of every price, so that it has bucket 0


def log_prices(prices: tf.RaggedTensor, buckets: int) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
    """Standardises log(1 + price) over the catalogue, and buckets it by quantiles.

    Args:
        prices: [B, (rows)] float32 in the catalogue's currency; negative and
            non-finite prices count as unknown.
        buckets: How many quantile buckets.

    Returns:
        Two ragged tensors of the shape of `prices`: float32 with mean 0 and
        deviation 1 over the catalogue (0 where unknown), and int64 buckets from
        1 up to at most `buckets` (0 where unknown).
    """
    flat = prices.flat_values
    known = tf.math.is_finite(flat) & (flat >= 0.0)
    logs = tf.where(known, tf.math.log1p(tf.where(known, flat, 0.0)), _UNKNOWN)  # [V]
    seen = tf.boolean_mask(logs, known)
    scaled = tf.math.divide_no_nan(logs - tft.mean(seen), tf.sqrt(tft.var(seen)))
    quantiles = tft.quantiles(seen, buckets, epsilon=0.01)  # [1, buckets - 1]
    boundaries = tf.concat([[[_UNKNOWN / 2.0]], quantiles], axis=1)
    return (
        prices.with_flat_values(tf.where(known, scaled, 0.0)),
        tft.apply_buckets(prices.with_flat_values(logs), boundaries),
    )
