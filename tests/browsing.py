"""Chromium, driven by playwright, for tests and benchmarks of the report."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
"""None: not installed."""
PATIENCE_MS = 120_000
DRAWN = "document.documentElement.dataset.drawn === 'all'"
"""Whether all charts are drawn."""


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window and, since root can't have one, without a sandbox."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=PATIENCE_MS)
        try:
            yield browser
        finally:
            browser.close()


def opened(
    browser: Browser,
    path: Path,
    *,
    width: int = 1280,
    height: int = 900,
    scheme: str = "light",
    before: str = "",
    seen: Any = None,
) -> Page:
    """Open a page; ``before`` runs first, the list ``seen`` receives messages, errors, dialogues and addresses."""
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.set_default_timeout(PATIENCE_MS)
    page.add_init_script(before)
    if seen is not None:
        page.on("console", lambda message: seen.append(message.text))
        page.on("pageerror", lambda error: seen.append(str(error)))
        page.on("dialog", lambda dialog: (seen.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: seen.append(request.url))
    page.goto(path.as_uri())
    return page


def wait_until_drawn(page: Page) -> None:
    """Wait until every chart is drawn; nothing is scrolled."""
    page.wait_for_function(DRAWN)


@contextlib.contextmanager
def drawn(browser: Browser, path: Path, **window: Any) -> Iterator[Page]:
    """Open a page as :func:`opened` until the end of the block, with all its charts."""
    with contextlib.closing(opened(browser, path, **window)) as page:
        wait_until_drawn(page)
        yield page
