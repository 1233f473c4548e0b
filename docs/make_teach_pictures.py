"""The pictures of docs/teach.md, made from the page of today.

    python docs/make_teach_pictures.py FOLDER

FOLDER has class folders of photographs; some of each class are copied, some without a class. It
needs Chromium and playwright, and is made by hand when the page changes.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

OUT = Path(__file__).resolve().parent / "teach"
N_CLASSED, N_UNSORTED = 60, 15
PATIENCE_MS = 120_000
# A reader's folder lies elsewhere.
ELSEWHERE = """(room) => {
  for (const one of document.querySelectorAll("code")) {
    one.textContent = one.textContent.replaceAll(room, "/home/me");
  }
}"""


def main(source: Path) -> None:
    """Pictures, Next and Use, in light colours."""
    chromium = shutil.which("chromium") or shutil.which("chrome")
    with tempfile.TemporaryDirectory() as room, sync_playwright() as playwright:
        folder = Path(room) / "my-project"
        copied(source, folder)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1180, "height": 720}, color_scheme="light")
        tab.set_default_timeout(PATIENCE_MS)
        with taught(folder) as url:
            tab.goto(url)
            tab.locator("#score .big").wait_for()
            tab.wait_for_function("document.querySelector('#working').hidden")
            shot(tab, "pictures")
            tab.click("#tab-next")
            tab.locator("#next figure img").first.wait_for()
            tab.keyboard.press("h")
            tab.wait_for_timeout(4000)
            shot(tab, "next")
            tab.click("#tab-use")
            tab.locator("#use button", has_text=re.compile("^Train")).first.click()
            tab.locator("#use", has_text="Export").wait_for()
            tab.wait_for_timeout(30_000)
            tab.evaluate(ELSEWHERE, room)
            shot(tab, "use", full_page=True)
        browser.close()


def copied(source: Path, folder: Path) -> None:
    """Some of each class, and some beside the classes."""
    for of_class in sorted(path for path in source.iterdir() if path.is_dir()):
        files = sorted(of_class.iterdir())[: N_CLASSED + N_UNSORTED]
        (folder / of_class.name).mkdir(parents=True)
        for place, file in enumerate(files):
            shutil.copy(file, folder / of_class.name if place < N_CLASSED else folder)


@contextmanager
def taught(folder: Path) -> Iterator[str]:
    """The address of `regraft teach`."""
    # From beside it, so that the commands on the page are short.
    command = [sys.executable, "-m", "regraft", "teach", folder.name, "--port", "0"]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen([*command, "--no-browser"], stderr=said, cwd=folder.parent)
        try:
            while not (found := re.search(r"ready at (\S+)", read(said))):
                if process.poll() is not None:
                    sys.exit(read(said))
                time.sleep(0.1)
            yield found[1]
        finally:
            process.terminate()
            process.wait(60)


def read(file: Any) -> str:
    """All of it so far."""
    file.seek(0)
    return str(file.read())


def shot(tab: Any, name: str, *, full_page: bool = False) -> None:
    """The page as it is, small."""
    with Image.open(io.BytesIO(tab.screenshot(full_page=full_page))) as seen:
        seen.convert("RGB").save(OUT / f"{name}.webp", quality=80, method=6)
    print(f"{name}: {(OUT / name).with_suffix('.webp').stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
