"""The verdict on whole runs: shifted, leaking and tiny sets are not trusted, sound ones are."""

from __future__ import annotations

import copy
import functools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import verdict_sets
from regraft.choosing import promised, verdict
from regraft.cli.main import cli
from regraft.evaluation import evaluate, left_out
from regraft.evaluation.intervals import wilson_interval
from regraft.record.configuration import RunConfig
from regraft.record.run_folder import REPORT
from regraft.report import page
from regraft.workflows import experiment, reporting

Make = Callable[[Path], Path]
Runs = Callable[[Make], experiment.Result]
FIRST_SCREEN = 24  # lines of a terminal


@pytest.fixture(scope="module")
def room(make_room: Callable[[str], Path], put_engines: Callable[[Path], object]) -> Iterator[Path]:
    """A folder with a cache for all runs of this file."""
    folder = make_room("verdict")
    put_engines(folder / "cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture(autouse=True)
def _shared_cache(room: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGRAFT_CACHE", str(room / "cache"))


@pytest.fixture(scope="module")
def run_on(room: Path) -> Runs:
    """``run_on(make)``: the run on a set, in a folder of the set's name; made once."""

    @functools.cache
    def run(make: Make) -> experiment.Result:
        make(room / make.__name__)
        return experiment.run(RunConfig(make.__name__), name=make.__name__)

    return run


@pytest.mark.parametrize("make", verdict_sets.UNSOUND, ids=lambda make: make.__name__)
def test_shifted_leaking_and_tiny_sets_are_not_simply_trusted(make: Make, run_on: Runs) -> None:
    judged = run_on(make).metrics["verdict"]
    assert judged["answer"] == ("with care" if make is verdict_sets.tiny else "no")
    if make is verdict_sets.mislabelled:
        assert judged["next"][0]["text"].startswith("Look at the labels: the report lists")
    weighty = {reason["kind"] for reason in judged["reasons"] if reason["weight"] != "none"}
    assert (
        weighty
        >= {
            "blurred": {"left-out", "majority-class", "calibration", "missed-classes"},
            "recoloured": {"left-out", "calibration"},
            "from_another_source": {"left-out"},  # its calibration is at the edge of a level
            "leaking": {"leaks"},
            "tiny": {"thin-classes"},
            "mislabelled": {"labels"},
            "guessed": {"majority-class", "cross-validation"},
        }[make.__name__]
    )


@pytest.mark.parametrize("make", verdict_sets.SOUND, ids=lambda make: make.__name__)
def test_sound_sets_are_trusted(make: Make, run_on: Runs) -> None:
    metrics = run_on(make).metrics
    judged = metrics["verdict"]
    assert judged["answer"] == "yes", judged["sentence"]
    # The findings warn of a leak; that it hardly matters is said where the answer is.
    told = [reason["title"] for reason in judged["reasons"] if reason["told"]]
    assert bool(told) == bool(metrics["leaks"]["images"])
    assert all(title in judged["sentence"] for title in told)
    assert metrics["left_out"]["by"] == "cross-validation"
    assert metrics["left_out"]["n"] == metrics["data"]["splits"]["train"]


def test_terminal_page_and_json_say_the_same(run_on: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    data = verdict_sets.from_another_source.__name__
    run_on(verdict_sets.from_another_source)
    monkeypatch.setenv("COLUMNS", "80")
    shown = CliRunner().invoke(cli, ["train", data, "--run", "told"])
    assert shown.exit_code == 0, shown.output
    first = "\n".join(shown.stdout.splitlines()[:FIRST_SCREEN])
    metrics = json.loads(Path("runs/told/metrics.json").read_text())
    html = Path("runs/told", REPORT).read_text().replace("\N{NO-BREAK SPACE}", " ")
    judged, gap = metrics["verdict"], metrics["left_out"]["difference"]
    assert judged["answer"] == "no"
    assert "Trust   no" in first
    assert judged["sentence"] in html
    for words in (f"{100 * gap['value']:+.1f} points", judged["reasons"][0]["title"]):
        assert words in first
        assert words in html
    titles = [reason["title"] for reason in judged["reasons"] if reason["weight"] != "none"]
    assert len(titles) > 2
    assert_in_order(titles, shown.stdout)
    assert_in_order([title[1:] for title in titles], html[html.index("Can you trust it?") :])
    assert_in_order([title[1:] for title in titles], judged["sentence"])
    for step in judged["next"]:
        assert step["text"] in " ".join(shown.stdout.split())
    assert "regraft predict" not in shown.stdout
    again = CliRunner().invoke(cli, ["train", data, "--run", "told", "--json"])
    assert json.loads(again.stdout)["verdict"] == judged


def assert_in_order(words: list[str], text: str) -> None:
    plain = " ".join(text.split())
    places = [plain.find(word) for word in words]
    assert -1 not in places
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("coverage_high", "alarms_low", "answer", "title"),
    [
        (0.96, 0.01, "yes", ""),
        (0.94, 0.01, "with care", "Its doubts miss a target"),
        (0.96, 0.03, "with care", "Its doubts miss a target"),
        (0.94, 0.03, "with care", "Its doubts miss their targets"),
    ],
)
def test_a_promise_missed_beyond_its_interval_weighs(
    coverage_high: float, alarms_low: float, answer: str, title: str, run_on: Runs
) -> None:
    metrics = copy.deepcopy(run_on(verdict_sets.shapes).metrics)
    sets = {"value": 0.9, "low": 0.85, "high": coverage_high}
    alarms = {"value": 0.05, "low": alarms_low, "high": 0.2}
    metrics["sets"] = [{"coverage_asked": 0.95, "coverage": sets}]
    metrics["unknown"] = {"false_alarms_asked": 0.02, "false_alarms": alarms}
    judged = verdict.verdict(metrics, []).to_dict()
    assert judged["answer"] == answer
    assert [r["title"] for r in judged["reasons"] if r["weight"] != "none"] == [title] * bool(title)
    assert any("calibrate" in step["command"] for step in judged["next"]) == bool(title)


@pytest.mark.parametrize(
    ("n_cal", "shift", "least", "most"),
    [(40, 0.0, 0, 0.03), (120, 0.0, 0, 0.03), (120, 1.0, 0.8, 1)],
)
def test_a_promise_that_holds_is_hardly_ever_called_missed(
    n_cal: int, shift: float, least: float, most: float
) -> None:
    """Simulated: calibrating and tested scores of one kind (`shift` 0), or of two."""
    random = np.random.default_rng(0)
    rank = int(np.ceil(0.95 * (n_cal + 1)))
    n_missed = 0
    for _ in range(400):
        level = np.sort(random.normal(size=n_cal))[rank - 1]
        holds = random.normal(shift, size=150) <= level
        low, high = wilson_interval(int(holds.sum()), holds.size)
        found = {"value": holds.mean(), "low": low, "high": high}
        n_missed += promised.Promise(0.95, found, n_cal, at_least=True).is_missed
    assert least <= n_missed / 400 <= most


def test_a_page_of_an_earlier_version_is_judged_when_it_is_drawn(run_on: Runs) -> None:
    result = run_on(verdict_sets.uneven)
    reporting.report_on(result)
    old = Path(shutil.copytree(result.folder, "runs/old"))
    kept = copy.deepcopy(result.metrics)
    del kept["verdict"], kept["left_out"]
    for baseline in kept["baselines"].values():
        del baseline["paired"]
    (old / "metrics.json").write_text(json.dumps(kept))
    text = page.write(old).read_text()
    assert "Yes: " in text
    assert "Cross-validated on train" not in text


def test_a_saved_model_stands_beside_what_it_was_cross_validated_at(run_on: Runs) -> None:
    result = run_on(verdict_sets.shapes)
    run_on(verdict_sets.blurred)
    model = str(result.folder / "model")
    shown = CliRunner().invoke(cli, ["evaluate", model, "blurred"])
    assert "100 % of 120 training images in cross-validation" in shown.stdout
    assert "beyond chance" in shown.stdout
    told = json.loads(CliRunner().invoke(cli, ["evaluate", model, "blurred", "--json"]).stdout)
    assert told["left_out"]["accuracy"] == result.metrics["left_out"]["accuracy"]
    assert told["left_out"]["difference"]["high"] < -0.1
    taught = CliRunner().invoke(cli, ["evaluate", model, "shapes", "--split", "train", "--json"])
    assert json.loads(taught.stdout)["left_out"] is None


def copied(folder: Path) -> Path:
    """Every training image lies there twice."""
    verdict_sets.shapes(folder)
    for path in sorted((folder / "train").rglob("*.jpg")):
        shutil.copy(path, path.with_name(f"again-{path.name}"))
    return folder


def test_copies_count_once_beside_a_saved_model_too(run_on: Runs) -> None:
    """Its intervals are those of the training, whose copies and groups are no longer there."""
    result = run_on(copied)
    told = CliRunner().invoke(cli, ["evaluate", str(result.folder / "model"), "copied", "--json"])
    left_out = json.loads(told.stdout)["left_out"]
    trained = result.metrics["left_out"]
    assert left_out == {name: trained[name] for name in left_out}
    n_right = sum(trained["per_class"]["right"])
    low, high = wilson_interval(n_right, trained["n"])
    width = left_out["accuracy"]["high"] - left_out["accuracy"]["low"]
    assert width > 1.1 * (high - low)


def test_the_share_of_each_class_is_said_where_the_split_is_made_here(room: Path) -> None:
    verdict_sets.undivided(room / "whole")
    shown = CliRunner().invoke(cli, ["train", "whole", "--run", "whole", "--no-report"])
    counts = json.loads(Path("runs/whole/metrics.json").read_text())["data"]["counts"]
    shares = [n / (n + counts["train"][label]) for label, n in counts["test"].items()]
    assert min(shares) > 0.14
    assert max(shares) < 0.26
    low, high = f"{100 * min(shares):.0f}", f"{100 * max(shares):.0f}"
    words = f"{low} to {high} % of each class tested" if low != high else f"{low} % of each class"
    assert words in " ".join(shown.stdout.split())


# -- The difference itself --


def scored(n_right: int, n: int, *, mix: float = 0.5) -> Any:
    """An evaluation of n images of two classes, the wrong ones in the first."""
    y = (np.arange(n) >= (1 - mix) * n).astype(int)
    called = np.where(np.arange(n) < n - n_right, 1 - y, y)
    return evaluate(y, np.eye(2)[called], classes=["a", "b"], split="test")


def test_the_interval_holds_the_true_difference_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        test, y = scored(rng.binomial(150, 0.9), 150), np.arange(240) % 2
        gap = left_out.beside(test, y, rng.random(240) < 0.9).difference
        held += gap.low <= 0 <= gap.high
    assert 0.92 * 400 <= held <= 0.99 * 400


def test_another_mix_of_classes_is_no_difference() -> None:
    """Recall 1 and 0.5, three to one in train and one to three in the test."""
    y = np.repeat([0, 1], [300, 100])
    is_right = (y == 0) | (np.arange(400) % 2 == 0)
    truth = np.repeat([0, 1], [50, 150])
    called = np.where((truth == 0) | (np.arange(200) % 2 == 0), truth, 1 - truth)
    test = evaluate(truth, np.eye(2)[called], classes=["a", "b"])
    found = left_out.beside(test, y, is_right)
    assert found.accuracy.value == pytest.approx(0.875)
    assert found.at_test_mix is not None
    assert found.at_test_mix.value == pytest.approx(0.625)
    assert found.difference.value == pytest.approx(0)
    assert found.difference.low < -0.05 < 0.05 < found.difference.high


def test_images_that_were_left_out_together_count_as_one() -> None:
    y, is_right = np.arange(200) % 2, np.arange(200) // 10 % 5 != 0
    test = scored(90, 100)
    alone = left_out.beside(test, y, is_right).accuracy
    together = left_out.beside(test, y, is_right, units=np.arange(200) // 10).accuracy
    assert together.value == alone.value
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_nothing_left_out_is_refused_with_the_shapes() -> None:
    with pytest.raises(ValueError, match="n of at least 1"):
        left_out.beside(scored(9, 10), np.zeros(0, int), np.zeros(0, bool))
