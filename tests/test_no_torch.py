"""The core: from nothing to a tested classifier where torch, timm, torchvision, accelerate and
scikit-learn are not installed."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BLOCKED = ("torch", "torchvision", "timm", "accelerate", "sklearn")
Write = Callable[..., Path]

# Python runs it at its start. A finder that says what an import of what is not there says.
BLOCK = f"""
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
"""

# The command, in a Python whose start has run the block.
START = (
    "import os, runpy, sys\n"
    "runpy.run_path(os.environ['REGRAFT_BLOCK'] + '/sitecustomize.py')\n"
    "from regraft.cli.main import main\n"
    "sys.argv[0] = 'regraft'\n"
    "main()\n"
)


@pytest.fixture
def without(tmp_path: Path, no_network_path: Path) -> dict[str, str]:
    """An environment in which importing one of them is an error, as if it were not installed."""
    folder = tmp_path / "blocked"
    folder.mkdir()
    refused = (no_network_path / "sitecustomize.py").read_text(encoding="utf-8")
    (folder / "sitecustomize.py").write_text(refused + BLOCK)
    # What stands before ours on the path is without a block.
    return {"PYTHONPATH": os.environ.get("PYTHONPATH", ""), "REGRAFT_BLOCK": str(folder)}


@pytest.fixture
def core(run_program: Any, without: dict[str, str], tmp_path: Path) -> Any:
    """``core("train", folder)``: the command, with the core's packages alone."""

    def run(*args: object) -> Any:
        return run_program(sys.executable, "-c", START, *args, env=without)

    return run


def test_they_are_blocked(run_python: Any, without: dict[str, str]) -> None:
    for name in BLOCKED:
        program = (
            "import os, runpy\n"
            "runpy.run_path(os.environ['REGRAFT_BLOCK'] + '/sitecustomize.py')\n"
            f"import {name}\n"
        )
        assert f"No module named '{name}'" in run_python("-c", program, env=without).stderr


@pytest.mark.slow  # nine commands, each a process, from an empty cache
def test_from_nothing_to_answers(
    core: Any, cache: Path, tmp_path: Path, make_photos: Write
) -> None:
    photos = make_photos(tmp_path / "photos", splits={"train": 5, "val": 2}, size_px=64)
    trained = core("train", photos, "--json", "--run", "r")
    assert trained.returncode == 0, trained.stderr
    result = json.loads(trained.stdout)
    assert result["features"]["computed"] == 21
    assert (tmp_path / "runs" / "r" / "report.html").stat().st_size > 10_000
    model = tmp_path / "runs" / "r" / "model"
    one = next((photos / "val" / "discs").iterdir())
    for command in (
        ("evaluate", model, photos, "--json"),
        ("predict", model, photos / "val" / "discs", "--json"),
        ("explain", model, one, "--method", "cam", "--json"),
        ("report", tmp_path / "runs" / "r"),
        ("check", photos, "--json"),
        ("layers", photos, "--json"),
        ("show", photos, "--augment", "none", "--out", tmp_path / "show.png"),
        ("cache", "verify"),
        ("backbones", "--json"),
    ):
        done = core(*command)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    engine = next((cache / "engines").glob("*/engine.json"))
    check = json.loads(engine.read_text())["check"]
    assert check["fp32"]["images"] == 8
    assert check["fp32"]["error"] < 1e-4

    # On another machine, which has the model alone.
    shutil.rmtree(cache)
    done = core("predict", model, one, "--json")
    assert done.returncode == 0, done.stderr
    explained = core("explain", model, one, "--json")
    assert explained.returncode == 0, explained.stderr


# All of them take half a minute.
FEW_DIGITS = (
    "import numpy as np\n"
    "from regraft.data import digits\n"
    "held = dict(np.load(digits.FILE))\n"
    "np.savez('few.npz', **{name: values[:120] for name, values in held.items()})\n"
    "digits.FILE = 'few.npz'\n"
    "main()\n"
)


@pytest.mark.slow  # a training
def test_the_demo(
    run_python: Any, without: dict[str, str], engine_cache: Path, tmp_path: Path
) -> None:
    written = run_python(
        "-c",
        START.replace("main()", "from regraft.data import digits; digits.write_digits('demo')"),
        env=without,
    )
    assert written.returncode == 0, written.stderr
    files = sorted((tmp_path / "demo" / "digits").rglob("*.png"))
    assert len(files) == 1797
    few = START.replace("main()", FEW_DIGITS)
    done = run_python("-c", few, "demo", "--folder", tmp_path / "few", env=without)
    assert done.returncode == 0, done.stderr
    assert "images right" in done.stdout


def test_the_demos_digits_are_scikit_learns() -> None:
    import numpy as np
    from sklearn.datasets import load_digits

    from regraft.data.digits import FILE

    with np.load(FILE) as kept:
        assert np.array_equal(kept["images"], load_digits().images)
        assert np.array_equal(kept["labels"], load_digits().target)


TRAIN = "pip install 'regraft[train]'"


@pytest.mark.parametrize(
    "command",
    [
        ("train", "photos", "--method", "full"),
        ("train", "photos", "--method", "partial", "--split-point", "blocks.5"),
        ("train", "photos", "--backbone", "resnet18"),
        ("train", "photos", "--device", "cuda"),
        ("lr-find", "photos"),
        ("summary", "resnet18"),
        ("show", "photos"),
        ("backbones", "resnet*"),
    ],
    ids=" ".join,
)
def test_what_needs_them_says_the_line_to_type(
    command: tuple[str, ...], core: Any, engine_cache: Path, tmp_path: Path, make_photos: Write
) -> None:
    make_photos(tmp_path / "photos", n=2, size_px=64)
    done = core(*command)
    assert done.returncode == 2, done.stderr
    assert "which is not installed" in done.stderr
    assert TRAIN in done.stderr
    assert "Traceback" not in done.stderr
    assert "images" not in done.stderr  # it is said before any picture is read


def test_python_says_it_too(run_python: Any, without: dict[str, str]) -> None:
    program = (
        "import os, runpy\n"
        "runpy.run_path(os.environ['REGRAFT_BLOCK'] + '/sitecustomize.py')\n"
        "import regraft\n"
        "try:\n    from regraft import ImageClassifier\n"
        "except ImportError as error:\n    print(error)\n"
        "assert callable(regraft.run)\n"
    )
    done = run_python("-c", program, env=without)
    assert "pip install scikit-learn" in done.stdout, done.stderr


@pytest.mark.parametrize("head", ["logistic", "svm", "ncm", "knn"])
def test_the_other_heads_need_no_torch_either(run_python: Any, head: str) -> None:
    program = (
        "import sys, numpy as np\n"
        "from regraft.features.engine import Tap\n"
        "from regraft.probe.network import Network\n"
        "from regraft.probe.probe import Probe\n"
        "rng = np.random.default_rng(0); y = np.arange(30) % 3\n"
        "X = (rng.standard_normal((30, 8)) + 3 * np.eye(3)[y] @ np.ones((3, 8))).astype('f4')\n"
        "taps = Network((Tap('final', 0, 8),))\n"
        f"Probe(head={head!r}).fit(X, y, network=taps, classes='abc')\n"
        f"print([n for n in {BLOCKED} if n in sys.modules])\n"
    )
    done = run_python("-c", program)
    assert done.stdout.strip() == "[]", done.stderr
