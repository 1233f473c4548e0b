"""The first screen of a run's page as a picture, docs/first_screen.png, for the README.

    python docs/make_picture.py RUN/report.html

It needs Chromium and playwright, and is made by hand when the page changes.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

OUT = Path(__file__).resolve().parent / "first_screen.png"


def main(page: str) -> None:
    """A window of 1100 x 640 pixels, in light colours."""
    chromium = shutil.which("chromium") or shutil.which("chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1100, "height": 640}, color_scheme="light")
        tab.goto(Path(page).resolve().as_uri())
        tab.screenshot(path=str(OUT))
        browser.close()
    with Image.open(OUT) as shot:
        # By default colours of a few pixels are lost: the lines of the baselines.
        few = shot.convert("RGB").quantize(64, method=Image.Quantize.MAXCOVERAGE)
    few.save(OUT, optimize=True)
    print(f"{OUT.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1])
