"""Real headless Chromium for pages on disk: whatever goes wrong in a page, or asks for a network, is noted."""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tiny_cli import PATIENCE

ARGUMENTS = (
    "--no-sandbox",  # tests run as root in containers
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass
class Tab:
    """A page in a browser of its own."""

    page: Any
    """Playwright's Page."""
    problems: list[str] = field(default_factory=list)
    """Errors of the page, what it writes to its console, and each request that leaves the disk."""


def chromium() -> str:
    """The browser's path; without one the test is skipped, or fails where POLYAK_NEEDS_BROWSER is set."""
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        if found := shutil.which(name):
            return found
    message = "no Chromium on the PATH (Debian: apt-get install chromium)"
    if os.environ.get("POLYAK_NEEDS_BROWSER"):
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def opened(path: Path, **context: Any) -> Generator[Tab]:
    """A page from disk, loaded; `context` is what Playwright's `new_context` takes (viewport, color_scheme, ...)."""
    from playwright.sync_api import sync_playwright

    executable = chromium()
    with sync_playwright() as playwright:
        patience = 1_000 * PATIENCE  # milliseconds
        browser = playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS), timeout=patience)
        try:
            page = browser.new_context(**context).new_page()
            page.set_default_timeout(patience)
            tab = Tab(page)
            page.on("console", lambda message: tab.problems.append(f"console: {message.text}"))
            page.on("pageerror", lambda error: tab.problems.append(f"error: {error}"))
            page.on("requestfailed", lambda request: tab.problems.append(f"failed: {request.url[:100]}"))
            page.on("request", lambda request: _note_network(tab, request.url))
            page.goto(path.resolve().as_uri(), wait_until="load")
            yield tab
        finally:
            browser.close()


def _note_network(tab: Tab, url: str) -> None:
    if not url.startswith(("file:", "data:", "blob:")):
        tab.problems.append(f"network: {url[:100]}")
