"""Writes docs/pictures/report.png, a report's top: ``python scripts/picture_report.py demo_results``, after ``make demo``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the browser

from PIL import Image

from browsing import chromium, opened, wait_until_drawn

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "report.png"


def main() -> None:
    """Takes the picture of the page in the directory that is named."""
    with chromium() as browser:
        page = opened(browser, Path(sys.argv[1]).absolute() / "report.html", width=1200, height=1560)
        wait_until_drawn(page)
        page.screenshot(path=PICTURE)
    Image.open(PICTURE).quantize(256).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
