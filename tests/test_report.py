"""The page of a run: whole, inert, small, drawn from the run's folder alone; and the comparison."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from regraft.cli.main import cli
from regraft.errors import TableError, UsageError
from regraft.evaluation.confusion import Confusion
from regraft.record.configuration import RunConfig
from regraft.record.run_folder import REPORT
from regraft.report import drawings, evidence, finished_run, page, pictures
from regraft.report.comparison import Comparison
from regraft.report.evidence import Evidence
from regraft.report.said import Said, classes_with_curves
from regraft.workflows import experiment, reporting

Write = Callable[..., Path]

SECTIONS = (
    "result", "trust-card", "next", "trust", "mistakes", "classes", "confusion", "sureness",
    "doubts", "labels", "data", "layers", "map", "run",
)  # fmt: skip
HOSTILE = ("<script>alert(1)<⁄script>", 'b" onload="alert(2)', "<img src=x onerror=alert(3)>")


@pytest.fixture(scope="module")
def room(
    make_room: Callable[[str], Path], put_engines: Callable[[Path], object], make_photos: Write
) -> Iterator[Path]:
    """Runs with hostile names: a probe on final features alone, and one on all stages."""
    folder = make_room("report")
    photos = make_photos(folder / "plain", splits={"train": 9, "val": 6})
    for split in ("train", "val"):
        for old, new in zip(("discs", "squares", "stripes"), HOSTILE, strict=True):
            shutil.copytree(photos / split / old, folder / "photos" / split / new)
    train = folder / "photos" / "train" / HOSTILE[0]
    first = sorted(train.iterdir())[0]
    first.rename(train / "<b onmouseover=alert(4)>.jpg")
    # A label that is wrong, a copy across splits, and a file that is no image.
    wrong = sorted((folder / "photos" / "train" / HOSTILE[1]).iterdir())[0]
    wrong.rename(train / "a_square_in_fact.jpg")
    shutil.copy(train / "<b onmouseover=alert(4)>.jpg", folder / "photos" / "val" / HOSTILE[0])
    (train / "broken<i>.jpg").write_bytes(b"\xff\xd8\xff")
    put_engines(folder / "cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        for name, taps in (("one", ["final"]), ("two", ["all"])):
            result = experiment.run(RunConfig("photos", taps=taps), name=name)
            reporting.report_on(result)
        chosen = experiment.run(RunConfig("photos"), name="chosen")
        reporting.report_on(chosen)
        yield folder


@pytest.fixture(scope="module")
def tuned(room: Path, make_photos: Write) -> Path:
    """The page of a run that trained, on a small network with random weights."""
    make_photos(room / "shapes", splits={"train": 30, "val": 5})
    training = {"epochs": 2, "split_point": "layer3", "image_size": 64, "augment": "light"}
    config = RunConfig("shapes", method="partial", backbone="random:test_resnet", training=training)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_CACHE", str(room / "cache"))
        patch.chdir(room)
        return reporting.report_on(experiment.run(config, name="tuned")).absolute()


@pytest.fixture(scope="module")
def many(room: Path) -> Path:
    """The page of a run on 200 classes, some of them in other scripts."""
    random = np.random.default_rng(0)
    for k in range(200):
        colour = random.integers(0, 255, 3)
        for split, n in (("train", 2), ("test", 1)):
            folder = room / "many" / split / f"{k:03d} {chr(0x391 + k)}"
            folder.mkdir(parents=True)
            for i in range(n):
                pixels = np.clip(colour + random.normal(0, 20, (24, 24, 3)), 0, 255)
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_CACHE", str(room / "cache"))
        patch.chdir(room)
        return reporting.report_on(experiment.run(RunConfig("many"), name="many")).absolute()


def text_of(room: Path, name: str = "chosen") -> str:
    return (room / "runs" / name / REPORT).read_text(encoding="utf-8")


def test_every_section_is_there_and_every_link_leads_to_one(room: Path) -> None:
    text = text_of(room)
    ids = set(re.findall(r'id="([^"]+)"', text))
    assert set(SECTIONS) <= ids
    assert set(re.findall(r'href="#([^"]+)"', text)) <= ids


def test_nothing_is_loaded_from_outside(room: Path) -> None:
    text = text_of(room)
    links = re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)""", text)
    assert links
    assert all(link.startswith(("data:", "#")) for link in links)
    assert "default-src &#39;none&#39;" in text or "default-src 'none'" in text


def test_names_are_text_and_never_markup(room: Path) -> None:
    text = text_of(room)
    for name in HOSTILE:
        assert name not in text
    assert "<b onmouseover" not in text
    assert "&lt;img src=x onerror=alert(3)&gt;" in text
    data = re.search(r'id="map-data">(.*?)</script>', text, re.S)
    assert data is not None
    assert any(HOSTILE[2] in point for point in json.loads(data.group(1)))


def test_it_says_the_score_the_interval_the_trust_and_the_next_step(room: Path) -> None:
    text = text_of(room)
    metrics = json.loads((room / "runs/chosen/metrics.json").read_text())
    accuracy = metrics["evaluation"]["accuracy"]
    for value in ("value", "low", "high"):
        shown = "100" if accuracy[value] == 1 else f"{100 * accuracy[value]:.1f}"
        assert f"{shown}\N{NO-BREAK SPACE}%" in text
    assert "1 of 19 val images leaked" in text  # the planted copy
    assert "1 rejected file" in text
    assert "regraft predict runs/chosen/model" in text


def test_planted_copies_stand_side_by_side(room: Path) -> None:
    pairs = Evidence.load(room / "runs/chosen").content["pairs"]  # type: ignore[union-attr]
    first = pairs["first"][0]
    assert first["kind"] == "exact"
    assert {side["split"] for side in first["sides"]} == {"train", "val"}
    assert "across splits" in text_of(room)


def test_a_wrong_label_is_listed_first(room: Path) -> None:
    issues = Evidence.load(room / "runs/chosen").content["label_issues"]  # type: ignore[union-attr]
    assert issues["first"][0]["path"].endswith("a_square_in_fact.jpg")
    assert issues["first"][0]["suggested"] == HOSTILE[1]


def test_the_run_folder_alone_draws_the_same_page(room: Path, tmp_path: Path) -> None:
    shutil.copytree(room / "runs" / "chosen", tmp_path / "chosen")
    (tmp_path / "chosen" / REPORT).unlink()
    drawn = page.write(tmp_path / "chosen")  # no photos, no store
    here, there = drawn.read_text(), text_of(room)
    assert here.replace(str(tmp_path / "chosen"), "runs/chosen") == there


def test_without_the_probabilities_of_all_classes_the_page_is_the_same(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of many images and classes, whose probabilities would be gigabytes in each run."""
    kept = Evidence.load(room / "runs/chosen")
    assert kept is not None
    metrics = json.loads((room / "runs/chosen/metrics.json").read_text())
    said = Said.of(
        kept.proba, temperature=metrics["chosen"]["temperature"],
        codes=classes_with_curves(metrics["evaluation"]),
    )  # fmt: skip
    shutil.copytree(room / "runs/chosen", tmp_path / "chosen")
    replace(kept, proba=None, said=said).save(tmp_path / "chosen")
    again = Evidence.load(tmp_path / "chosen")
    assert again is not None
    assert again.proba is None
    drawn = page.write(tmp_path / "chosen").read_text()
    assert drawn.replace(str(tmp_path / "chosen"), "runs/chosen") == text_of(room)
    both = Comparison([room / "runs/chosen", tmp_path / "chosen"])
    np.testing.assert_array_equal(both.is_right(0), both.is_right(1))


def test_many_probabilities_are_not_kept(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGRAFT_CACHE", str(room / "cache"))
    monkeypatch.chdir(room)
    monkeypatch.setattr(evidence, "MOST_PROBABILITIES", 5)
    drawn = reporting.report_on(experiment.run(RunConfig("photos"), name="wide"))
    kept = Evidence.load(room / "runs/wide")
    assert kept is not None
    assert kept.proba is None
    for part in ("How sure it is", "ROC, precision and recall", "Mistakes, and where it looked"):
        assert part in drawn.read_text()


def test_of_very_many_classes_the_weakest_are_listed_and_drawn(
    many: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "of 200 classes, by F1" not in many.read_text()
    monkeypatch.setattr(finished_run, "MOST_LISTED", 30)
    few = page.write(many.parent, tmp_path / "few.html").read_text()
    assert few.count("The weakest 30 of 200 classes, by F1; metrics.json has all.") >= 2
    rows = json.loads((many.parent / "metrics.json").read_text())["evaluation"]["per_class"]
    worst = sorted(rows, key=lambda row: (row["f1"]["value"] is None, row["f1"]["value"] or 0))
    table = few.partition('<section id="classes">')[2].partition("</section>")[0]
    assert f'<td class="name">{worst[0]["label"]}</td>' in table
    assert f'<td class="name">{worst[-1]["label"]}</td>' not in table
    assert table.count("<tr>") == 31


def test_of_many_mistakes_the_most_frequent_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = np.diag([9, 8, 7, 6]) + np.triu(np.arange(16).reshape(4, 4), 1)
    counted, names = Confusion.of_matrix(matrix), ["ant", "bee", "cow", "dog"]
    whole = drawings.confusion(counted, names)
    monkeypatch.setattr(drawings, "MOST_MISTAKEN", 2)
    few = drawings.confusion(counted, names)
    assert (whole.count("cell wrong"), few.count("cell wrong")) == (6, 2)
    assert "11 cow predicted as dog" in few
    assert "7 bee predicted as dog" in few
    monkeypatch.setattr(drawings, "MOST_RIGHT", 3)
    of_line = drawings.confusion(counted, names)
    assert (few.count("cell right"), of_line.count("cell right")) == (4, 1)
    assert "<polygon" in of_line
    assert "<polygon" not in few


def test_a_run_made_without_a_report_is_looked_at_again(
    room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGRAFT_CACHE", str(room / "cache"))
    monkeypatch.chdir(room)
    kept = Evidence.load(room / "runs/chosen")
    shutil.copytree("runs/chosen", "runs/without")
    for name in ("evidence.json", "evidence.safetensors", REPORT):
        (room / "runs/without" / name).unlink()
    result = CliRunner().invoke(cli, ["report", "runs/without", "--json"])
    assert result.exit_code == 0, result.output
    again = Evidence.load(room / "runs/without")
    assert kept is not None
    assert again is not None
    assert again.content["label_issues"] == kept.content["label_issues"]
    np.testing.assert_allclose(again.proba, kept.proba, atol=1e-5)


def test_two_runs_are_compared_on_the_same_images(
    room: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(room)
    out = tmp_path / "c.html"
    result = CliRunner().invoke(
        cli, ["report", "runs/one", "runs/two", "--json", "--out", str(out)]
    )
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["n"] == 19
    test = told["against_first"][0]
    right = [round(run["accuracy"] * told["n"]) for run in told["runs"]]
    assert test["only_a"] - test["only_b"] == right[1] - right[0]
    assert len(told["disputed"]) == test["only_a"] + test["only_b"]
    assert out.read_text().count("<tr>") >= 3


def test_runs_are_compared_by_the_groups_of_their_data(
    room: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nineteen photographs of one plant say of one plant which run is better."""
    monkeypatch.chdir(room)
    alone, _ = reporting.compare(["runs/one", "runs/two"], out="alone.html")
    for name in ("one", "two"):
        folder = shutil.copytree(f"runs/{name}", tmp_path / name)
        first, *rows = (folder / "predictions.csv").read_text(encoding="utf-8").splitlines()
        lines = [f"{first},group", *(f"{row},plant" for row in rows)]
        (folder / "predictions.csv").write_text("\n".join(lines), encoding="utf-8")
    one, _ = reporting.compare([tmp_path / "one", tmp_path / "two"], out="groups.html")
    wide, narrow = one.against[0].test, alone.against[0].test
    assert wide.p_value == 1
    assert wide.difference.high - wide.difference.low > 1.5 * (
        narrow.difference.high - narrow.difference.low
    )


def test_a_run_against_its_own_copy_is_a_tie(
    room: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(room)
    shutil.copytree("runs/one", tmp_path / "copy")
    compared, _ = reporting.compare(["runs/one", tmp_path / "copy"], out="self.html")
    assert compared.against[0].test.is_tie
    assert compared.disputed == []
    assert compared.best.startswith("A tie")
    assert compared.best.endswith("images. Take any.")


def test_runs_of_one_name_are_told_apart_by_where_they_lie(
    room: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(room)
    shutil.copytree("runs/one", tmp_path / "one")
    compared, _ = reporting.compare(["runs/one", tmp_path / "one"], out="self.html")
    assert compared.names == ["runs/one", str(tmp_path / "one")]
    assert "runs/one and " in compared.best
    assert Path("self.html").read_text(encoding="utf-8").count(str(tmp_path / "one")) >= 3


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["nowhere"], ["'nowhere' does not exist", "runs that are there", "runs/"]),
        (["photos"], ["'photos' is no finished run"]),
        (["runs/one", "runs/../runs/one"], ["given twice"]),
        (["runs/one", "runs/one/model"], ["given twice"]),
        (["runs/one", "--out", "/proc/page.html"], ["cannot be written", "--out"]),
        (["runs/one", "--out", "page.txt"], ["page.txt", ".html"]),
        (["runs/one", "--out", "none/page.html"], ["'none'"]),
    ],
)
def test_wrong_use_is_refused_in_words(
    room: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], words: list[str]
) -> None:
    monkeypatch.chdir(room)
    result = CliRunner().invoke(cli, ["report", *args])
    assert isinstance(result.exception, UsageError)
    assert all(word in str(result.exception) for word in words)


def test_without_evidence_and_images_it_says_both(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(room / "runs" / "one", tmp_path / "one")
    (tmp_path / "one" / "evidence.json").unlink()
    with pytest.raises(TableError, match="--no-report") as caught:
        reporting.report_again(tmp_path / "one")  # its paths begin where it was made
    assert "put them back" in caught.value.cure


@pytest.mark.parametrize("name", ["evidence.json", "evidence.safetensors", "metrics.json"])
def test_damaged_files_are_refused_by_name(room: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(room / "runs" / "one", tmp_path / "one")
    (tmp_path / "one" / name).write_bytes(b"{ damaged")
    with pytest.raises(UsageError, match=r"damaged|cannot read"):
        page.write(tmp_path / "one")


def test_train_draws_it_and_no_report_leaves_it_out(
    room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGRAFT_CACHE", str(room / "cache"))
    monkeypatch.chdir(room)
    for name, option in (("drawn", []), ("left-out", ["--no-report"])):
        args = ["train", "photos", "--run", name, "--json", *option]
        result = CliRunner().invoke(cli, args)
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["schema"] == 1  # one object, whatever is drawn
        assert (room / "runs" / name / REPORT).exists() is not bool(option)


def test_a_run_made_again_without_a_report_keeps_the_one_that_still_holds(
    room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGRAFT_CACHE", str(room / "cache"))
    monkeypatch.chdir(room)
    shutil.copytree("photos", "changing")
    args = ["train", "changing", "--run", "again", "--json"]
    assert CliRunner().invoke(cli, args).exit_code == 0
    assert CliRunner().invoke(cli, [*args, "--no-report"]).exit_code == 0
    assert (room / "runs/again" / REPORT).exists()
    next((room / "changing/val" / HOSTILE[0]).iterdir()).unlink()
    assert CliRunner().invoke(cli, [*args, "--no-report"]).exit_code == 0
    assert not (room / "runs/again" / REPORT).exists()  # it spoke of other images


def test_a_picture_that_is_gone_is_said_and_no_error(tmp_path: Path) -> None:
    album = pictures.Album()
    number = album.add(str(tmp_path / "gone.jpg"), 64)
    album.develop()
    assert album.jpegs[number] == b""
    assert pictures.data_uri(album.jpegs[number]) == ""


# -- In a browser --


@pytest.fixture(params=[(1280, "light"), (390, "dark")], ids=["desk", "phone"])
def opened(browser: Any, room: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page, its console and its requests watched."""
    width, scheme = request.param
    tab = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    wrong: list[str] = []
    tab.on("console", lambda message: wrong.append(f"console: {message.text}"))
    tab.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    tab.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    tab.on("request", lambda r: wrong.append(r.url) if not r.url.startswith("data:") else None)
    file = (room / "runs" / "chosen" / REPORT).absolute().as_uri()
    tab.goto(file)
    wrong.remove(file)
    yield tab
    assert wrong == []
    tab.close()


def test_the_page_is_whole_in_a_browser(opened: Any) -> None:
    assert all(opened.locator(f"#{name}").count() == 1 for name in SECTIONS)
    sizes = opened.eval_on_selector_all(
        "img:not([hidden])", "all => all.map(i => [i.complete, i.naturalWidth])"
    )
    assert len(sizes) > 20
    assert all(complete and width > 0 for complete, width in sizes)
    reach = opened.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert reach[0] <= reach[1]  # nothing sticks out to the side


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tuned", "many", "hymenoptera_data"])
def test_pages_of_all_kinds_are_whole(
    browser: Any, room: Path, name: str, request: pytest.FixtureRequest
) -> None:
    if name == "hymenoptera_data":
        data = request.getfixturevalue("shared_data") / name
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("REGRAFT_CACHE", str(room / "cache"))
            patch.chdir(room)
            run = experiment.run(RunConfig(str(data)), name="real")
            file = reporting.report_on(run).absolute()
        assert file.stat().st_size < 5e6
    else:
        file = request.getfixturevalue(name)
    wanted = {*SECTIONS, "training"} if name == "tuned" else set(SECTIONS)
    for width, scheme in ((1280, "dark"), (390, "light")):
        tab = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        wrong: list[str] = []
        tab.on("console", lambda message, wrong=wrong: wrong.append(message.text))
        tab.on("request", lambda r, wrong=wrong: wrong.append(r.url))
        tab.goto(file.as_uri())
        assert [url for url in wrong if not url.startswith(("data:", file.as_uri()))] == []
        assert all(tab.locator(f"#{section}").count() == 1 for section in wanted)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        loaded = "all => all.every(i => i.complete && i.naturalWidth > 0)"
        assert tab.eval_on_selector_all("img:not([hidden])", loaded)
        tab.close()


def test_the_table_sorts_both_ways(opened: Any) -> None:
    table = opened.locator("#classes table.sortable")
    head = table.locator("th", has_text="recall").first

    def column() -> list[float]:
        return [float(v) for v in table.locator("tbody td:nth-child(3)").evaluate_all(
            "cells => cells.map(c => c.dataset.v)")]  # fmt: skip

    head.click()
    assert column() == sorted(column(), reverse=True)
    head.press("Enter")
    assert column() == sorted(column())
    assert head.get_attribute("aria-sort") == "ascending"


def test_a_dot_of_the_map_shows_its_picture(opened: Any) -> None:
    dot = opened.locator("svg.map circle").first
    dot.scroll_into_view_if_needed()
    dot.dispatch_event("click")
    box = opened.locator("#hover")
    assert box.is_visible()
    assert (
        box.locator(".tile")
        .evaluate("t => getComputedStyle(t).backgroundImage")
        .startswith('url("data:image/jpeg')
    )
    assert "train/" in box.inner_text() or "val/" in box.inner_text()


def test_the_comparison_is_whole_in_a_browser(
    browser: Any, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(room)
    _, file = reporting.compare(["runs/one", "runs/two"], out="comparison.html")
    tab = browser.new_page()
    wrong: list[str] = []
    tab.on("console", lambda message: wrong.append(message.text))
    tab.goto((room / file).as_uri())
    assert tab.locator("#differ").count() == 1
    assert wrong == []
    tab.close()
