"""The folder that an image is built from: its steps, done here in a bare environment of Python."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import regraft
from regraft.errors import ArtefactError, UsageError
from regraft.model import export_docker
from regraft.workflows.exporting import export_model

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def folder(make_room: Callable[[str], Path], train_in: Write) -> Path:
    """``out``, exported from the model of a room; nothing is written into it."""
    room = train_in(make_room("trained"), splits={"train": 5, "val": 2})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_CACHE", str(room / "cache"))
        export_model(room / "runs" / "r", room / "out", to="docker")
    return room / "out"


def steps(folder: Path, word: str) -> list[str]:
    text = (folder / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    return re.findall(rf"^\s*{word} (.*)$", text, re.MULTILINE)


def test_it_holds_what_the_dockerfile_copies_and_says_who_serves(folder: Path) -> None:
    for copied in steps(folder, "COPY"):
        assert (folder / copied.split()[0]).is_dir()
    assert steps(folder, "FROM") == ["python:3.12-slim"]
    assert steps(folder, "USER") == ["regraft"], "not root"
    assert "/health" in steps(folder, "HEALTHCHECK")[0]
    assert json.loads(steps(folder, "CMD")[-1])[:3] == ["regraft", "serve", "model"]
    text = "".join(p.read_text(encoding="utf-8") for p in folder.glob("*") if p.is_file())
    assert "torch" not in text.replace("PyTorch", "")
    compose = (folder / "compose.yaml").read_text(encoding="utf-8")
    assert "${REGRAFT_TOKEN:?" in compose
    assert "read_only: true" in compose
    regraft.load(folder / "model")


def test_the_wheel_asks_for_no_pytorch_and_knows_the_extra(folder: Path) -> None:
    (path,) = (folder / "wheels").glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith("METADATA"))
        lines = wheel.read(name).decode().splitlines()
    assert "Provides-Extra: serve" in lines
    core = [line for line in lines if line.startswith("Requires-Dist") and "extra ==" not in line]
    assert any("openvino" in line for line in core)
    assert not any("torch>" in line for line in core)


@pytest.mark.slow  # a virtual environment, and an engine built in it
def test_its_steps_work_in_a_bare_environment(folder: Path, tmp_path: Path) -> None:
    python = bare_environment(tmp_path / "venv")
    install, warm = steps(folder, "RUN")[1:]
    wanted = shlex.split(install)[-1]
    assert wanted == f"regraft[serve]=={regraft.__version__}"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    # Ours is in sight already, as the environment of these tests has it.
    offline = [
        "--ignore-installed",
        "--no-index",
        "--no-deps",
        "--find-links",
        "wheels",
        "--no-cache-dir",
        wanted,
    ]
    run([*pip, *offline], folder, tmp_path)
    where = run([python, "-c", "import regraft; print(regraft.__file__)"], folder, tmp_path)
    assert str(tmp_path / "venv") in where, "the wheel's own code"
    run([python, *shlex.split(warm)[1:]], folder, tmp_path)
    command = [python.with_name("regraft"), "serve", "--help"]
    assert "--host" in run(command, folder, tmp_path)


def bare_environment(folder: Path) -> Path:
    """Its Python: it has our third-party packages, but neither Regraft nor PyTorch."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    site = next(folder.glob("lib/python*/site-packages"))
    blocked = "import sys; sys.modules.update(dict.fromkeys(('torch', 'timm', 'torchvision')))"
    (site / "first.pth").write_text(f"{blocked}\n{sysconfig.get_paths()['purelib']}\n")
    return folder / "bin" / "python"


def run(command: list[Any], folder: Path, room: Path) -> str:
    env = {**os.environ, "REGRAFT_CACHE": str(room / "cache"), "PYTHONPATH": ""}
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_network_that_needs_pytorch_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_docker.topology, "find", lambda architecture: None)
    with pytest.raises(UsageError, match="built with PyTorch, which the image leaves out"):
        export_model(folder / "model", tmp_path / "out", to="docker")


def test_a_folder_of_something_else_is_left_alone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ArtefactError, match="no export of Regraft"):
        export_model(folder / "model", tmp_path, to="docker")
    assert (tmp_path / "mine.txt").read_text() == "mine"
