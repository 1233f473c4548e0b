"""A finding of severity error: `check` ends with 3 on it; a whole run names it and ends with 0."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from regraft.checks import findings
from regraft.cli import outcome
from regraft.cli.main import cli

Write = Callable[..., Path]


@pytest.mark.usefixtures("engine_cache")
def test_a_leak_is_an_error_of_check_and_named_by_a_whole_run(
    make_photos: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    make_photos(Path("d"), classes=("discs", "squares"), splits={"train": 5, "test": 2}, size_px=64)
    for name in ("discs", "squares"):
        for photo in sorted(Path("d/train", name).iterdir())[:2]:
            shutil.copy(photo, Path("d/test", name, f"seen_{photo.name}"))

    def call(*args: str) -> tuple[int, dict]:  # type: ignore[type-arg]
        monkeypatch.setattr(sys, "argv", ["regraft", *args, "--json", "-q"])
        capsys.readouterr()
        return outcome.of(cli), json.loads(capsys.readouterr().out.splitlines()[-1])

    code, checked = call("check", "d")
    worst = checked["findings"][0]
    assert (code, worst["kind"], worst["severity"]) == (3, "duplicates-across-splits", "error")
    code, metrics = call("train", "d", "--no-report", "--run", "r")
    found = json.loads(Path("runs/r/findings.json").read_text())["findings"]
    assert (code, found[0]["severity"]) == (0, "error")
    assert metrics["leaks"]["images"] == 4
    assert metrics["leaks"]["evaluation_without"]["n"] == 4
    assert "regraft check DATA && regraft train DATA" in (findings.__doc__ or "")
