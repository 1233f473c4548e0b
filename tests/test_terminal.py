"""What people see who sit at a terminal: bars, live tables and pages that open; 80 columns wide.

Everywhere else the tests read pipes, where plain lines are printed instead.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import sys
import termios
import threading
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner

from regraft.cli.main import cli
from regraft.console import progress
from regraft.console.evaluation import MAX_CLASSES_LISTED, show_classes, show_score
from regraft.console.screen import stdout
from regraft.console.teaching import showing
from regraft.evaluation.evaluate import evaluate

ROWS, COLUMNS = 24, 80
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A pseudo-terminal that stands for stdout and stderr, and all that was written on it."""

    def __init__(self) -> None:
        self._ours, theirs = pty.openpty()
        size = struct.pack("HHHH", ROWS, COLUMNS, 0, 0)
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
        self.stream = os.fdopen(theirs, "w", encoding="utf-8")
        self._written: list[bytes] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                some = os.read(self._ours, 65_536)
            except OSError:  # the last writer has closed it
                return
            if not some:
                return
            self._written.append(some)

    def __enter__(self) -> None:
        # Within a test: pytest takes the streams anew between a fixture and its test.
        self._were = sys.stdout, sys.stderr
        sys.stdout = sys.stderr = self.stream

    def __exit__(self, *_: object) -> None:
        sys.stdout, sys.stderr = self._were

    def shown(self) -> str:
        """All that was on it, colours and movements taken away; it is closed by this."""
        if not self.stream.closed:
            self.stream.close()
            self._reader.join(10)
            os.close(self._ours)
        return ESCAPES.sub("", b"".join(self._written).decode())

    def too_wide(self) -> list[str]:
        """Lines that the terminal breaks anywhere; commands stay whole, so that they are copied."""
        lines = [line.rstrip() for line in re.split(r"[\r\n]+", self.shown())]
        return [one for one in lines if len(one) > COLUMNS and "        regraft " not in one]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    one = Terminal()
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("COLUMNS", raising=False)
    yield one
    one.shown()


def type_in(*args: str) -> None:
    """A command, as a user types it here."""
    cli.main([*args], prog_name="regraft", standalone_mode=False)


def test_train_shows_a_bar_and_a_result_that_fits(photos_room: Path, terminal: Terminal) -> None:
    with terminal:
        type_in("train", "photos", "--no-report")
    shown = terminal.shown()
    assert re.search(r"━.* \d+/54", shown)
    assert "choosing and learning" in shown
    assert "of 18 test images right" in shown
    assert terminal.too_wide() == []


def test_auto_shows_its_ways_while_they_are_tried(photos_room: Path, terminal: Terminal) -> None:
    with terminal:
        type_in("auto", "photos", "--budget", "60s", "--backbones", "default", "--no-report")
    shown = terminal.shown()
    assert re.search(r"\d+ s of (1 min|60 s) left", shown)
    for heading in ("way", "state", "left out", "log loss", "bill"):
        assert heading in shown
    assert re.search(r"probe.*(running|tried|done|took)", shown)
    assert terminal.too_wide() == []


def test_a_bar_says_the_rate_and_what_goes_on_after(terminal: Terminal) -> None:
    with terminal, progress.listening(quiet=False, after="learning") as listener:
        for done in (0, 5, 10):
            listener.progress("images read", done, 10)
        listener.say("one sentence " * 20)
        listener.say("one sentence " * 20)  # said once
        listener.epoch(
            SimpleNamespace(
                epoch=1, images_per_second=12.0, loss=0.5, accuracy=0.75, held_out_loss=0.25,
                held_out_accuracy=1.0, is_best=True,
            ),
            3,
        )  # fmt: skip
    shown = terminal.shown()
    assert "10/10" in shown
    assert "learning" in shown
    assert shown.count("one sentence") == 20
    assert "epoch 1/3" in shown
    assert "val 0.250 100.0 % *" in shown
    assert progress.LEGEND.split(":")[0] in shown
    assert terminal.too_wide() == []


def test_predict_counts_where_images_are_many(terminal: Terminal) -> None:
    with terminal:
        listener = progress.counting(quiet=False)
        for done in range(1, 201):
            listener.progress("images read", done, 200)
        listener.progress("a few", 3, 3)  # gone before it is seen
    shown = terminal.shown()
    assert "20 of 200 images read" in shown
    assert "200 of 200 images read\r\n" in shown
    assert "a few" not in shown


def test_a_dry_run_is_a_bill_in_words(photos_room: Path, terminal: Terminal) -> None:
    with terminal:
        type_in("train", "photos", "--dry-run")
    shown = terminal.shown()
    for part in ("Bill", "Memory", "up to", "MiB", "Disk", "nothing kept yet", "all kept"):
        assert part in shown
    assert terminal.too_wide() == []
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    "command",
    ["layers photos", "advise photos", "check photos", "summary default", "summary lite2",
     "features photos --shard 1/2 --out a/long/name/of/a/folder/for/the/parts", "show photos",
     "cache", "cache verify", "serve --help", "train --help", "backbones"],
)  # fmt: skip
def test_a_command_keeps_within_the_terminal(
    photos_room: Path, terminal: Terminal, command: str
) -> None:
    with terminal:
        type_in(*command.split())
    paths = [line for line in terminal.too_wide() if line.strip().startswith("a/long/name")]
    assert terminal.shown().strip()
    assert terminal.too_wide() == paths


def test_a_share_that_changes_nothing_is_told(photos_room: Path, terminal: Terminal) -> None:
    with terminal:
        type_in("train", "photos", "--test-fraction", "0.3", "--no-report")
    assert "--test-fraction 0.3 changes nothing" in " ".join(terminal.shown().split())


def test_of_many_classes_the_weakest_and_the_worst_mistakes_are_shown(terminal: Terminal) -> None:
    n_classes = MAX_CLASSES_LISTED + 3
    y = np.repeat(np.arange(n_classes), 2)
    proba = np.full((len(y), n_classes), 0.01)
    proba[np.arange(len(y)), y] = 1
    proba[1, [0, 1]] = 0.0, 2  # one image of the first class is taken for the second
    proba /= proba.sum(1, keepdims=True)
    names = [f"kind {k:02}" for k in range(n_classes)]
    found: Any = evaluate(y, proba, classes=names, split="test").to_dict()
    with terminal:
        screen = stdout()
        show_score(screen, found)
        show_classes(screen, found)
    shown = terminal.shown()
    assert f"the {MAX_CLASSES_LISTED} weakest of {n_classes} classes" in shown
    assert "1 x kind 00 predicted as kind 01" in shown
    assert "true \\ predicted" not in shown


@pytest.mark.parametrize(("host", "token"), [("127.0.0.1", ""), ("0.0.0.0", "secret")])
def test_teach_opens_the_page_where_people_sit(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, host: str, token: str
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    project = SimpleNamespace(folder=Path("birds"), classes=["a", "b"], shown=lambda: [1, 2, 3])
    room: Any = SimpleNamespace(project=project, disk=SimpleNamespace(left_out={}))
    doors: Any = SimpleNamespace(host=host, token=token)
    with terminal:
        showing(opens_browser=True)("http://here:8000", room, doors)
    (page,) = opened
    assert page == ("http://here:8000/#token=secret" if token else "http://here:8000/")
    shown = " ".join(terminal.shown().split())
    assert "birds: 3 pictures in 2 classes" in shown
    assert ("everyone who reaches this machine" in shown) == bool(token)


def test_no_browser_opens_where_nobody_sits(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(page: str) -> None:
        pytest.fail(f"{page} was opened")

    monkeypatch.setattr(webbrowser, "open", refuse)

    @click.command()
    def command() -> None:
        project = SimpleNamespace(folder=Path("birds"), classes=[], shown=list)
        room: Any = SimpleNamespace(project=project, disk=SimpleNamespace(left_out={}))
        showing(opens_browser=True)(
            "http://here", room, SimpleNamespace(host="127.0.0.1", token="")
        )

    assert CliRunner().invoke(command, catch_exceptions=False).exit_code == 0
