"""The range test: its arithmetic on curves that are known, and the command on small photos."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regraft.errors import ConfigError
from regraft.record.configuration import RunConfig
from regraft.training import lr_find, stepping
from regraft.training.lr_find import RangeTest, rising, smoothed, steepest_descent
from regraft.workflows import survey

SETTINGS = {"batch_size": 8, "views": 1, "augment": "none", "init_head": "random"}


def measured(losses: list[float], *, has_diverged: bool = False) -> RangeTest:
    rates = rising(len(losses))
    return RangeTest(rates, losses, smoothed(losses), has_diverged, 200, "partial")


def test_a_loss_that_falls_around_a_rate_has_its_steepest_descent_there() -> None:
    place = [math.log10(rate) for rate in rising(100)]
    losses = [1 / (1 + math.exp(6 * (x + 3))) + 0.1 for x in place]  # steepest at 1e-3
    found = measured(losses)
    assert found.steepest is not None
    assert found.minimum == found.rates[-1]
    assert found.tenth == pytest.approx(0.1)
    # The average over about ten steps comes after its losses by less than as many.
    assert 1e-3 <= found.steepest <= rising(100)[60]
    assert steepest_descent(found.rates, losses) == pytest.approx(1e-3, rel=0.1)


@given(st.integers(0, 10_000))
def test_noise_alone_names_no_rate(seed: int) -> None:
    random = np.random.default_rng(seed)
    found = measured(list(1 + 0.02 * random.standard_normal(100)))
    assert found.steepest is None
    assert found.tenth is None
    assert "no rate makes the loss clearly smaller" in found.reading


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50), st.floats(0, 0.99))
def test_the_average_stays_within_its_losses(losses: list[float], beta: float) -> None:
    found = smoothed(losses, beta)
    for step, value in enumerate(found, 1):
        assert min(losses[:step]) - 1e-9 <= value <= max(losses[:step]) + 1e-9


def test_the_average_is_that_of_its_definition() -> None:
    losses = [3.0, 1.0, 4.0, 1.0, 5.0]
    weights = [0.9 ** (len(losses) - 1 - i) for i in range(len(losses))]
    assert smoothed(losses)[-1] == pytest.approx(np.average(losses, weights=weights))


def test_the_rates_rise_by_one_factor_from_lowest_to_highest() -> None:
    rates = rising(60)
    assert (rates[0], rates[-1]) == pytest.approx((lr_find.LOWEST, lr_find.HIGHEST))
    np.testing.assert_allclose(np.diff(np.log(rates)), math.log(1e5) / 59)


# -- on photos --


@pytest.fixture(scope="module")
def photos(make_room: Callable[[str], Path], make_photos: Callable[..., Path]) -> Path:
    return make_photos(make_room("rates") / "photos", splits={"train": 16, "val": 4})


@pytest.fixture(autouse=True)
def cache(photos: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One cache for the module."""
    monkeypatch.setenv("REGRAFT_CACHE", str(photos.parent / "cache"))
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def config(photos: Path, method: str, **settings: Any) -> RunConfig:
    training = None if method == "probe" else {**SETTINGS, **settings}
    return RunConfig(
        str(photos), method=method, backbone="random:test_efficientnet", training=training
    )


def test_it_moves_the_rate_it_says_and_keeps_nothing(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    seen: list[float] = []
    step = stepping.Stepper.take

    def watched(self: Any, *given: Any, **more: Any) -> Any:
        found = step(self, *given, **more)
        seen.append(max(g["lr"] for g in self.optimizer.param_groups))
        return found

    monkeypatch.setattr(stepping.Stepper, "take", watched)
    found = survey.try_rates(config(photos, "head", clip=0.0))
    assert seen[: len(found.rates)] == pytest.approx(found.rates)
    assert found.option == "--head-rate"
    assert len(found.losses) == len(found.smoothed) == len(found.rates) <= 100
    assert list(tmp_path.iterdir()) == []


def test_it_stops_where_the_loss_diverges(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lr_find, "HIGHEST", 1e6)
    found = survey.try_rates(config(photos, "partial", clip=0.0))
    assert found.has_diverged
    assert found.rates[-1] < 1e6
    assert max(found.smoothed[:-1]) <= lr_find.DIVERGED * min(found.smoothed)
    assert "it diverges" in found.reading
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_probe_has_no_rate(photos: Path) -> None:
    with pytest.raises(ConfigError, match="no learning rate"):
        survey.try_rates(config(photos, "probe"))


def test_the_command_shows_draws_and_prints_json(
    photos: Path, run_warm: Any, tmp_path: Path
) -> None:
    options = ["--method", "head", "--backbone", "random:test_efficientnet", "--batch-size", "8"]
    done = run_warm("lr-find", photos, *options, "--init-head", "random", "--out", "rate.png")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "nats per image" in done.stdout
    assert (tmp_path / "rate.png").read_bytes()[:4] == b"\x89PNG"
    done = run_warm("lr-find", photos, *options, "--json")
    content = json.loads(done.stdout)
    assert len(content["rates"]) == len(content["losses"]) == len(content["smoothed"])
    assert content["n"] <= 48
    assert not (tmp_path / "runs").exists()


def test_the_command_refuses_several_processes_and_odd_pictures(
    run_cli: Any, tmp_path: Path
) -> None:
    done = run_cli("lr-find", tmp_path, env={"RANK": "0", "WORLD_SIZE": "2"})
    assert done.returncode == 2
    assert "one process" in done.stderr
    done = run_cli("lr-find", tmp_path, "--out", "rate.txt")
    assert done.returncode == 2
    assert ".png" in done.stderr
