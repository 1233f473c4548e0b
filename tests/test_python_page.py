"""docs/python.md: its code runs as it stands, and it names what is public."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import regraft
from conftest import ROOT, enter

PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_code_runs_as_it_stands(
    example_room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(example_room, tmp_path, monkeypatch)
    names: dict[str, Any] = {}
    for number, block in enumerate(BLOCKS, 1):
        exec(compile(block, f"docs/python.md, block {number}", "exec"), names)
    assert (tmp_path / "where.png").is_file()


@pytest.mark.parametrize("name", sorted(set(regraft.__all__) - {"ImageTable"}))
def test_what_is_public_is_on_the_page_and_has_an_example(name: str) -> None:
    assert re.search(rf"\b{name}\b", PAGE)
    assert (getattr(regraft, name).__doc__ or "").strip()
    if name != "RegraftError":
        assert ">>>" in getattr(regraft, name).__doc__
