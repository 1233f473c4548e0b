"""A network that does not exist is refused first of all, with near names: before the data are
looked for, and without the seconds that the import of timm takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from regraft.backbones import catalog, timm_names
from regraft.choosing.way import known_backbones
from regraft.errors import BackboneError

TYPO = "resnet181"
# Whatever takes the name of a network, asked of data that are not there.
COMMANDS = [
    ["train", "nowhere", "--backbone", TYPO],
    ["train", "nowhere", "--backbone", f"default+{TYPO}"],
    ["train", "nowhere", "--backbone", f"random:{TYPO}"],
    ["train", "nowhere", "--backbone", TYPO, "--dry-run"],
    ["auto", "nowhere", "--backbones", TYPO],
    ["advise", "nowhere", "--backbones", TYPO],
    ["compare", "nowhere", "--backbones", TYPO],
    ["check", "nowhere", "--backbone", TYPO],
    ["features", "nowhere", "--backbone", TYPO, "--out", "features.npz"],
    ["layers", "nowhere", "--backbone", TYPO],
    ["lr-find", "nowhere", "--backbone", TYPO],
    ["show", "nowhere", "--backbone", TYPO],
    ["summary", TYPO],
    ["teach", "folder", "--backbone", TYPO],
]
# The command line, which says whether it imported timm.
ALONE = """
import sys
from regraft.cli.main import main
try:
    main()
finally:
    assert not {"timm", "torch"} & set(sys.modules), "imported"
"""


@pytest.mark.parametrize(
    "command", COMMANDS, ids=lambda command: " ".join(command[:1] + command[-2:])
)
def test_every_command_says_first_that_there_is_no_such_network(
    command: list[str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALONE, *command], cwd=tmp_path, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert TYPO in done.stderr
    assert "resnet18" in done.stderr.partition("near:")[2]
    assert "nowhere" not in done.stderr
    assert "imported" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_source_has_the_names_that_timm_says() -> None:
    import timm
    from timm.models import _registry

    there = [*timm.list_models()[::50], *list(_registry._model_entrypoints)[::100], "tv_resnet34"]
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(sys.modules, "timm")
        assert [name for name in there if timm_names.instead_of(name) is not None] == []
        known = timm_names.instead_of(TYPO)
    assert known is not None
    assert sorted(known) == sorted(timm.list_models())


def test_what_a_program_added_to_timm_is_known() -> None:
    from timm.models import _registry

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(_registry._model_entrypoints, "of_my_own", lambda **options: None)
        assert catalog.resolve("of_my_own").kind == "timm"
    with pytest.raises(BackboneError, match="of_my_own"):
        catalog.resolve("of_my_own")


def test_without_timm_a_name_is_left_to_whoever_loads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    assert catalog.resolve(TYPO).architecture == TYPO


def test_of_several_networks_the_unknown_one_is_left_out_at_once() -> None:
    found, missing = known_backbones(["default", TYPO, "resnet18"])
    assert found == ["default", "resnet18"]
    assert "near: resnet18" in missing[TYPO]
