"""A headless Chromium that looks at a page."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BROWSER = ROOT / ".tools" / "browser"
WIDTHS = {"phone": (390, 844), "desktop": (1280, 900)}
PATIENCE = 60_000  # milliseconds


@dataclass(frozen=True)
class Look:
    """What a browser saw of a page.

    Attributes:
        messages: What was written on the console, and errors of scripts.
        requests: Addresses that were asked for, the page and data URIs apart.
        overflow: Pixels by which the page is wider than the window.
        plots: How many plots were drawn, of how many.
        unnamed: Things of the accessibility tree that should have a name and have none.
        screenshot: The whole page.
    """

    messages: list[str]
    requests: list[str]
    overflow: int
    plots: tuple[int, int]
    unnamed: list[str]
    screenshot: Path


def missing() -> str:
    """Says why no browser is here; "" if one is."""
    if not (BROWSER / ".fingerprint").is_file():
        return "there is no browser in .tools; `make browser` fetches it"
    return ""


def look_at(page: Path, width: str, screenshots: Path) -> Look:
    """Opens a page in a window of a phone or of a desktop.

    Args:
        page: An HTML file.
        width: A key of `WIDTHS`.
        screenshots: Where the screenshot goes.
    """
    from playwright.sync_api import sync_playwright

    messages: list[str] = []
    requests: list[str] = []
    environment = {"LD_LIBRARY_PATH": str(BROWSER / "lib"), "FONTCONFIG_PATH": str(BROWSER)}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(BROWSER / "chromium"),
            args=["--no-sandbox", "--disable-gpu"],  # root, in a container, is refused a sandbox
            env={**os.environ, **environment},
        )
        across, down = WIDTHS[width]
        tab = browser.new_page(viewport={"width": across, "height": down})
        tab.on("console", lambda message: messages.append(f"{message.type}: {message.text}"))
        tab.on("pageerror", lambda error: messages.append(f"error: {error}"))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(page.absolute().as_uri(), timeout=PATIENCE)
        drawn = "document.querySelectorAll('.plot svg').length"
        all_plots = "document.querySelectorAll('.plot').length"
        tab.wait_for_function(f"{drawn} === {all_plots}", timeout=PATIENCE)
        screenshot = screenshots / f"{page.stem}-{width}.png"
        tab.screenshot(path=str(screenshot), full_page=True)
        found = Look(
            messages,
            [url for url in requests if url != page.absolute().as_uri() and url[:5] != "data:"],
            tab.evaluate("document.documentElement.scrollWidth - window.innerWidth"),
            (tab.evaluate(drawn), tab.evaluate(all_plots)),
            _unnamed(tab),
            screenshot,
        )
        browser.close()
    return found


def _unnamed(tab: Any) -> list[str]:
    """Returns roles that need a name and have none, as the browser tells assistive technology."""
    session = tab.context.new_cdp_session(tab)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    named = ("image", "img", "link", "region", "heading", "navigation")
    return [
        node["role"]["value"]
        for node in nodes
        if not node.get("ignored")
        and node.get("role", {}).get("value") in named
        and not node.get("name", {}).get("value")
    ]
