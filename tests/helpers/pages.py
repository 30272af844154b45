"""Reads a page of HTML as a browser's parser would, without running it."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any


class Page(HTMLParser):
    """A page.

    Attributes:
        elements: Tag and attributes of each element.
        text: What is read, scripts and styles apart.
        specs: Vega-Lite of its plots.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.specs: list[dict[str, Any]] = []
        self._words: list[str] = []
        self._inside: tuple[str, dict[str, str | None]] = ("", {})
        self.feed(text)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self._words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = (tag, dict(attrs))
        self.elements.append(self._inside)

    def handle_endtag(self, tag: str) -> None:
        self._inside = ("", {})

    def handle_data(self, data: str) -> None:
        tag, attributes = self._inside
        if tag == "script" and attributes.get("type") == "application/json":
            self.specs.append(json.loads(data))
        if tag not in ("script", "style"):
            self._words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Returns the attributes of every element of a kind."""
        return [attributes for found, attributes in self.elements if found == tag]

    def addresses(self) -> list[str]:
        """Returns what the page refers to, within itself and as data apart."""
        found = [
            str(attributes[name])
            for _, attributes in self.elements
            for name in ("src", "href", "action", "data", "poster", "srcset")
            if attributes.get(name)
        ]
        return [one for one in found if not one.startswith(("#", "data:image/"))]
