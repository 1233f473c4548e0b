"""The page of the server in Chromium: what people drop, see, and can reach without a mouse."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from regraft.server import app, models
from regraft.server.guard import Doors
from regraft.server.limits import Limits
from served import Running, serving

HOSTILE = "<img src=x onerror=document.title='run'>\" onload=alert(1) .jpg"


@pytest.fixture(scope="module")
def room(served_room: Path) -> Path:
    return served_room


@pytest.fixture(scope="module")
def server(room: Path) -> Iterator[Running]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_CACHE", str(room / "cache"))
        with serving(models.opened([room / "runs" / "r" / "model"]), Limits()) as found:
            yield found


@pytest.fixture(autouse=True)
def in_room(room: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGRAFT_CACHE", str(room / "cache"))


@pytest.fixture
def page(browser: Any, server: Running) -> Iterator[Any]:
    """The page, open; a request elsewhere, an error or a dialog fails the test."""
    yield from opened(browser, f"http://127.0.0.1:{server.port}/")


def opened(browser: Any, url: str, **options: Any) -> Iterator[Any]:
    faults: list[str] = []
    context = browser.new_context(**options)
    page = context.new_page()
    own = url.split("/")[2]
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
    page.on(
        "request",
        lambda asked: (
            None
            if asked.url.startswith(("blob:", "data:")) or asked.url.split("/")[2] == own
            else faults.append(asked.url)
        ),
    )
    page.goto(url)
    yield page
    context.close()
    assert faults == []


def files(room: Path, n: int) -> list[dict[str, Any]]:
    """Pictures as the browser's file dialogue gives them."""
    photos = sorted((room / "photos").rglob("*.jpg"))
    return [
        {
            "name": f"{k}.jpg",
            "mimeType": "image/jpeg",
            "buffer": photos[k % len(photos)].read_bytes(),
        }
        for k in range(n)
    ]


def answered(page: Any, n: int) -> list[str]:
    """The headings of n cards, once none waits."""
    page.locator("#cards > li").nth(n - 1).wait_for()
    page.locator("h3.waiting").first.wait_for(state="detached")
    while page.locator("h3.waiting").count():
        page.wait_for_timeout(50)
    return list(page.locator("#cards h3").all_inner_texts())


def test_thirty_pictures_are_dropped_at_once_and_one_is_broken(
    page: Any, server: Running, room: Path
) -> None:
    pictures = files(room, 30)
    pictures[11]["buffer"] = pictures[11]["buffer"][:300]
    given = [
        {"name": one["name"], "data": base64.b64encode(one["buffer"]).decode()} for one in pictures
    ]
    page.evaluate(
        """(given) => {
            const transfer = new DataTransfer();
            for (const { name, data } of given) {
                const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
                transfer.items.add(new File([bytes], name, { type: "image/jpeg" }));
            }
            const options = { dataTransfer: transfer, bubbles: true, cancelable: true };
            document.getElementById("drop").dispatchEvent(new DragEvent("drop", options));
        }""",
        given,
    )
    headings = answered(page, 30)
    assert [k for k, text in enumerate(headings) if text == "Cannot be read"] == [11]
    wanted = [
        server.ask("/predict?top=1", one["buffer"]).json["predictions"][0].get("label")
        for one in pictures
    ]
    assert [text for k, text in enumerate(headings) if k != 11] == wanted[:11] + wanted[12:]
    assert page.locator("#count").inner_text() == "30 pictures, 1 cannot be read"
    assert "ends early" in page.locator("li.bad .words").first.inner_text()
    assert page.locator("#cards figure:nth-child(2) img").count() == 29  # where it looked
    shares = page.locator("#cards > li").first.locator(".share").all_inner_texts()
    assert len(shares) == 3
    page.select_option("#order", "unsure")
    assert page.locator("#cards h3").first.inner_text() == "Cannot be read"


def test_heic_is_refused_as_on_the_command_line(page: Any) -> None:
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
    page.set_input_files("#files", {"name": "a.heic", "mimeType": "image/heic", "buffer": heic})
    answered(page, 1)
    text = page.locator("li.bad").inner_text()
    assert "HEIC" in text
    assert "What to do:" in text
    assert page.locator("li.bad .none").inner_text() == "no preview"


def test_names_are_inert(page: Any, room: Path) -> None:
    page.set_input_files("#files", [{**files(room, 1)[0], "name": HOSTILE}])
    answered(page, 1)
    assert page.locator(".name").inner_text() == HOSTILE
    assert page.title() == "r · Regraft"
    assert page.locator(".name img").count() == 0
    with page.expect_download() as saved:
        page.click("#save")
    page.set_input_files("#files", [{**files(room, 1)[0], "name": "=1+1.jpg"}])
    answered(page, 2)
    with page.expect_download() as saved:
        page.click("#save")
    lines = Path(saved.value.path()).read_text(encoding="utf-8-sig").splitlines()
    assert lines[0].startswith("file,label,probability")
    assert lines[2].startswith("'=1+1.jpg,")


def test_it_is_used_without_a_mouse(page: Any, room: Path) -> None:
    page.locator("#about", has_text="tells apart").wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "choose"
    with page.expect_file_chooser() as chooser:
        page.evaluate("0")  # after this round trip the browser knows that its dialog is caught
        page.keyboard.press("Enter")
    chooser.value.set_files(files(room, 3))
    answered(page, 3)
    page.locator(".remove").nth(1).focus()
    page.keyboard.press("Enter")
    assert page.locator("#cards > li").count() == 2
    assert page.evaluate("document.activeElement.className") == "remove"
    page.locator("#clear").focus()
    page.keyboard.press("Enter")
    assert page.locator("#cards > li").count() == 0
    assert page.evaluate("document.activeElement.id") == "choose"


def test_options_are_asked_for_again(page: Any, room: Path) -> None:
    page.set_input_files("#files", files(room, 2))
    answered(page, 2)
    page.uncheck("#heat")
    answered(page, 2)
    assert page.locator("#cards figure").count() == 2
    assert page.locator("#cards figure.alone").count() == 2


def test_sets_and_none_of_these_are_said_in_words(page: Any, room: Path) -> None:
    page.uncheck("#heat")
    page.set_input_files("#files", files(room, 3))
    answered(page, 3)
    page.select_option("#coverage", "0.9")
    page.locator(".words", has_text="The set").nth(2).wait_for()
    page.route(
        "**/predict*",
        lambda route: route.fulfill(
            json={"predictions": [{
                "path": "a", "label": None, "probability": 0.5, "top": [["discs", 0.5]],
                "typical": 0.004, "none_of_these": True,
            }]}
        ),
    )  # fmt: skip
    page.select_option("#coverage", "")
    page.locator("li.unknown h3", has_text="None of these").nth(2).wait_for()
    assert "only 0.4 % of those images" in page.locator("li.unknown .words").first.inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_no_serious_fault_of_access(
    browser: Any, server: Running, room: Path, scheme: str, width: int
) -> None:
    axe = pytest.importorskip("axe_playwright_python")
    size = {"width": width, "height": 800}
    url = f"http://127.0.0.1:{server.port}/"
    # The checker is a script of its own, which the page's policy would refuse.
    for page in opened(browser, url, viewport=size, color_scheme=scheme, bypass_csp=True):
        broken = {"name": "b.jpg", "mimeType": "image/jpeg", "buffer": b"\xff\xd8\xff"}
        page.set_input_files("#files", [*files(room, 2), broken])
        answered(page, 3)
        page.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
        found = page.evaluate("axe.run()")["violations"]
        serious = [one for one in found if one["impact"] in ("serious", "critical")]
        assert serious == [], json.dumps(serious, indent=1)[:3000]
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_token_is_taken_from_the_address_or_asked_for(
    browser: Any, server: Running, room: Path
) -> None:
    doors = Doors(token="s3cret", open_paths=app.OPEN_PATHS)
    with serving(server.service.models, doors=doors) as guarded:
        url = f"http://127.0.0.1:{guarded.port}/"
        for page in opened(browser, f"{url}#token=s3cret"):
            page.locator("#about", has_text="tells apart").wait_for()
            assert page.url == url
            page.set_input_files("#files", files(room, 1))
            answered(page, 1)
        for page in opened(browser, url):
            page.fill("#token", "wrong")
            page.keyboard.press("Enter")
            page.locator("#door-says", has_text="not the server's").wait_for()
            page.fill("#token", "s3cret")
            page.keyboard.press("Enter")
            page.locator("#about", has_text="tells apart").wait_for()


def test_the_camera_gives_a_picture_or_says_why_not(browser: Any, server: Running) -> None:
    url = f"http://127.0.0.1:{server.port}/"
    for page in opened(browser, url):
        page.evaluate(
            """() => {
                navigator.mediaDevices.getUserMedia = async () => {
                    const canvas = document.createElement("canvas");
                    canvas.getContext("2d").fillRect(8, 8, 30, 30);
                    return canvas.captureStream(10);
                };
            }"""
        )
        page.click("#camera")
        page.locator("#shoot:enabled").wait_for()
        page.click("#shoot")
        page.locator("#shutter-says", has_text="taken").wait_for()
        page.click("#shut")
        assert len(answered(page, 1)) == 1
        assert page.locator(".name").inner_text() == "camera 1.jpg"
        page.evaluate(
            "() => { navigator.mediaDevices.getUserMedia = async () => "
            "{ throw new DOMException('', 'NotFoundError'); }; }"
        )
        page.click("#camera")
        page.locator("#shutter-says", has_text="No camera was found").wait_for()
