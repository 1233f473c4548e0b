"""docs/tutorials.md: each command on the page is accepted as it stands, and runs.

To run in seconds, a command gets small photos, a small network of random weights, and few epochs;
everything else of it stays as it is written.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
import torch

from regraft.cli import outcome
from regraft.cli.main import cli
from regraft.cli.training_options import NAMES
from regraft.training.settings import RECIPES, TUTORIAL, TrainingSettings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "tutorials.md"
BACKBONE = "random:test_efficientnet"


def commands(page: str) -> list[list[str]]:
    """The words of every `regraft ...` line in a page's code blocks; a backslash continues one."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("regraft ")]


def options(page: str) -> set[str]:
    """Every option that stands in backquotes or in a command."""
    quoted = " ".join(re.findall(r"`([^`\n]+)`", page)) + "\n" + "\n".join(map(" ".join, COMMANDS))
    return set(re.findall(r"(?<!\S)--[a-z][a-z-]*", quoted))


TEXT = PAGE.read_text(encoding="utf-8")
COMMANDS = commands(TEXT)
VGG = ["regraft", "summary", "vgg16"]
each_command = pytest.mark.parametrize("command", COMMANDS, ids=" ".join)


def parsed(words: list[str]) -> click.Context:
    """As the program reads them, without doing anything."""
    root = cli.make_context("regraft", words[1:])
    _, command, rest = cli.resolve_command(root, [*root._protected_args, *root.args])
    assert command is not None
    return command.make_context(command.name, rest, parent=root)


def test_commands_are_found_also_over_several_lines() -> None:
    page = (
        "```text\nregraft a \\\n  --b c  # why\nother\n```\nregraft not-this\n```\nregraft d\n```\n"
    )
    assert commands(page) == [["regraft", "a", "--b", "c"], ["regraft", "d"]]
    assert len(COMMANDS) >= 12
    methods = {c[c.index("--method") + 1] for c in COMMANDS if "--method" in c}
    assert methods == {"head", "partial", "full", "scratch"}
    assert sum("tutorial" in c for c in COMMANDS) == 6


@each_command
def test_the_command_is_accepted_as_it_stands(command: list[str]) -> None:
    values = parsed(command).params
    given = {name: values[name] for name in NAMES if values.get(name) is not None}
    TrainingSettings.from_dict(given)
    if command[1] != "summary":
        assert Path(str(values["data"])).suffix == "", "a folder, so that the tests may replace it"


def test_a_wrong_command_is_not_accepted() -> None:
    with pytest.raises(click.UsageError):
        parsed(["regraft", "train", "photos", "--epoch-s", "3"])


def test_every_option_on_the_page_exists() -> None:
    programs = [
        parsed(["regraft", name, "x"]).command
        for name in ("train", "show", "summary", "compare", "auto")
    ]
    params = [param for program in programs for param in program.params]
    known = {flag for p in params for flag in (*p.opts, *p.secondary_opts)}
    assert options(TEXT) - known == set()
    assert len(options(TEXT)) > 25


def test_the_recipe_is_what_the_page_says_of_it() -> None:
    said = {
        "batch_size": 4, "learning_rate": 0.001, "head_rate": 0.001, "schedule": "step",
        "step_epochs": 7, "gamma": 0.1, "init_head": "random", "batchnorm": "train", "clip": 0,
        "augment": "standard", "keep": "accuracy", "interpolate": False, "average_last": 1,
    }  # fmt: skip
    assert said.items() <= TUTORIAL.items()
    settings = TrainingSettings.from_dict({"recipe": RECIPES[1], "batch_size": 8})
    assert (settings.optimizer, settings.momentum, settings.loss) == ("sgd", 0.9, "cross-entropy")
    assert settings.batch_size == 8  # what is typed wins
    assert settings.schedule == "step"


def made_small(command: list[str]) -> list[str]:
    """The same command for photos/, with a small network, small pictures and 1 or 2 epochs."""
    if command[1] == "summary":
        return command
    words = [*command[:2], "photos", *command[3:]]
    small = {"--backbones" if words[1] == "compare" else "--backbone": BACKBONE}
    if "--method" in words:
        small["--epochs"] = "2" if "--unfreeze" in words else "1"  # both stages
    smaller = {"--unfreeze": "1", "--views": "2", "--image-size": "64", "--split-point": "blocks.1"}
    if words[1] == "compare":
        small["--seeds"] = "0"
    small |= {option: value for option, value in smaller.items() if option in words}
    for option, value in small.items():
        if option in words:
            words[words.index(option) + 1] = value
        else:
            words += [option, value]
    return words + ["--no-report"] * (words[1] == "train")


# Made small, some are the same command: it runs once. `summary vgg16` runs in a test of its own.
TO_RUN = [c for c in {tuple(made_small(c)): c for c in COMMANDS}.values() if c != VGG]


@pytest.fixture(scope="module")
def room(make_room: Callable[[str], Path], make_photos: Callable[..., Path]) -> Path:
    """Photos with enough to hold some out, and a cache that all commands share."""
    folder = make_room("tutorials")
    make_photos(folder / "photos", splits={"train": 18, "val": 4}, size_px=64)
    return folder


@pytest.fixture
def call(
    room: Path, cache: Path, undrawn: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., int]]:
    monkeypatch.setenv("REGRAFT_CACHE", str(room / "cache"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(room)
    # A network this small gains nothing from a second thread, and on a busy machine waits for it.
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)
    n_threads, handler = torch.get_num_threads(), signal.getsignal(signal.SIGTERM)

    def run(words: list[str]) -> int:
        monkeypatch.setattr(sys, "argv", words)
        return outcome.of(cli)

    yield run
    torch.set_num_threads(n_threads)
    signal.signal(signal.SIGTERM, handler)


@pytest.mark.slow
@pytest.mark.parametrize("command", TO_RUN, ids=" ".join)
def test_the_command_runs(
    command: list[str], call: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command[1] == "summary" or command[2] in ("hymenoptera_data", "cats_dogs", "aerial")
    code = call(made_small(command))
    shown = capsys.readouterr()
    assert code == 0, shown.err[-2000:]
    wanted = {
        "layers": "cross-validated accuracy", "summary": "Mult-adds", "show": "show.png",
        "train": "val images right", "compare": "Take",
    }  # fmt: skip
    assert wanted[command[1]] in shown.out + shown.err
    if "--method" in command:
        assert "Trained" in shown.out or "Tried" in shown.out


def test_the_page_cuts_vgg_where_it_can_be_cut(
    call: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    cuts = [c[c.index("--split-point") + 1] for c in COMMANDS if "vgg16" in c and "partial" in c]
    assert cuts == ["features.22", "features.29"]
    assert VGG in COMMANDS
    assert call(VGG) == 0
    shown = capsys.readouterr().out
    assert "Mult-adds" in shown
    lines = shown.splitlines()
    marked = {line.split()[1] for line in lines if line.startswith("+")}
    assert set(cuts) <= marked
