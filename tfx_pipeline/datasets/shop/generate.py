"""Makes the log of a simulated shop, its shards in parallel."""

from __future__ import annotations

import functools
import multiprocessing
import os
from collections.abc import Callable
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from tfx_pipeline.datasets.event_log import EventLogShard
from tfx_pipeline.datasets.event_log import EventLogWriter
from tfx_pipeline.datasets.event_log import Manifest
from tfx_pipeline.datasets.shop import text
from tfx_pipeline.datasets.shop import words
from tfx_pipeline.datasets.shop.catalogue import draw_world
from tfx_pipeline.datasets.shop.config import VERSION
from tfx_pipeline.datasets.shop.config import ShopConfig
from tfx_pipeline.datasets.shop.images import draw_images
from tfx_pipeline.datasets.shop.sessions import plan_sessions
from tfx_pipeline.datasets.shop.shelf import item_shelf
from tfx_pipeline.datasets.shop.shelf import video_shelf
from tfx_pipeline.datasets.shop.simulate import Simulation
from tfx_pipeline.datasets.shop.tables import SHARD_STRIDE
from tfx_pipeline.datasets.shop.tables import BlockLog
from tfx_pipeline.datasets.shop.tables import Numbers
from tfx_pipeline.datasets.shop.users import draw_users
from tfx_pipeline.datasets.shop.world import Ints
from tfx_pipeline.datasets.shop.world import World
from transforms.arrow import pa
from transforms.arrow import pq

TRUTH = "truth"
WORLD = "world"
SESSIONS_PER_BLOCK = 250_000  # about 750,000 pages
_USERS_KEY, _CATALOGUE_KEY = 1, 2  # spawn keys; the world has 0


def prepare_shop(
    out: Path, config: ShopConfig, workers: int | None = None, overwrite: bool = False
) -> Manifest:
    """Simulates a shop and writes its event log, with the truth in `truth/` beside it.

    Args:
        out: Directory to be made; it appears complete or not at all.
        config: Size, span and seed.
        workers: Number of processes; as many as the machine has cores by
            default. The log does not depend on it.
        overwrite: Whether an event log at `out` may be replaced.

    Returns:
        The manifest, with the shop's version and configuration.

    Raises:
        FileExistsError: If something is at `out` that may not be replaced.
    """
    manifest = Manifest(
        name="shop",
        version=VERSION,
        source="simulated by vitrine, `vitrine data prepare shop`",
        tie_order="what a user does comes after what was shown; by position on a page",
        notes={"config": config.model_dump(mode="json")},
    )
    with EventLogWriter(out, manifest, overwrite) as writer:
        directory = Path(writer.directory)
        draw_world(config).save(directory / TRUTH / WORLD, config)
        tasks: list[Callable[[], str]] = []
        for write, parts in (
            (_write_users, len(config.user_shards())),
            (_write_entities, len(config.entity_chunks())),
        ):
            tasks += [functools.partial(write, directory, config, n) for n in range(parts)]
        for done, what in enumerate(_in_parallel(tasks, workers or os.cpu_count() or 1), 1):
            logging.info("shop: %d of %d parts written (%s)", done, len(tasks), what)
    return writer.manifest


def _in_parallel(tasks: list[Callable[[], str]], workers: int) -> Iterable[str]:
    """Runs tasks in fresh processes, or here when one worker is enough."""
    workers = min(workers, len(tasks))
    if workers <= 1:
        yield from (task() for task in tasks)
        return
    # Forking a process that holds TensorFlow's threads may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context) as pool:
        try:
            yield from pool.map(_call, tasks)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _call(task: Callable[[], str]) -> str:
    return task()


def _write_users(directory: Path, config: ShopConfig, shard: int) -> str:
    """Writes the events, the users and the truth of one shard of users, block by block."""
    first, last = config.user_shards()[shard]
    seeds = np.random.SeedSequence(config.seed, spawn_key=(_USERS_KEY, shard)).spawn(2)
    world = World.load(directory / TRUTH / WORLD)
    users = draw_users(np.random.default_rng(seeds[0]), world, config, last - first)
    known = max(0, min(config.truth_users, last) - first)
    ids = pa.array(np.arange(first, last) + 1).cast(pa.string())
    told = pa.array(text.user_attributes(users.attributes), pa.list_(pa.string()))
    if known:
        name = f"part-{shard:05d}"
        _write(directory / TRUTH / "users", name, users.to_table(ids).slice(0, known))
    shelves = item_shelf(world), video_shelf(world)
    numbers = Numbers(*3 * [shard * SHARD_STRIDE])
    with EventLogShard(directory, shard) as writer:
        writer.write_users(pa.table({"user_id": ids, "attributes": told}))
        blocks = user_blocks(users.sessions)
        for block, (seed, (start, end)) in enumerate(
            zip(seeds[1].spawn(len(blocks)), blocks, strict=True)
        ):
            plan_rng, rng = (np.random.default_rng(one) for one in seed.spawn(2))
            members = users.rows(start, end)
            plan = plan_sessions(plan_rng, world, members, config)
            kept = int(np.searchsorted(plan.user[plan.session], known - start))
            pages = Simulation(rng, world, members, plan, config, *shelves, kept).run()
            log = BlockLog(world, plan, pages, first + start, numbers, config.start_time)
            if kept:
                name = f"part-{shard:05d}-{block:05d}"
                _write(directory / TRUTH / "pages", name, log.truth_table())
            for table in log.event_tables():
                writer.write_events(table)
                numbers.row += table.num_rows
            numbers.session += len(plan.user)
            numbers.page += len(plan.time)
    return f"users {first} to {last - 1}"


def user_blocks(sessions: Ints) -> list[tuple[int, int]]:
    """Cuts users into blocks that are simulated one after the other, to bound memory.

    Args:
        sessions: [U] number of sessions of each user.

    Returns:
        First and last (exclusive) user of each block: of `SESSIONS_PER_BLOCK`
        sessions at most, or of a single user.
    """
    blocks, first, total = [], 0, 0
    for user, number in enumerate(sessions.tolist()):
        if user > first and total + number > SESSIONS_PER_BLOCK:
            blocks.append((first, user))
            first, total = user, 0
        total += number
    return [*blocks, (first, len(sessions))]


def _write(directory: Path, name: str, table: pa.Table) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, directory / f"{name}.parquet", compression="zstd")


def _write_entities(directory: Path, config: ShopConfig, chunk: int) -> str:
    """Writes one piece of the catalogue."""
    kind, first, last = config.entity_chunks()[chunk]
    world = World.load(directory / TRUTH / WORLD)
    key = (_CATALOGUE_KEY, 0 if kind == "item" else 1, first)
    seeds = np.random.SeedSequence(config.seed, spawn_key=key).spawn(2)
    words_rng, image_rng = (np.random.default_rng(seed) for seed in seeds)
    rows = np.arange(first, last)
    columns = (_item_columns if kind == "item" else _video_columns)(words_rng, world, rows)
    columns["available_from"] = config.start_time + columns["available_from"]
    if config.images:
        style, leaf = (getattr(world, f"{kind}_{name}")[first:last] for name in ("style", "leaf"))
        pictures = draw_images(image_rng, world, style, leaf, config.image_size, kind == "video")
        columns["image"] = pa.array(list(pictures), pa.binary())
    columns["entity_type"] = pa.array([kind] * len(rows))
    with EventLogShard(directory, chunk) as writer:
        writer.write_catalogue(pa.table(columns))
    return f"{kind}s {first} to {last - 1}"


def _item_columns(rng: np.random.Generator, world: World, rows: Ints) -> dict[str, Any]:
    return {
        "entity_id": pa.array(world.item_id[rows]).cast(pa.string()),
        "title": text.item_titles(rng, world, rows),
        "categories": [list(words.LEAVES[leaf]) for leaf in world.item_leaf[rows]],
        "attributes": text.item_attributes(rng, world, rows),
        "price": pa.array(world.item_price[rows].astype(np.float32)),
        "available_from": world.item_launch[rows],
    }


def _video_columns(rng: np.random.Generator, world: World, rows: Ints) -> dict[str, Any]:
    shown = world.video_items[rows]
    related = [[f"item:{world.item_id[i]}" for i in row if i >= 0] for row in shown]
    return {
        "entity_id": pa.array(world.video_id[rows]).cast(pa.string()),
        "title": text.video_titles(rng, world, rows),
        "categories": [list(words.LEAVES[leaf])[:1] for leaf in world.video_leaf[rows]],
        "attributes": text.video_attributes(world, rows),
        "available_from": world.video_launch[rows],
        "related_ids": pa.array(related, pa.list_(pa.string())),
    }
