"""The page of `regraft teach` in Chromium: taught by mouse and by keys, in two tabs, mended."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from regraft.server.guard import Doors
from regraft.server.teach_app import OPEN_PATHS
from served import Running
from taught import room_of, teaching
from test_server_page import HOSTILE, opened


@pytest.fixture(scope="module")
def drawn(make_room: Callable[[str], Path], make_photos: Callable[..., Path]) -> Path:
    return make_photos(make_room("drawn"), classes=("discs", "stripes"), n=16, size_px=64)


@pytest.fixture(scope="module")
def unsorted(make_room: Callable[[str], Path], make_photos: Callable[..., Path]) -> Path:
    """Pictures in one folder, of both shapes."""
    root = make_photos(make_room("more"), classes=("discs", "stripes"), n=8, seed=1, size_px=64)
    (root / "all").mkdir()
    for path in sorted(root.rglob("*.jpg")):
        path.rename(root / "all" / path.name)
    return root / "all"


@pytest.fixture
def server(engine_cache: Path, tmp_path: Path) -> Iterator[Running]:
    with teaching(tmp_path / "taught") as found:
        yield found


@pytest.fixture
def page(browser: Any, server: Running) -> Iterator[Any]:
    yield from opened(browser, f"http://127.0.0.1:{server.port}/")


def fill(page: Any, drawn: Path) -> None:
    page.set_input_files("#folder", drawn)
    page.locator("#score .big").wait_for()


def choose(page: Any, folder: Path) -> None:
    page.set_input_files("#files", sorted(folder.iterdir()))


def test_a_folder_becomes_a_score_and_a_picture_is_tried(
    page: Any, server: Running, drawn: Path
) -> None:
    page.locator("#score", has_text="add a first class").wait_for()
    fill(page, drawn)
    assert "set aside" in page.locator("#score").inner_text()
    assert page.locator("#classes .name").all_inner_texts() == [
        "All pictures", "Without a class", "discs", "stripes",
    ]  # fmt: skip
    page.click("#tab-score")
    assert page.locator("#scored .range").count() == 2
    page.click("#tab-try")
    page.set_input_files("#try-files", sorted((drawn / "discs").iterdir())[0])
    page.locator("#cards h3", has_text="discs").wait_for()
    assert page.locator("#cards .near figure").count() == 4


def test_it_is_taught_by_keys_alone(page: Any, server: Running, unsorted: Path) -> None:
    choose(page, unsorted)
    page.locator(".tile").nth(15).wait_for()
    for name in ("discs", "stripes"):
        page.focus("#new-name")
        page.keyboard.type(name)
        page.keyboard.press("Enter")
        page.locator("#classes .name", has_text=name).wait_for()
    page.focus("#grid")
    page.keyboard.press("Home")
    for _ in range(7):
        page.keyboard.press("Shift+ArrowRight")
    assert page.locator("#chosen-words").inner_text() == "8 chosen"
    page.keyboard.press("1")
    page.locator("#classes li", has_text="discs").locator(".n", has_text="8").wait_for()
    page.keyboard.press("g")
    page.keyboard.press("n")
    page.locator("#next .shown").wait_for()
    project = room_of(server).project
    for n in range(3):
        page.locator("#next .choices").wait_for()
        page.keyboard.press("2")
        page.wait_for_function(
            "(n) => document.querySelector('#classes li:last-child .n').textContent === n",
            arg=str(n + 1),
        )
    page.keyboard.press("Control+z")
    page.locator("#classes li", has_text="stripes").locator(".n", has_text="2").wait_for()
    assert sum(one.label == "stripes" for one in project.shown()) == 2
    page.keyboard.press("Control+Shift+Z")
    page.locator("#classes li", has_text="stripes").locator(".n", has_text="3").wait_for()


def test_a_wrong_label_is_mended_with_one_key(page: Any, server: Running, drawn: Path) -> None:
    fill(page, drawn)
    room = room_of(server)
    wrong = next(one for one in room.project.shown() if one.label == "discs" and not one.is_held)
    room.project.label([wrong.number], "stripes")
    room.changed()
    page.locator("#n-mend", has_text="1").wait_for()
    page.click("#tab-mend")
    page.locator("#mend h2", has_text="stripes? Or discs?").wait_for()
    page.keyboard.press("Enter")
    page.locator("#mend", has_text="No label looks wrong").wait_for()
    page.wait_for_function("() => !document.querySelector('#n-mend').textContent")
    assert room.project.pictures[wrong.number].label == "discs"


def test_two_tabs_see_each_other_and_names_are_inert(
    page: Any, browser: Any, server: Running, drawn: Path
) -> None:
    data = next((drawn / "discs").iterdir()).read_bytes()
    name = "<img src=x onerror=document.title='run'>"
    for other in opened(browser, f"http://127.0.0.1:{server.port}/"):
        page.set_input_files("#files", {"name": HOSTILE, "mimeType": "image/jpeg", "buffer": data})
        other.locator(".tile").first.wait_for()
        other.fill("#new-name", name)
        other.keyboard.press("Enter")
        other.locator("#says.bad", has_text="becomes a folder").wait_for()
        other.fill("#new-name", "'\"&lt; amp;")
        other.keyboard.press("Enter")
        other.locator("#says.bad").wait_for()
        other.fill("#new-name", "a & 'b' &lt;")
        other.keyboard.press("Enter")
        page.locator("#classes .name", has_text="a & 'b' &lt;").wait_for()
        assert page.title() == other.title() == "taught · Regraft"
        assert other.locator("#classes img, #grid .of img").count() == 0


def test_after_an_answer_the_first_of_the_newest_list_comes(
    page: Any, server: Running, drawn: Path
) -> None:
    """The picture that is shown stays, wherever a new list has it; it is not gone on from there."""
    fill(page, drawn)
    seen = page.evaluate(
        """async () => {
          const { Asking } = await import(new URL("page/asking.js", location.href));
          const { state } = await import(new URL("page/state.js", location.href));
          const [a, b, c, d] = [...state.pictures.keys()];
          const asking = new Asking({ host: document.createElement("div"), empty: () => "" });
          const now = () => [a, b, c, d].indexOf(asking.current.number);
          const list = (...numbers) => numbers.map((number) => ({ number, choices: [] }));
          const seen = [];
          asking.show(list(a, b, c, d)); seen.push(now());
          asking.pass(); seen.push(now());
          asking.show(list(d, b, c)); seen.push(now());
          asking.pass(); seen.push(now());
          asking.show(list(a, b, c));
          asking.key(new KeyboardEvent("keydown", { key: "ArrowRight" }));
          asking.pass(); seen.push(now());
          return seen;
        }"""
    )
    assert seen == [0, 1, 1, 3, 2]


def test_a_closer_look_goes_on_and_labels_by_keys(page: Any, server: Running, drawn: Path) -> None:
    fill(page, drawn)
    page.focus("#grid")
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.locator("#viewer .large").wait_for()
    name = page.locator("#viewer-name").inner_text()
    page.keyboard.press("ArrowRight")
    assert page.locator("#viewer-name").inner_text() != name
    page.keyboard.press("2")
    page.locator("#viewer-body", has_text="stripes").wait_for()
    assert sum(one.label == "stripes" for one in room_of(server).project.shown()) == 17


def test_keys_act_on_the_picture_that_was_looked_at_last(
    page: Any, server: Running, drawn: Path
) -> None:
    fill(page, drawn)
    page.focus("#grid")
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.locator("#viewer .large").wait_for()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    name = page.locator("#viewer-name").inner_text()
    page.keyboard.press("Escape")
    page.keyboard.press("Delete")
    page.locator("#says", has_text="Removed 1 picture.").wait_for()
    (gone,) = [one for one in room_of(server).project.pictures.values() if one.is_removed]
    assert gone.path.endswith(f"-{name}")  # a number before it keeps names in the trash apart


def test_a_double_click_opens_the_picture_that_was_clicked(page: Any, drawn: Path) -> None:
    fill(page, drawn)
    tile = page.locator("#grid .tile").nth(9)
    words = tile.get_attribute("aria-label")
    tile.dblclick(position={"x": 20, "y": 6})  # no bar that comes with the first moves the tile
    page.locator("#viewer .large").wait_for()
    assert words.startswith(f"{page.locator('#viewer-name').inner_text()},")
    assert page.locator("#chosen-bar").is_hidden()


def test_pictures_go_into_the_class_that_is_looked_at(
    page: Any, server: Running, unsorted: Path
) -> None:
    page.fill("#new-name", "ants")
    page.keyboard.press("Enter")
    page.locator("#classes .pick", has_text="ants").click()
    choose(page, unsorted)
    page.locator("#says", has_text="16 pictures added to ants.").wait_for()
    page.locator("#grid-words", has_text="16 pictures in ants").wait_for()
    assert {one.label for one in room_of(server).project.shown()} == {"ants"}


def test_the_link_to_the_pictures_leads_to_them(page: Any, drawn: Path) -> None:
    fill(page, drawn)
    page.click("#tab-use")
    page.keyboard.press("Tab")
    page.locator(".skip").press("Enter")
    page.keyboard.press("Space")
    assert page.locator("#chosen-words").inner_text() == "1 chosen"


def test_next_suggests_as_soon_as_there_is_a_model_and_keeps_what_is_shown(
    page: Any, server: Running, unsorted: Path
) -> None:
    room = room_of(server)
    choose(page, unsorted)
    page.locator(".tile").nth(15).wait_for()
    page.locator("#working").wait_for(state="hidden")
    page.click("#tab-next")
    page.locator("#next .strip button").nth(15).wait_for()
    free = {one.path: one for one in room.project.shown() if not one.is_held}
    while (name := page.locator("#next figcaption").first.inner_text()) not in free:
        page.keyboard.press("k")  # one that is set aside, of which the model says nothing
    labels = {one.number: path.split("_")[0] for path, one in free.items() if path != name}
    some = [n for kind in ("discs", "stripes") for n in labels if labels[n] == kind][::2]
    room.project.label_each({n: labels[n] for n in some})
    room.changed()
    page.locator("#next", has_text="The model would say").wait_for()
    assert page.locator("#next figcaption").first.inner_text() == name
    assert page.locator("#next .choices .best").count() == 1


def test_what_is_exported_far_below_is_seen_to_run(page: Any, server: Running, drawn: Path) -> None:
    page.set_viewport_size({"width": 390, "height": 500})
    fill(page, drawn)
    page.click("#tab-use")
    page.get_by_role("button", name="Keep the model of now").click()
    page.locator("#says", has_text="Kept as quick-").wait_for()
    assert page.locator("#models").get_by_role("link", name="Download model").is_visible()
    page.route("**/api/export", lambda route: route.fulfill(json={}))
    page.get_by_role("button", name="Export", exact=True).click()
    page.wait_for_function(
        "() => { const { top } = document.querySelector('#job').getBoundingClientRect();"
        " return top >= 0 && top < innerHeight; }"
    )


def test_a_token_is_taken_from_the_address(
    browser: Any, engine_cache: Path, tmp_path: Path, unsorted: Path
) -> None:
    doors = Doors(token="s3cret", open_paths=OPEN_PATHS)
    with teaching(tmp_path / "taught", doors) as server:
        for page in opened(browser, f"http://127.0.0.1:{server.port}/#token=s3cret"):
            choose(page, unsorted)
            page.wait_for_function(
                "() => document.querySelectorAll('.tile img').length === 16 &&"
                " [...document.images].every((one) => !one.complete || one.naturalWidth)"
            )
            room_of(server).project.add_class("ants")
            room_of(server).changed()
            page.locator("#classes .name", has_text="ants").wait_for()


def test_bad_files_are_named_on_the_page(page: Any) -> None:
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
    page.set_input_files("#files", {"name": "a.heic", "mimeType": "image/heic", "buffer": heic})
    page.locator("#refused li", has_text="a.heic: not an image that is read: a HEIC").wait_for()


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
@pytest.mark.slow  # six views are drawn, and each is gone through
def test_no_serious_fault_of_access(
    browser: Any, server: Running, drawn: Path, unsorted: Path, width: int, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python")
    script = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    size, url = {"width": width, "height": 800}, f"http://127.0.0.1:{server.port}/"
    for page in opened(browser, url, viewport=size, color_scheme=scheme, bypass_csp=True):
        fill(page, drawn)
        choose(page, unsorted)
        page.locator("#n-next", has_text="16").wait_for()
        page.evaluate(script)
        for tab in ("pictures", "next", "mend", "score", "try", "use"):
            page.click(f"#tab-{tab}")
            page.wait_for_timeout(300)
            found = page.evaluate("axe.run()")["violations"]
            serious = [one for one in found if one["impact"] in ("serious", "critical")]
            assert serious == [], json.dumps(serious, indent=1)[:3000]
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_only_the_tiles_on_the_screen_exist(page: Any) -> None:
    """Ten thousand pictures, as the server would tell of them."""
    rows = [[n, f"ants/{n}.jpg", 0, "0"] for n in range(1, 10_001)]
    told = {
        "version": 10_000, "is_all": True, "folder": "many", "place": "/many", "classes": ["ants"],
        "pictures": rows, "removed": [], "bad": {}, "left_out": {}, "undo": "", "redo": "",
        "trouble": "",
    }  # fmt: skip
    page.route("**/api/pictures*", lambda route: route.fulfill(json=told))
    page.route("**/small/*", lambda route: route.fulfill(status=204))
    page.reload()
    page.locator("#grid-words", has_text="10,000 pictures").wait_for()
    assert page.locator(".tile").count() < 120
    page.focus("#grid")
    page.keyboard.press("End")
    page.locator("#tile-10000").wait_for()
    assert page.locator(".tile").count() < 120
    assert page.locator("#grid").get_attribute("aria-activedescendant") == "tile-10000"
