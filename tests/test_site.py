"""The documentation's site: built strictly, opened in a browser, nothing from elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mkdocs")
ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(make_room: Callable[[str], Path]) -> Path:
    """A broken link, anchor or name of the API ends the building."""
    folder = make_room("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "-d", str(site)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdout is not None
    port = server.stdout.readline().split(" port ")[1].split()[0]
    yield f"http://127.0.0.1:{port}"
    server.terminate()
    server.wait()
    server.stdout.close()


def test_the_first_page_is_the_readme_and_the_api_is_that_of_the_docstrings(site: Path) -> None:
    index = (site / "index.html").read_text(encoding="utf-8")
    assert "turns a folder of photographs into a tested image classifier" in index
    assert 'href="tutorials/"' in index
    api = (site / "api" / "index.html").read_text(encoding="utf-8")
    for name in ("Classifier", "ImageClassifier", "RunConfig", "predict_proba"):
        assert name in api


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_no_page_complains_or_asks_elsewhere(
    browser: Any, address: str, site: Path, width: int, scheme: str
) -> None:
    tab = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    wrong: list[str] = []
    tab.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("request", lambda r: None if r.url.startswith(address) else wrong.append(r.url))
    pages = sorted(path.parent.relative_to(site).as_posix() for path in site.glob("*/index.html"))
    assert len(pages) >= 12
    for page in [".", *pages]:
        tab.goto(f"{address}/{page}/", wait_until="load")
        is_wider = tab.evaluate("document.documentElement.scrollWidth > window.innerWidth + 1")
        assert not is_wider, f"{page} at {width} px has to be scrolled sideways"
    tab.close()
    assert wrong == []
