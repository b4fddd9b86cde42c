"""Debian's chromium, driven by playwright, looking at a page; what tests and benchmarks of the report share."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
"""None: there is none on this machine."""
PATIENCE_MS = 120_000  # only a broken page ever lets one wait that long
DRAWN = "document.documentElement.dataset.drawn === 'all'"
"""Whether all charts are there."""


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


def wait_until_drawn(page: Page) -> None:
    """Until every chart is there; nothing is scrolled."""
    page.wait_for_function(DRAWN)
