"""A version that is still being copied is left alone until two looks find the same."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from serving.local_server.config import ModelConfig
from serving.local_server.model import ServedModel


def test_a_half_copied_version_is_not_loaded_before_it_stays_the_same(tmp_path: Path) -> None:
    loaded: list[int] = []

    class Loaded:
        def close(self) -> None:
            """Frees nothing."""

    def load(name: str, number: int, path: Path) -> Loaded:
        loaded.append(len((path / "variables").read_bytes()))
        return Loaded()

    async def looks() -> None:
        with ThreadPoolExecutor(1) as executor:
            config = ModelConfig(base_path=tmp_path)
            model = ServedModel(config, load, lambda servable: {}, executor)
            file = tmp_path / "1" / "variables"
            file.parent.mkdir()
            for size in (1, 2, 3):  # between two looks it grew
                file.write_bytes(b"x" * size)
                await model.reconcile(settled=False)
                assert loaded == [] and not model.available()
            await model.reconcile(settled=False)
            assert [version.number for version in model.available()] == [1]

    asyncio.run(looks())
    assert loaded == [3]  # whole, and once
