"""With the engine built, the whole way works where torch, timm and scikit-learn cannot be had."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BLOCKED = ("torch", "torchvision", "timm", "sklearn")
Write = Callable[..., Path]


@pytest.fixture
def without(tmp_path: Path) -> dict[str, str]:
    """An environment in which importing one of them is an error, as if it were not installed."""
    block = tmp_path / "blocked"
    block.mkdir()
    for name in BLOCKED:
        (block / f"{name}.py").write_text(f"raise ImportError('{name} is blocked')\n")
    return {"PYTHONPATH": str(block)}


def test_the_way_from_a_folder_to_answers_needs_no_torch(
    run_cli: Any, run_python: Any, engine_cache: Path, tmp_path: Path, make_photos: Write,
    without: dict[str, str],
) -> None:  # fmt: skip
    for name in BLOCKED:
        assert run_python("-c", f"import {name}", env=without).returncode == 1, "it is blocked"
    photos = make_photos(tmp_path / "photos", splits={"train": 5, "val": 2}, size_px=64)
    trained = run_cli("train", photos, "--json", "--run", "r", env=without)
    assert trained.returncode == 0, trained.stderr
    assert json.loads(trained.stdout)["features"]["computed"] == 21
    model = tmp_path / "runs" / "r" / "model"
    for command in (
        ("evaluate", model, photos, "--json"),
        ("predict", model, photos / "val" / "discs", "--json"),
        ("check", photos, "--json"),
        ("layers", photos, "--json"),
        ("cache", "verify"),
        ("backbones", "--json"),
    ):
        done = run_cli(*command, env=without)
        assert done.returncode == 0, (command, done.stderr)
        assert "blocked" not in done.stderr


@pytest.mark.parametrize("head", ["logistic", "svm", "ncm", "knn"])
def test_the_other_heads_need_no_torch_either(run_python: Any, head: str) -> None:
    program = (
        "import sys, numpy as np\n"
        "from regraft.features.engine import Tap\n"
        "from regraft.probe.choice import Network\n"
        "from regraft.probe.probe import Probe\n"
        "rng = np.random.default_rng(0); y = np.arange(30) % 3\n"
        "X = (rng.standard_normal((30, 8)) + 3 * np.eye(3)[y] @ np.ones((3, 8))).astype('f4')\n"
        "taps = Network((Tap('final', 0, 8),))\n"
        f"Probe(head={head!r}).fit(X, y, network=taps, classes='abc')\n"
        f"print([n for n in {BLOCKED} if n in sys.modules])\n"
    )
    done = run_python("-c", program)
    assert done.stdout.strip() == "[]", done.stderr


def test_without_the_engine_the_missing_package_is_no_riddle(
    run_cli: Any, cache: Path, tmp_path: Path, make_photos: Write, without: dict[str, str]
) -> None:
    photos = make_photos(tmp_path / "photos", n=2, size_px=64)
    done = run_cli("train", photos, env=without)
    assert done.returncode != 0
    assert "torch" in done.stderr
