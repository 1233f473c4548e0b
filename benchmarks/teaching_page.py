"""The page of `regraft teach`, timed in Chromium: to a first score, and from a label to the next.

    python benchmarks/teaching_page.py first FOLDER      two class folders, thirty pictures each
    python benchmarks/teaching_page.py many FOLDER       thousands of pictures in class folders
    python benchmarks/teaching_page.py mend FOLDER [--seeds 10]      wrong labels mended by keys

A server is started for each, and the page is driven as a person drives it. ``many`` takes the
labels of six pictures away and gives others, one at a time, and measures until the new score is
drawn; then it walks through the views, and asks how much memory server and tab hold. ``mend``
plants twenty wrong labels, opens Mend by its keys, and does with each picture what a person does
who knows them: Enter or a number where the label is wrong (K where its class has none), K where
it is right. FOLDER is copied,
so nothing of it is touched.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

PATIENCE_S = 900
N_PLANTED, N_KEYS = 20, 30
# Acts on one tile, and waits until the score of another lesson is drawn.
ACT = """async ([place, key]) => {
  const score = document.querySelector('#score');
  const was = score.dataset.version;
  const drawn = new Promise((resolve) => {
    const watch = new MutationObserver(() => {
      if (score.dataset.version === was) return;
      watch.disconnect();
      requestAnimationFrame(() => resolve(performance.now()));
    });
    watch.observe(score, { attributes: true });
  });
  const grid = document.querySelector('#grid');
  const tile = document.querySelectorAll('.tile')[place];
  const first = document.querySelector('#classes li:nth-child(3) .name').textContent;
  const other = tile.querySelector('.of').textContent === first ? '2' : '1';
  tile.click();
  const start = performance.now();
  grid.dispatchEvent(new KeyboardEvent('keydown', { key: key || other, bubbles: true }));
  return await drawn - start;
}"""


@contextlib.contextmanager
def taught(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """`regraft teach` of a folder: its address and its process."""
    command = [sys.executable, "-m", "regraft", "teach", folder, "--port", "0", "--no-browser"]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen([*map(str, command)], stderr=said)
        try:
            yield _address(said, process), process
        finally:
            process.terminate()
            process.wait(60)


def _address(said: Any, process: subprocess.Popen[bytes]) -> str:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and process.poll() is None:
        said.seek(0)
        if found := re.search(r"ready at (\S+)", said.read()):
            return found[1]
        time.sleep(0.05)
    said.seek(0)
    raise SystemExit(said.read())


def mebibytes(pid: int) -> tuple[int, int]:
    """Of a process: now, and at most so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    now, most = (int(re.search(rf"{name}:\s+(\d+)", status)[1]) for name in ("VmRSS", "VmHWM"))  # type: ignore[index]
    return now // 1024, most // 1024


def of_renderers() -> int:
    """MiB of the browser's largest tab."""
    lines = subprocess.run(["ps", "-eo", "rss,args"], capture_output=True, text=True, check=True)
    rows = [line.split(None, 1) for line in lines.stdout.splitlines() if "type=renderer" in line]
    return max(int(kib) for kib, _ in rows) // 1024


def first(page: Any, url: str, folder: Path) -> None:
    """An empty folder, sixty photographs, a score."""
    page.goto(url)
    page.locator("#score", has_text="add a first class").wait_for()
    start = time.perf_counter()
    page.set_input_files("#folder", folder)
    page.locator("#score .big").wait_for(timeout=1000 * PATIENCE_S)
    print(f"to the score: {time.perf_counter() - start:.2f} s")
    page.wait_for_timeout(3000)
    print("it says:", page.locator("#score").inner_text().replace("\n", " "))


def wait_until_all_teach(page: Any, folder: Path) -> int:
    """How many pictures there are. Before, it has learnt from those that were looked at first, and
    can list no wrong label of the others."""
    n = sum(path.is_file() for path in folder.glob("*/*") if path.parent.name != ".regraft")
    while page.evaluate("fetch('api/lesson').then((r) => r.json())")["n_teaching"] < 0.75 * n:
        page.wait_for_timeout(1000)  # a fifth is set aside
    return n


def many(page: Any, url: str, folder: Path, pid: int) -> None:
    """Labels changed among thousands of pictures."""
    start = time.perf_counter()
    page.goto(url)
    page.locator(".tile").first.wait_for()
    print(f"the grid is drawn after {time.perf_counter() - start:.2f} s")
    n = wait_until_all_teach(page, folder)
    page.wait_for_timeout(10_000)
    seconds = time.perf_counter() - start - 10
    print(f"{n} pictures seen and learnt after {seconds:.0f} s; server {mebibytes(pid)} MiB")
    page.wait_for_timeout(5000)
    for words, keys in (("another label", [""] * 6), ("no label", ["0"] * 3)):
        found = []
        for place, key in enumerate(keys):
            found.append(page.evaluate(ACT, [place + (20 if key else 0), key]))
            page.wait_for_timeout(1500)
        print(f"{words}, to the new score: {sorted(round(ms) for ms in found)} ms")
    for tab in ("next", "mend", "score", "pictures"):
        page.click(f"#tab-{tab}")
        page.wait_for_timeout(2000)
    for _ in range(60):
        page.mouse.wheel(0, 1500)
        page.wait_for_timeout(30)
    page.wait_for_timeout(2000)
    heap = page.evaluate("performance.memory.usedJSHeapSize") / 2**20
    tiles = page.locator(".tile").count()
    print(f"tab: {of_renderers()} MiB, of it {heap:.0f} MiB the page's own; {tiles} tiles")
    print(f"server, now and at most: {mebibytes(pid)} MiB")


def planted(source: Path, folder: Path, seed: int) -> dict[str, str]:
    """A copy with twenty wrong labels: the class of each file by its new name."""
    rng, true_of = random.Random(seed), {}
    paths = sorted(path for path in source.glob("*/*") if path.is_file())
    classes = sorted({path.parent.name for path in paths})
    wrong = set(rng.sample(paths, N_PLANTED))
    for number, path in enumerate(paths):
        own = path.parent.name
        given = rng.choice([one for one in classes if one != own]) if path in wrong else own
        (folder / given).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / given / f"{number}{path.suffix}")
        true_of[f"{number}{path.suffix}"] = own
    return true_of


def mend(page: Any, url: str, folder: Path, true_of: dict[str, str]) -> int:
    """How many of the planted labels thirty keystrokes mend, two of them to open the list."""
    page.goto(url)
    page.locator("#score .big").wait_for(timeout=1000 * PATIENCE_S)
    wait_until_all_teach(page, folder)
    page.wait_for_timeout(3000)
    classes = sorted(path.name for path in folder.iterdir() if path.name != ".regraft")
    for key in ("g", "m"):
        page.keyboard.press(key)
    page.locator("#mend figcaption").first.wait_for()
    for _ in range(N_KEYS - 2):
        page.wait_for_timeout(600)  # as long as a person looks, at least
        shown = page.locator("#mend figcaption")
        if not shown.count():
            break
        given, name = shown.first.inner_text().split("/")
        best = page.locator("#mend .choices .best span").first.inner_text()
        true = true_of[name]
        number = classes.index(true) + 1
        chosen = "Enter" if true == best else str(number) if number < 10 else "k"
        page.keyboard.press("k" if true == given else chosen)
    page.wait_for_timeout(2000)
    left = sum(not (folder / true / name).exists() for name, true in true_of.items())
    return N_PLANTED - left


def main() -> None:
    """As the first lines say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["first", "many", "mend"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="the first of them")
    given = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as room, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 850})
        n_seeds = given.seeds if given.what == "mend" else 1
        for seed in range(given.seed, given.seed + n_seeds):
            folder, true_of = Path(room) / f"taught-{seed}", dict[str, str]()
            if given.what == "many":
                shutil.copytree(given.folder, folder, ignore=shutil.ignore_patterns(".regraft"))
            elif given.what == "mend":
                true_of = planted(given.folder, folder, seed)
            with taught(folder) as (url, process):
                if given.what == "first":
                    first(page, url, given.folder)
                elif given.what == "many":
                    many(page, url, folder, process.pid)
                else:
                    print(f"seed {seed}: {mend(page, url, folder, true_of)} mended", flush=True)
        browser.close()


if __name__ == "__main__":
    main()
