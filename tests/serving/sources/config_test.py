from __future__ import annotations

import pytest

from serving.sources.config import CountingConfig
from serving.sources.config import NeighboursConfig


def test_a_section_has_its_own_keys_alone():
    config = NeighboursConfig(window=3, decay=0.9)
    assert config.section(CountingConfig) == CountingConfig(window=3)


def test_nothing_to_count():
    with pytest.raises(ValueError, match="no pair is counted"):
        NeighboursConfig(window=0, cooccurrence=0)


def test_fewer_partners_than_neighbours():
    with pytest.raises(ValueError, match="chosen from"):
        NeighboursConfig(partners=10, neighbours=20)
