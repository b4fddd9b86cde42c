"""Debian's chromium, driven by playwright, looking at a page; what tests and benchmarks of the report share."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
"""None: there is none on this machine."""
PATIENCE_MS = 600_000  # only a broken page ever lets one wait that long
DRAWN = "[...document.querySelectorAll('[data-chart]')].every((place) => place.data)"
"""Whether all charts are there."""
SEEN = "(at) => { scrollTo(0, at); return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))); }"
"""Scrolls, and waits until the browser has looked at what is to be seen there, which it does once a frame."""


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window; as root it has to do without its sandbox, which is no matter for pages of our own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=PATIENCE_MS)
        try:
            yield browser
        finally:
            browser.close()


def opened(
    browser: Browser, path: Path, *, width: int = 1280, height: int = 900, scheme: str = "light", before: str = ""
) -> Page:
    """The page in a window of this size, once it has loaded; ``before`` runs before anything of its own does."""
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.set_default_timeout(PATIENCE_MS)
    page.add_init_script(before)
    page.goto(path.as_uri())
    return page


def scroll_through(page: Page) -> None:
    """From the top to the end, so that every chart is drawn, and back."""
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    at, step = 0, page.viewport_size["height"]
    while at < page.evaluate("document.documentElement.scrollHeight"):
        page.evaluate(SEEN, at)
        at += step
    page.wait_for_function(DRAWN)
    page.evaluate("window.scrollTo(0, 0)")
