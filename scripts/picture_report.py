"""Writes a picture of the top of a report, after ``make demo``: ``python scripts/picture_report.py demo_results``.

The picture is docs/pictures/report.png, unless the command has another path after the directory.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the browser

from PIL import Image

from browsing import chromium, opened, wait_until_drawn

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "report.png"


def main() -> None:
    """Takes the picture of the page in the directory that is named."""
    picture = Path(sys.argv[2]) if len(sys.argv) > 2 else PICTURE
    with chromium() as browser:
        page = opened(browser, Path(sys.argv[1]).absolute() / "report.html", width=1200, height=1560)
        wait_until_drawn(page)
        page.screenshot(path=picture)
    Image.open(picture).quantize(256).save(picture, optimize=True)


if __name__ == "__main__":
    main()
