"""The help of a command with many options: in groups, each option once, at 80 columns."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from click.testing import CliRunner

from regraft.cli.grouped_help import GROUPS, OTHERS
from regraft.cli.main import cli


def shown(command: str) -> str:
    result = CliRunner().invoke(cli, [command, "--help"], terminal_width=80, color=False)
    assert result.exit_code == 0
    return result.output


def flags(text: str) -> list[str]:
    return re.findall(r"^  (?:-\w, )?(--[a-z0-9-]+)", text, flags=re.MULTILINE)


@pytest.mark.parametrize("command", ["train", "lr-find"])
def test_every_option_stands_in_one_group(command: str) -> None:
    context = cli.make_context("regraft", [command, "x"])
    program = cli.get_command(context, command)
    assert program is not None
    wanted = Counter(
        next(flag for flag in p.opts if flag.startswith("--"))
        for p in program.params
        if p.param_type_name == "option"
    )
    text = shown(command)
    assert Counter(flags(text)) == wanted + Counter(["--help"])
    assert flags(text.partition(f"{OTHERS}:")[2]) == ["--help"], "a new option needs a group"


def test_a_name_stands_in_one_group() -> None:
    names = [name for group in GROUPS.values() for name in group]
    assert len(names) == len(set(names))


def test_the_common_options_come_before_those_of_training_by_gradients() -> None:
    text = shown("train")
    heads = [line[:-1] for line in text.splitlines() if line.endswith(":") and line[0] != " "]
    assert heads == [*GROUPS, OTHERS]
    assert text.index("--backbone") < text.index("--json") < text.index("--epochs INTEGER")
    assert max(map(len, text.splitlines())) <= 80


def test_the_program_alone_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    from regraft.cli import outcome

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["regraft"])
        assert outcome.of(cli) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("Usage: ")
    assert "[OPTIONS] COMMAND" in shown.splitlines()[0]
    assert "Error" not in shown
