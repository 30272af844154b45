"""A simulated shop: the event log that no public source offers, with the truth beside it."""

from tfx_pipeline.datasets.shop.config import VERSION
from tfx_pipeline.datasets.shop.config import ShopConfig
from tfx_pipeline.datasets.shop.generate import prepare_shop

__all__ = ["VERSION", "ShopConfig", "prepare_shop"]
