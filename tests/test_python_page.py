"""docs/python.md: its code runs as it stands, and it names what is public."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import regraft
from conftest import ROOT, enter
from regraft.errors import ConfigError

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


@pytest.mark.parametrize("name", sorted(regraft.__all__))
def test_what_is_public_is_on_the_page_and_has_an_example(name: str) -> None:
    assert re.search(rf"\b{name}\b", PAGE)
    assert (getattr(regraft, name).__doc__ or "").strip()
    if name != "RegraftError":
        assert ">>>" in getattr(regraft, name).__doc__


def test_names_of_commands_are_told_where_they_are() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'train'; it is regraft\.run"):
        _ = regraft.train
    with pytest.raises(AttributeError, match=r"no attribute 'colour'$"):
        _ = regraft.colour


def test_a_configuration_holds_what_json_has() -> None:
    given = regraft.RunConfig(
        Path("photos"), taps=("final",), seed=np.int64(3), weights=Path("w.pth"), test_fraction=0.5
    )
    assert given == regraft.RunConfig(
        "photos", taps=["final"], seed=3, weights="w.pth", test_fraction=0.5
    )
    assert regraft.RunConfig.from_dict(json.loads(json.dumps(given.to_dict()))) == given
    trained = regraft.RunConfig("photos", method="head", training={"epochs": np.int32(2)})
    assert json.loads(json.dumps(trained.to_dict()))["training"] == {"epochs": 2}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"seed": -1}, "'seed' must be a whole number of 0 or more, got -1"),
        ({"seed": "x"}, "'seed' must be a whole number"),
        ({"test_fraction": 3.0}, "'test_fraction' must be a number above 0 and below 1"),
        ({"test_fraction": 0.0}, "'test_fraction' must be a number above 0 and below 1"),
        ({"head": "forest"}, "no head is called 'forest'"),
        ({"class_weight": "heavy"}, "'class_weight' has no choice 'heavy'"),
        ({"backbone": None}, "'backbone' must be text"),
        ({"taps": "final"}, "'taps' must be"),
        ({"data": None}, "'data' must be text"),
    ],
)
def test_a_configuration_that_cannot_be_meant_is_refused_at_once(
    settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        regraft.RunConfig(**{"data": "photos", **settings})


@pytest.mark.parametrize("given", [None, {"data": "photos"}, ["a.jpg"], np.zeros((2, 2))])
def test_what_is_no_run_is_refused_in_words(given: Any) -> None:
    for door in (regraft.run, regraft.check):
        with pytest.raises(TypeError, match=r"RunConfig.*ImageClassifier\(\)\.fit"):
            door(given)
