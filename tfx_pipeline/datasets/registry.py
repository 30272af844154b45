"""The sources that `vitrine data prepare` knows, by name.

A source is a function `(out, [source], [overwrite], [config], ...) -> Manifest`.
Its options are its other typed parameters and the fields of `config`, which is
of a `Config` class. It is imported when it is asked for.
"""

from __future__ import annotations

import importlib
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic import create_model

from tfx_pipeline.datasets.manifest import Manifest
from transforms.base_config import Config
from transforms.nearest import nearest
from transforms.storage import place

_GIVEN = ("out", "source", "overwrite", "config")  # parameters that are not options


@dataclass(frozen=True)
class Source:
    """A source of event logs.

    Attributes:
        name: What the command line calls it.
        description: What it holds, in a few words.
        entry: `module:function` that prepares it.
    """

    name: str
    description: str
    entry: str

    def load(self) -> Callable[..., Manifest]:
        """Imports the function that prepares the source."""
        module, _, function = self.entry.partition(":")
        return getattr(importlib.import_module(module), function)

    def options(self) -> type[Config]:
        """Returns the source's options as a configuration class."""
        function = self.load()
        hints = typing.get_type_hints(function)
        fields: dict[str, Any] = {
            name: (hints[name], ... if p.default is inspect.Parameter.empty else p.default)
            for name, p in inspect.signature(function).parameters.items()
            if name not in _GIVEN
        }
        base = hints.get("config", Config)
        return create_model(f"the options of {self.name}", __base__=base, **fields)


_HERE = "tfx_pipeline.datasets"
_SOURCES = (
    Source(
        "movielens-1m",
        "1,000,209 ratings of movies by 6,040 users (GroupLens); titles, genres, users",
        f"{_HERE}.movielens:prepare_movielens_1m",
    ),
    Source(
        "movielens-100k",
        "100,000 ratings of movies by 943 users with true times (GroupLens)",
        f"{_HERE}.movielens_100k:prepare_movielens_100k",
    ),
    Source(
        "amazon-beauty",
        "198,502 reviews of beauty products by 22,363 users; order, no times",
        f"{_HERE}.amazon_beauty:prepare_amazon_beauty",
    ),
    Source(
        "amazon-electronics-clothing",
        "358,298 reviews of electronics and of clothing by the same 15,761 users; no times",
        f"{_HERE}.amazon_electronics_clothing:prepare_amazon_electronics_clothing",
    ),
    Source(
        "retailrocket",
        "sessions of a web shop; order, no times",
        f"{_HERE}.retailrocket:prepare_retailrocket",
    ),
    Source(
        "taobao",
        "page views, carts, favourites and purchases at Taobao, with categories and times",
        f"{_HERE}.taobao:prepare_taobao",
    ),
    Source(
        "trivago",
        "hotel searches with result lists, prices, filters and click-outs (RecSys Challenge 2019)",
        f"{_HERE}.trivago:prepare_trivago",
    ),
    Source(
        "youshu",
        "book lists that readers save, and the books that they read; the given split, no times",
        f"{_HERE}.youshu:prepare_youshu",
    ),
    Source(
        "shop",
        "a simulated shop with items, videos, queries, result pages, images and a known truth",
        f"{_HERE}.shop:prepare_shop",
    ),
)


def list_sources() -> tuple[Source, ...]:
    """Returns every source that has a name."""
    return _SOURCES


def find_source(name: str) -> Source:
    """Returns a source by its name.

    Raises:
        ValueError: If no source has this name; the message has the nearest.
    """
    names = [source.name for source in _SOURCES]
    if name in names:
        return _SOURCES[names.index(name)]
    raise ValueError(
        f"`{name}` is not a source{nearest(name, names)}. There are {', '.join(names)}."
    )


def prepare(
    name: str,
    out: str | Path,
    source: str | Path | None = None,
    overwrite: bool = False,
    **options: Any,
) -> Manifest:
    """Turns a named source into an event log.

    Args:
        name: Name of the source, one of `list_sources()`.
        out: Directory of the event log to make.
        source: File or directory of the data, for sources that read one.
        overwrite: Whether an event log at `out` may be replaced.
        **options: The source's own options; text is turned into their types.

    Returns:
        The manifest of the event log.

    Raises:
        FileExistsError: If `out` may not be replaced.
        FileNotFoundError: If the data is not at hand and cannot be fetched.
        ValueError: If the source or an option is not known, or the data is not
            what it should be.
    """
    found = find_source(name)
    function = found.load()
    parameters = inspect.signature(function).parameters
    if source is not None and "source" not in parameters:
        raise ValueError(f"`{name}` reads no files, so it takes no source; received `{source}`.")
    checked = _check(found, options)
    given: dict[str, Any] = {"source": source, "overwrite": overwrite}
    given |= {key: getattr(checked, key) for key in type(checked).model_fields}
    if "config" in parameters:
        kind = typing.get_type_hints(function)["config"]
        told = {key: options[key] for key in options if key in kind.model_fields}
        given["config"] = kind.model_validate(told)
    return function(place(out), **{key: given[key] for key in given if key in parameters})


def _check(source: Source, options: dict[str, Any]) -> Config:
    """Turns options into their types, or says plainly which one is wrong."""
    try:
        return source.options().model_validate(options)
    except ValidationError as error:
        told = []
        for fault in error.errors():
            where = ".".join(str(part) for part in fault["loc"])
            received = f"; received {fault['input']!r}" if where else ""
            said = fault["msg"].removeprefix("Value error, ")
            told.append(f"{where or source.name}: {said}{received}")
        raise ValueError("\n".join(told)) from error
