"""R15: no network unless a name needs it; without it, soon, which file to put where."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from regraft.backbones import catalog
from regraft.errors import BackboneError

Write = Callable[..., Path]
NAMES = {
    "hf-hub:someone/their-net": "https://huggingface.co/someone/their-net",
    "resnet18.a1_in1k": "https://huggingface.co/timm/resnet18.a1_in1k",
}


@pytest.fixture(autouse=True)
def empty_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Hugging Face cache with nothing in it."""
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every address that somebody tried to reach; none is."""
    seen: list[object] = []

    def refuse(*args: object, **kwargs: object) -> None:
        seen.append(args[:2])
        raise ConnectionError("no network")

    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return seen


def test_a_name_server_that_never_answers_is_not_waited_for(
    asked: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    from regraft.backbones import hub, network

    monkeypatch.setattr(hub, "TIMEOUT_S", 0.2)
    released = threading.Event()

    def never(*args: object) -> None:
        released.wait(10)
        raise ConnectionError("much later")

    monkeypatch.setattr(socket, "create_connection", never)
    start = time.perf_counter()
    with pytest.raises(BackboneError, match=r"model\.safetensors"):
        network.load(catalog.resolve("hf-hub:someone/their-net"))
    assert time.perf_counter() - start < 5
    released.set()


@pytest.mark.parametrize("name", NAMES)
def test_without_network_the_message_comes_soon_and_names_the_file(
    name: str, asked: list[object]
) -> None:
    from regraft.backbones import network

    start = time.perf_counter()
    with pytest.raises(BackboneError) as caught:
        network.load(catalog.resolve(name))
    assert time.perf_counter() - start < 10
    assert asked, "it had to try"
    for words in (repr(name), "model.safetensors", NAMES[name], "--weights", "--backbone default"):
        assert words in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", ["argument", "environment"])
def test_offline_asks_nobody(
    name: str, how: str, asked: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants as constants

    from regraft.backbones import network

    if how == "environment":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    before = constants.HF_HUB_OFFLINE
    start = time.perf_counter()
    with pytest.raises(BackboneError, match=r"model\.safetensors"):
        network.load(catalog.resolve(name), offline=how == "argument")
    assert time.perf_counter() - start < 10
    assert asked == []
    assert before == constants.HF_HUB_OFFLINE, "what others set is put back"


def test_a_typo_asks_nobody(asked: list[object]) -> None:
    from regraft.backbones import network

    with pytest.raises(BackboneError, match="resnet18"):
        network.load(catalog.resolve("resnet188"))
    assert asked == []


def test_the_command_line_says_it_with_exit_code_2(
    run_cli: Any, cache: Path, tmp_path: Path, make_photos: Write
) -> None:
    photos = make_photos(tmp_path / "photos", n=2, size_px=64)
    env = {"HF_HOME": str(tmp_path / "hf")}
    done = run_cli("train", photos, "--backbone", "hf-hub:someone/net", "--offline", env=env)
    assert done.returncode == 2, done.stderr
    assert "https://huggingface.co/someone/net" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_the_default_backbone_needs_no_network(
    engine_cache: Path, asked: list[object], tmp_path: Path, make_photos: Write
) -> None:
    from regraft.backbones import network
    from regraft.record.configuration import RunConfig
    from regraft.workflows import preparation

    network.load(catalog.resolve("default"))
    photos = make_photos(tmp_path / "photos", n=2, size_px=64)
    preparation.prepare(RunConfig(str(photos)), needs_splits=False)
    assert asked == []
