"""What no option can have: every option of every command, with values that cannot be meant."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest
from click.types import FloatParamType, IntParamType

from regraft.cli.bad_values import in_our_words
from regraft.cli.main import COMMANDS, cli
from regraft.errors import ConfigError, RegraftError, UsageError
from regraft.model.loading import load
from regraft.record.configuration import RunConfig
from regraft.report.finished_run import require_finished
from regraft.training.settings import TrainingSettings

CONTEXT = click.Context(cli)
BAD = ("0", "-1", "nan", "x", "", "inf", "1e400", "9" * 30)
# Words of Python's, msgspec's and click's.
INTERNAL = re.compile(
    r"\b(int|float|str|null|array|object|NoneType)\b|_range|x[<>]=|is not a valid"
)


def options_of(*kinds):
    for name in COMMANDS:
        for param in cli.get_command(CONTEXT, name).params:
            if isinstance(param, click.Option) and isinstance(param.type, kinds):
                yield pytest.param(param, id=f"{name} {param.opts[0]}")


def refusal(kind, call, *given):
    """What it is refused with; None if it is not."""
    try:
        call(*given)
    except kind as error:
        return error
    return None


@pytest.mark.parametrize("param", [*options_of(click.Choice, IntParamType, FloatParamType)])
def test_an_option_says_what_it_may_be(param):
    refused = [refusal(click.BadParameter, param.type.convert, v, param, CONTEXT) for v in BAD]
    told = [in_our_words(error) for error in refused if error is not None]
    assert told
    for one in told:
        assert one.rule.startswith(f"{param.opts[0]} ")
        assert not INTERNAL.search(one.rule)
        assert "choices: " in one.cure or " must be " in one.rule


@pytest.mark.parametrize("param", [*options_of(click.Choice)])
def test_a_choice_with_two_letters_swapped_is_known(param):
    for choice in param.type.choices:
        typed = choice[:-2] + choice[-1] + choice[-2]
        if len(choice) < 4 or typed in param.type.choices:
            continue
        error = refusal(click.BadParameter, param.type.convert, typed, param, CONTEXT)
        did_you_mean, meant, *_ = in_our_words(error).cure.split("'")
        assert did_you_mean == "did you mean "
        assert meant in choice or choice in meant


@pytest.mark.parametrize("name", list(TrainingSettings.__dataclass_fields__))
def test_a_setting_says_what_it_may_be(name):
    for value in (0, -1, float("nan"), "x", 10**30, float("inf"), [], {}):
        error = refusal(ConfigError, TrainingSettings.from_dict, {name: value})
        if error is not None:
            assert name in error.rule + error.place.replace("-", "_")
            assert not INTERNAL.search(error.rule)
            assert error.cure or error.place


@pytest.mark.parametrize("name", list(RunConfig.__dataclass_fields__))
def test_a_file_of_settings_says_what_it_may_be(name, tmp_path):
    file = tmp_path / "c.json"
    for value in (0, -1, float("nan"), "x", 10**30, [], {}):
        file.write_text(json.dumps({"data": "photos", name: value}))
        error = refusal(UsageError, RunConfig.from_file, file)
        if error is not None:
            assert not INTERNAL.search(error.rule)
            assert error.cure or name == "data"
            assert error.place == str(file)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [({"head": "rigde"}, "ridge"), ({"method": "prob"}, "probe"), ({"backbone": "defualt"},
     "default"), ({"training": {"precision": "pf32"}, "method": "full"}, "fp32"),
     ({"look": "filp"}, "flip"), ({"label_from": "naem"}, "name"), ({"scale": "12-bit"}, "12bit")],
)  # fmt: skip
def test_a_mistyped_choice_is_answered_with_what_is_meant(typed, meant):
    with pytest.raises(UsageError) as caught:
        _ = RunConfig("photos", **typed).source
    assert meant in str(caught.value)


@pytest.fixture
def two_runs(tmp_path, monkeypatch):
    """A folder `runs` with two runs that a command may be meant for."""
    for name in ("cats", "dogs"):
        (tmp_path / "runs" / name / "model").mkdir(parents=True)
        (tmp_path / "runs" / name / "model" / "config.json").write_text("{}")
        (tmp_path / "runs" / name / "run.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("two_runs")
@pytest.mark.parametrize("given", ["runs", "empty", "nowhere", "."])
@pytest.mark.parametrize("opens", [load, lambda given: require_finished(Path(given))])
def test_the_runs_that_are_there_are_named(opens, given):
    with pytest.raises(RegraftError) as caught:
        opens(given)
    assert caught.value.cure == "give one of the 2 runs that are there: runs/cats, runs/dogs"
