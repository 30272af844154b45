"""A small shop that all tests of the shop read."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tfx_pipeline.datasets.event_log import EventLog
from tfx_pipeline.datasets.shop import ShopConfig
from tfx_pipeline.datasets.shop import prepare_shop
from tfx_pipeline.datasets.shop.oracle import Oracle
from tfx_pipeline.datasets.shop.world import World


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shop") / "log"
    prepare_shop(out, ShopConfig(users=600, items=900, image_size=32), workers=1)
    return out


@pytest.fixture(scope="session")
def events(shop: Path) -> pd.DataFrame:
    return EventLog(shop).read("events").to_pandas()


@pytest.fixture(scope="session")
def catalogue(shop: Path) -> pd.DataFrame:
    return EventLog(shop).read("catalogue").to_pandas()


@pytest.fixture(scope="session")
def world(shop: Path) -> World:
    return World.load(shop / "truth" / "world")


@pytest.fixture(scope="session")
def oracle(shop: Path) -> Oracle:
    return Oracle(shop)
