"""What a notebook shows of a classifier and a run: true, short, and inert whatever names hold."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import sklearn

from regraft.console import progress
from regraft.estimator import ImageClassifier
from regraft.record.configuration import RunConfig
from regraft.report import notebook
from regraft.workflows import experiment

Write = Callable[..., Path]
HOSTILE = "<script>alert(1)</script>\"'&{}<b>"


class _Reader(HTMLParser):
    """Tags, their attributes and the text; refuses tags that are not closed in order."""

    VOID = frozenset({"br", "hr", "img", "input", "meta", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.cells: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._open[-1:] == ["td"]:
            self.cells.append(data)


def read(html: str) -> _Reader:
    html.encode("utf-8")  # a notebook is a UTF-8 file
    reader = _Reader()
    reader.feed(html)
    reader.close()
    assert reader._open == []
    return reader


@pytest.fixture(scope="module")
def house(
    make_room: Callable[[str], Path], put_engines: Callable[[Path], object], make_photos: Write
) -> Iterator[tuple[Path, experiment.Result]]:
    """A finished run, and the folder that it is in, with the cache that it had."""
    room = make_room("notebook")
    photos = make_photos(room / "photos", splits={"train": 6, "val": 3}, size_px=64)
    (photos / "val" / "squares").rename(photos / "val" / "<b>squares")
    (photos / "train" / "squares").rename(photos / "train" / "<b>squares")
    put_engines(room / "cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_CACHE", str(room / "cache"))
        yield room, experiment.run(RunConfig(str(photos)), out=str(room / "runs"))


def shown(metrics: dict[str, Any], folder: Path = Path("runs/one")) -> _Reader:
    return read(notebook.of_run(metrics, folder))


# -- A run --


def test_a_result_shows_its_score_with_interval_and_where_it_is(
    house: tuple[Path, experiment.Result],
) -> None:
    _, result = house
    text = read(result._repr_html_()).text
    accuracy = result.metrics["evaluation"]["accuracy"]
    right = round(accuracy["value"] * 9)
    share = "100 %" if right == 9 else f"{100 * right / 9:.1f} %"
    assert f"{share} of 9 val images right, 95 % interval" in text
    assert f"{100 * accuracy['low']:.1f} % to" in text
    assert "27 images, 3 classes: 18 train, 9 val" in text
    assert str(result.folder / "model") in text
    for row in result.evaluation.to_dict()["per_class"]:
        assert row["label"] in text  # as text, with its brackets
    assert len(result._repr_html_()) < 5_000


def test_names_are_inert(house: tuple[Path, experiment.Result]) -> None:
    _, result = house
    metrics = json.loads(json.dumps(result.metrics))
    plain = {tag for tag, _ in shown(metrics).tags}
    for row in metrics["evaluation"]["per_class"]:
        row["label"] = HOSTILE + "caf\udce9"
    metrics["backbone"]["name"] = metrics["data"]["source"] = metrics["method"] = HOSTILE
    metrics["chosen"]["taps"] = [HOSTILE]
    page = shown(metrics, Path(f"runs/{HOSTILE}".replace("</", "<")))
    assert {tag for tag, _ in page.tags} == plain
    assert all(set(attributes) <= {"class", "style"} for _, attributes in page.tags)
    assert page.text.count("<script>alert(1)") >= 5
    assert "caf\\udce9" in page.text


def test_the_report_is_linked_where_it_can_be_followed(
    house: tuple[Path, experiment.Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, result = house
    monkeypatch.chdir(tmp_path)
    folder = Path("runs/javascript:alert(1) & co")
    assert [tag for tag, _ in shown(result.metrics, folder).tags if tag == "a"] == []
    folder.mkdir(parents=True)
    (folder / "report.html").write_text("")
    (link,) = [attributes for tag, attributes in shown(result.metrics, folder).tags if tag == "a"]
    assert link["href"] == "runs/javascript%3Aalert%281%29%20%26%20co/report.html"
    whole = shown(result.metrics, folder.absolute())
    assert "a" not in [tag for tag, _ in whole.tags]
    assert str(folder.absolute() / "report.html") in whole.text


def test_of_many_classes_the_weakest_are_shown(house: tuple[Path, experiment.Result]) -> None:
    metrics = json.loads(json.dumps(house[1].metrics))
    row = metrics["evaluation"]["per_class"][0]
    metrics["evaluation"]["per_class"] = [
        {**row, "label": f"class {i}", "f1": {**row["f1"], "value": (i * 7 % 40) / 40}}
        for i in range(40)
    ]
    page = shown(metrics)
    assert "the 12 weakest of 40 classes" in page.text
    weakest = sorted(range(40), key=lambda i: i * 7 % 40)[:12]
    assert page.cells[::5] == [f"class {i}" for i in weakest]


# -- A classifier --


def test_a_classifier_that_has_not_learnt_shows_what_scikit_learn_shows() -> None:
    classifier = ImageClassifier(head="svm")
    bundle = classifier._repr_mimebundle_()
    assert bundle["text/plain"] == "ImageClassifier(head='svm')"
    assert "A classifier of" not in bundle["text/html"]
    assert "svm" in bundle["text/html"]
    with sklearn.config_context(display="text"):
        assert "text/html" not in classifier._repr_mimebundle_()
        assert not hasattr(classifier, "_repr_html_")


def test_a_fitted_classifier_shows_what_it_learnt(
    house: tuple[Path, experiment.Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    room, _ = house
    monkeypatch.setenv("REGRAFT_CACHE", str(room / "cache"))
    paths = sorted(map(str, (room / "photos" / "train").rglob("*.jpg")))
    labels = [HOSTILE if "squares" in Path(path).parent.name else "other" for path in paths]
    classifier = ImageClassifier().fit(paths, labels)
    again = ImageClassifier.load(classifier.save(tmp_path / "model"))
    for one in (classifier, again):
        html = one._repr_mimebundle_()["text/html"]
        count = re.compile(r"(?<=id-)\d+")  # scikit-learn numbers what it shows
        assert count.sub("", html) == count.sub("", one._repr_html_())
        own = read(html[: html.index("</div></div>") + len("</div></div>")])
        assert "A classifier of 2 classes" in own.text
        assert HOSTILE in own.text
        assert "probe on default" in own.text
        assert "linear head on the taps" in own.text
        assert "final" in own.text or "blocks." in own.text
        assert "<script>alert" not in html
        assert len(html) > len(own.text) + 1000  # scikit-learn's own follows


# -- Progress --


def test_progress_is_plain_lines_where_stderr_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line when seconds have gone by, however many images they were."""
    seconds = iter(1.3 * n for n in range(40))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(seconds))
    with progress.listening(quiet=False) as listener:
        listener.say("building the engine")
        for done in range(1, 12):
            listener.progress("images", done, 11)
    found = capsys.readouterr()
    assert found.out == ""
    lines = found.err.splitlines()
    assert lines[0] == "regraft: building the engine"
    assert lines[1:-1] == ["regraft: 5 of 11 images", "regraft: 9 of 11 images"]
    assert lines[-1] == "regraft: choosing and learning"
    assert len(lines) == 4
    assert "\x1b" not in found.err
    assert "\r" not in found.err
