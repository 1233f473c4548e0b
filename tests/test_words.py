"""What a newcomer reads: lines that fit, plain words, and the very command that helps."""

from __future__ import annotations

import ast
import io
import itertools
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

import regraft
from regraft import model as models
from regraft.checks.finding import Finding
from regraft.checks.findings import find_problems_by_name
from regraft.cli import outcome
from regraft.cli.main import COMMANDS, cli
from regraft.console import comparison as shown_comparison
from regraft.console import progress
from regraft.console.finding import show_finding_in_full
from regraft.console.lines import width_of, wrapped
from regraft.console.predictions import show_predictions
from regraft.data.table import ImageTable
from regraft.errors import ArtefactError, BackboneError, ConfigError, TableError, UsageError
from regraft.model import place
from regraft.model.predicting import Predictions
from regraft.record import run_folder
from regraft.record.configuration import RunConfig
from regraft.workflows import experiment, fitting, reporting, survey

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def room(
    make_room: Callable[[str], Path], put_engines: Callable[[Path], object], make_photos: Write
) -> Path:
    """Photos, and two finished runs on them, one of them with a long name."""
    room = make_room("room")
    make_photos(room / "photos", splits={"train": 6, "test": 4}, size_px=64)
    put_engines(room / "cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_CACHE", str(room / "cache"))
        patch.chdir(room)
        for name, head in (
            ("one", "ridge"),
            ("a-run-with-a-name-of-forty-letters-and-more", "ncm"),
        ):
            result = experiment.run(RunConfig("photos", head=head), name=name)
            reporting.report_on(result)
    return room


@pytest.fixture
def there(room: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGRAFT_CACHE", str(room / "cache"))
    monkeypatch.chdir(room)
    return room


# -- Lines --


def test_a_width_is_what_columns_says_or_the_terminals_or_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert width_of(io.StringIO()) is None
    monkeypatch.setenv("COLUMNS", "72")
    assert width_of(io.StringIO()) == 72
    for nonsense in ("0", "wide", "-3", "²"):
        monkeypatch.setenv("COLUMNS", nonsense)
        assert width_of(io.StringIO()) is None


def test_no_line_is_wider_than_the_terminal_but_for_what_is_copied() -> None:
    text = "a rule that was broken with both values and a cure " * 4
    lines = wrapped(text, 60, lead="  cure:  ").splitlines()
    assert max(map(len, lines)) <= 60
    assert all(line.startswith(" " * 9) for line in lines[1:])
    assert " ".join(" ".join(lines).split()) == f"cure: {text}".strip()
    command = "regraft train " + "photos/" * 20
    assert wrapped(command, 60, lead="  cure:  ") == "  cure:  " + command
    assert wrapped("one\ntwo", 60, lead="> ") == "> one\n  two"


@pytest.mark.parametrize(
    "error", [TableError("'x' does not exist " * 9, place="here " * 30, cure="do " * 60)]
)
def test_an_error_fits_and_has_no_class_in_front(
    error: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    class Failing:
        def main(self, standalone_mode: bool) -> None:
            raise error

    assert outcome.of(Failing()) == 3  # type: ignore[arg-type]
    said = capfd.readouterr().err
    assert said.startswith("Error: 'x' does not exist")
    assert "TableError" not in said
    assert max(map(len, said.splitlines())) <= 80
    assert "\n  where: here" in said
    assert "\n  cure:  do" in said


def test_wrong_use_is_said_in_the_same_form(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "argv", ["regraft", "train", "x", "--method", "prob"])
    assert outcome.of(cli) == 2
    said = capfd.readouterr().err
    assert "Usage: " in said
    assert "--help' for help." in said
    assert "Error: --method has no choice 'prob'" in said
    assert max(map(len, said.splitlines())) <= 80


# -- Plain words --


@pytest.mark.parametrize("command", COMMANDS)
def test_offline_is_said_in_plain_words(command: str) -> None:
    said = CliRunner().invoke(cli, [command, "--help"]).output
    assert ("--offline" in said) == ("Do not access the internet" in said)
    assert "Use no network" not in said


def test_the_name_of_a_backbone_is_looked_at_before_anything_is_built(there: Path) -> None:
    said: list[str] = []
    listener = SimpleNamespace(say=said.append, progress=lambda *a: None, epoch=None)
    with pytest.raises(BackboneError, match="no backbone is called 'resnett'"):
        survey.check(RunConfig("photos", backbone="resnett"), listener=listener)  # type: ignore[arg-type]
    assert said == []


def test_weights_that_were_not_downloaded_are_said_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants as constants

    from regraft.backbones import catalog, network

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(BackboneError, match="were not downloaded to this computer") as caught:
        network.load(catalog.resolve("resnet18"), offline=True)
    assert "--offline forbids" in caught.value.rule
    assert caught.value.cure.startswith("leave out --offline; or")
    with pytest.raises(BackboneError, match=r"no connection to huggingface\.co"):
        network.load(catalog.resolve("resnet18"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BackboneError, match="HF_HUB_OFFLINE=1 in the environment forbids"):
        network.load(catalog.resolve("resnet18"))


# -- Stopped, and gone on with --


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        (["train", "my photos", "--method", "full"], "  regraft train 'my photos' --method full"),
        (["predict", "m", "x"], "  regraft predict m x"),
        (["predict", "m", "x", "--no-store"], ""),
        (["cache", "clear"], ""),
    ],
)
def test_ctrl_c_prints_the_command_that_goes_on(
    typed: list[str], wanted: str, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["regraft", *typed])

    class Stopped:
        def main(self, standalone_mode: bool) -> None:
            raise KeyboardInterrupt

    assert outcome.of(Stopped()) == 130  # type: ignore[arg-type]
    said = capfd.readouterr().err
    assert said.splitlines()[1].startswith("regraft: stopped")
    assert said.splitlines()[2:] == ([wanted] if wanted else [])
    assert ("is kept" in said) == bool(wanted)


@pytest.fixture
def unfinished(tmp_path: Path, there: Path) -> Path:
    """A run of method head that was stopped after two epochs."""
    from conftest import write_photos

    write_photos(tmp_path / "photos", splits={"train": 4, "test": 2}, size_px=64)
    config = RunConfig.from_dict(
        {"data": str(tmp_path / "photos"), "method": "head", "training": {"epochs": 3}}
    )
    folder = run_folder.folder_for(config, out=str(tmp_path / "my runs"), name="half")
    run_folder.begin(folder, config, {})
    for epoch in (1, 2):
        run_folder.log_epoch(folder, {"epoch": epoch})
    return folder


def test_a_line_of_the_log_that_a_kill_tore_goes_and_the_others_stay(tmp_path: Path) -> None:
    log = tmp_path / place.LOG
    log.write_text('{"epoch": 1}\n{"epoch": 3}\n{"epo', encoding="utf-8")
    for epoch in (2, 3):
        run_folder.log_epoch(tmp_path, {"epoch": epoch})
    lines = log.read_text(encoding="utf-8").splitlines()
    assert lines == ['{"epoch": 1}', '{"epoch": 2}', '{"epoch": 3}']


def test_an_unfinished_run_says_what_it_is_and_how_to_go_on(
    unfinished: Path, run_warm: Any
) -> None:
    command = place.command_that_goes_on(unfinished)
    for ask, kind in (
        (lambda: models.load(unfinished), ArtefactError),
        (lambda: reporting.report_again(unfinished), UsageError),
        (lambda: reporting.compare([unfinished, "runs/one"], out="c.html"), UsageError),
    ):
        with pytest.raises(kind, match=r"not finished: method head on .*, 2 epochs done") as caught:
            ask()
        assert caught.value.cure == command
    import shlex

    done = run_warm(*shlex.split(command)[1:], "--no-report", "-q")
    assert done.returncode == 0, done.stderr
    assert models.load(unfinished).method == "head", "it is now a run, and its model is found"


def test_a_run_is_taken_for_its_model_and_a_model_for_its_run(there: Path) -> None:
    model = models.load("runs/one")
    assert model.folder == str(Path("runs/one/model"))
    assert reporting.report_again("runs/one/model") == Path("runs/one/report.html")
    compared, _ = reporting.compare(
        ["runs/one/model", "runs/a-run-with-a-name-of-forty-letters-and-more"], out="c.html"
    )
    assert compared.runs[0].folder == Path("runs/one")
    for given in ("runs/one", "runs/one/model", "runs/one/run.json"):
        found = RunConfig.from_file(run_folder.config_file_of(given))
        assert found == RunConfig("photos", head="ridge")
    from regraft.backbones import catalog

    assert catalog.resolve("local-dir:runs/one").path == Path("runs/one/model")


# -- Refused before the pass --


def test_an_unknown_split_point_is_refused_before_a_picture_is_read(
    there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regraft.features.extract.run", None)
    config = RunConfig.from_dict(
        {"data": "photos", "method": "partial", "training": {"split_point": "blocks.99"}}
    )
    for work in (experiment.run, survey.try_rates):
        with pytest.raises(BackboneError, match=r"no split point is called 'blocks\.99'"):
            work(config)
    known = RunConfig.from_dict(
        {"data": "photos", "method": "partial", "training": {"split_point": "blocks.5"}}
    )
    fitting.require_split_point(known)


def test_an_unknown_tap_is_refused_before_a_picture_is_read(
    there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regraft.features.extract.run", None)
    with pytest.raises(ConfigError, match=r"no tap is called 'blocks\.77'"):
        experiment.run(RunConfig("photos", taps=["blocks.77"]))


# -- Did you mean --


def test_a_slip_in_a_models_name_is_answered_by_models_and_runs_alone(there: Path) -> None:
    Path("runs/onf").mkdir(exist_ok=True)
    for slip, meant in (("runs/onee", "runs/one"), ("runs/onee/model", "runs/one")):
        with pytest.raises(ArtefactError, match="there is no folder") as caught:
            models.load(slip)
        assert caught.value.near == [meant]
        assert caught.value.cure == f"did you mean {meant!r}?"
    with pytest.raises(ArtefactError, match="does not exist"):
        models.load("runs/zzzzzz")


@pytest.mark.parametrize(("slip", "meant"), [("--methd", "'--method'"), ("--zzzz", "")])
def test_of_options_one_is_proposed_or_none(
    slip: str, meant: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["regraft", "train", "x", slip, "y"])
    assert outcome.of(cli) == 2
    said = capfd.readouterr().err.splitlines()[-1]
    wanted = f" Did you mean {meant}?" if meant else ""
    assert said == f"Error: No such option '{slip}'.{wanted}"


def test_a_folder_that_is_no_run_is_no_configuration(there: Path) -> None:
    with pytest.raises(UsageError, match=r"'photos' is a folder without run\.json"):
        run_folder.config_file_of("photos")
    assert run_folder.config_file_of("nowhere.json") == Path("nowhere.json")


# -- What is shown --


def test_a_quick_check_finds_placeholders_by_their_names(
    tmp_path: Path, make_photos: Write
) -> None:
    photos = make_photos(tmp_path / "photos", n=8, size_px=32)
    shutil.copy(photos / "discs" / "discs_all_000.jpg", photos / "discs" / "imageNotFound.jpg")
    found = survey.check(RunConfig(str(photos)), quick=True).findings
    (finding,) = [one for one in found if one.kind == "placeholder"]
    assert finding.paths == (str(photos / "discs" / "imageNotFound.jpg"),)
    assert "'discs/imageNotFound.jpg'" in finding.message


def test_a_name_that_all_share_is_no_placeholder() -> None:
    table = ImageTable.from_paths([f"a/not_found_{i}.jpg" for i in range(30)], ["a"] * 30)
    assert all(one.kind != "placeholder" for one in find_problems_by_name(table))


def test_copies_are_shown_together_and_within_the_data(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = "/a/very/long/place/photos"
    sets = (
        (f"{data}/train/ants/1.jpg", f"{data}/test/ants/7.jpg"),
        (f"{data}/train/ants/{'x' * 60}.jpg", f"{data}/test/ants/8.jpg"),
    )
    finding = Finding("near-duplicates", "note", "m", "w", "d", sum(sets, ()), sets)
    screen = Console(width=80, highlight=False)
    show_finding_in_full(screen, finding.to_dict(), data)
    said = capsys.readouterr().out
    assert "train/ants/1.jpg = test/ants/7.jpg" in said
    assert f"train/ants/{'x' * 60}.jpg\n          = test/ants/8.jpg" in said
    assert data not in said
    assert json.loads(json.dumps(finding.to_dict()))["sets"] == [list(one) for one in sets]


def test_leaks_are_told_as_pairs(there: Path, tmp_path: Path, make_photos: Write) -> None:
    photos = make_photos(tmp_path / "photos", splits={"train": 6, "test": 4}, size_px=64)
    first = sorted((photos / "train" / "discs").iterdir())[0]
    shutil.copy(first, photos / "test" / "discs" / "copy.jpg")
    found = survey.check(RunConfig(str(photos))).findings
    leak = next(one for one in found if one.kind == "duplicates-across-splits")
    assert leak.message.startswith("leakage: 1 picture is in several splits")
    assert set(leak.sets) == {(str(photos / "test/discs/copy.jpg"), str(first))} or set(
        leak.sets
    ) == {(str(first), str(photos / "test/discs/copy.jpg"))}
    assert " = " in leak.message
    assert str(photos) not in leak.message


def predictions(proba: list[float]) -> Predictions:
    names = ("ants", "bees", "cats", "dogs")
    return Predictions(["a.jpg"], names, np.array([proba]), ())


@pytest.mark.parametrize(
    ("top", "wanted"),
    [
        (9, "a.jpg  ants 99.9 %   bees 0.1 %  cats 0.0 %  dogs 0.0 %\n"),
        (2, "a.jpg  ants 99.9 %   bees 0.1 %\n"),
        (None, "a.jpg  ants 99.9 %   bees 0.1 %\n"),
    ],
)
def test_as_many_classes_are_shown_as_were_asked_for(
    top: int | None, wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = predictions([0.9985, 0.0014, 0.0001, 0.0])
    show_predictions(found, out=None, as_json=False, top=top)
    assert capsys.readouterr().out == wanted


def test_the_star_of_the_epochs_is_explained_once(capsys: pytest.CaptureFixture[str]) -> None:
    epoch = {
        "loss": 0.5, "accuracy": 0.75, "held_out_loss": 0.4, "held_out_accuracy": 0.8,
        "is_best": True, "images_per_second": 40.0,
    }  # fmt: skip
    with progress.listening(quiet=False) as listener:
        for number in (1, 2):
            listener.epoch(SimpleNamespace(epoch=number, **epoch), 12)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[0].endswith("val 0.400  80.0 % *")
    assert lines[2].endswith("80.0 %")  # no smaller, if it is the one that is kept
    assert "accuracy  75.0 %" in lines[0]
    assert lines[1] == f"regraft: {progress.LEGEND}"
    assert "*: least loss so far" in progress.LEGEND
    assert max(map(len, lines)) <= 80


def test_a_sentence_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.listening(quiet=True) as listener:
        for _ in range(2):
            listener.say("the store cannot be written")
    assert capsys.readouterr().err == "regraft: the store cannot be written\n"


def test_a_comparison_fits_and_names_what_ties(
    there: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    names = ["runs/one", "runs/a-run-with-a-name-of-forty-letters-and-more"]
    compared, page = reporting.compare(names, out="c.html")
    shown_comparison.show_comparison(compared, page, as_json=False)
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    for words in ("accuracy", "interval", "difference to A", "A  one: probe", "B  a-run-with"):
        assert words in said
    flat = " ".join(said.split())
    assert f"A tie between one and {compared.names[1]}" in flat or "is the best of these" in flat
    content = compared.to_dict()["runs"][0]["accuracy_interval"]
    assert content["low"] <= content["value"] <= content["high"]


def test_of_three_runs_those_that_tie_with_the_best_are_named(there: Path) -> None:
    names = ["runs/one", "runs/a-run-with-a-name-of-forty-letters-and-more"]
    compared, _ = reporting.compare(names, out="c.html")
    compared.runs = [SimpleNamespace(folder=Path(name)) for name in "abc"]  # type: ignore[assignment]
    good, bad = np.ones(200, bool), np.zeros(200, bool)
    near = good.copy()
    near[0] = False
    compared._rows = [np.arange(200)] * 3
    answers = {"all": [good, near, bad], "none": [good, bad, bad], "tie": [near, good, near]}

    def best(which: str) -> str:
        compared.__dict__.pop("best", None)
        compared.is_right = answers[which].__getitem__  # type: ignore[method-assign, assignment]
        return compared.best

    assert best("all").startswith("a has the highest accuracy; b ties with it: 200 images cannot")
    assert "c is worse." in best("all")
    assert best("none") == "a is the best of these."
    assert best("tie").startswith("A tie between a, b and c: 200 images cannot tell them apart.")


def test_near_names_of_a_source_are_things_that_can_be_read(tmp_path: Path) -> None:
    from regraft.data.sources import read_table

    for name in ("photos.doc", "photos.py", "photos.csv", "photos.zip", "photoz.jpg"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "photo").mkdir()
    with pytest.raises(TableError) as caught:
        read_table(str(tmp_path / "photos"))
    assert set(caught.value.near) <= {"photo", "photos.csv", "photos.zip", "photoz.jpg"}
    assert "photo" in caught.value.near
    with pytest.raises(TableError) as caught:
        read_table(str(tmp_path / "photos.do"))
    assert "photos.doc" not in caught.value.near


def test_the_screen_speaks_the_standard_words(
    there: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from regraft.console.result import show_finished

    config = RunConfig("photos")
    metrics = json.loads(Path("runs/one/metrics.json").read_text(encoding="utf-8"))
    show_finished(SimpleNamespace(metrics=metrics, findings=[]), config=config)
    said = capsys.readouterr().out
    for words in (
        "baselines: majority class", "1-nearest neighbour", "true \\ predicted", "regularisation",
        "model selection:", "cross-validated",
    ):  # fmt: skip
        assert words in said
    page = Path("runs/one/report.html").read_text(encoding="utf-8")
    for words in ("Cross-validated accuracy", "what was predicted"):
        assert words in page


# Numbers before a plural that are never 1 where they are shown, or are measured with decimals.
NEVER_ONE = {
    "len(paths)", "FEW_IMAGES", "MAX_ENTRIES", "MAX_MEMBERS", "FEW_OF_CLASS", "number",
    "100 * WIDE_RECALL", "len(ties)", "n_doubtful", "median", "n_folds", "len(sizes)", "len(tried)",
    "len(rows)", "len(shown)", "len(findings)", "n_labelled", "n_classes", "n", "len(unknown)",
    "self._n_failed", "len(mine)", "n_images", "n_learnt_from", "len(rates)", "len(classes)",
    "sample.n_pictures", "len(table)", "len(duplicates.unit)", "shown['mean_size']", "len(X)",
}  # fmt: skip
NOUNS = (
    "images|classes|files|pictures|groups|rows|folders|epochs|networks|runs|ways|checks|findings|"
    "labels|units|models|sets|paths|columns|folds|tensors|entries|addresses|members|weakest|reads"
)


@pytest.mark.parametrize(
    "room", ["checks", "choosing", "report", "cli", "console", "data", "workflows", "evaluation"]
)
def test_a_number_and_its_noun_agree(room: str) -> None:
    """Whatever counts goes through `wording.count`, so that one image is not '1 images'."""
    found = [
        f"{file.name}:{text.lineno}: {{{said}}}{after.value}"
        for file in sorted(Path(regraft.__file__).parent.joinpath(room).glob("*.py"))
        for text in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(text, ast.JoinedStr)
        for before, after in itertools.pairwise(text.values)
        if isinstance(before, ast.FormattedValue) and isinstance(after, ast.Constant)
        if re.match(rf" (?:[a-z-]+ )?(?:{NOUNS})\b", str(after.value))
        if (said := ast.unparse(before.value)) not in NEVER_ONE and not _is_no_number(before.value)
    ]
    assert found == []


def _is_no_number(said: ast.expr) -> bool:
    """A call of `count`, a word that is chosen by the number, a name in quotes."""
    if isinstance(said, ast.Call) and isinstance(said.func, ast.Name):
        return said.func.id in ("count", "quoted")
    is_word = isinstance(said, ast.IfExp) and isinstance(said.body, ast.Constant)
    return is_word or ast.unparse(said) in (
        "split",
        "outer",
        "cells",
        "self.evaluation.split",
        "evaluation['split']",
        "found.log_loss",
    )
