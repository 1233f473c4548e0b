"""torch.compile: tried where it can pay, kept if it does, and no run is lost where it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from regraft.listener import Listener
from regraft.record.configuration import RunConfig
from regraft.training import checkpoint, compiling, loop
from regraft.training.compiling import Choice, choose
from regraft.workflows import experiment
from regraft.workflows.experiment import Result

pytestmark = pytest.mark.usefixtures("one_core", "undrawn")

PLAIN, QUICK = nn.Identity(), nn.Identity()


class Clock:
    """Seconds that pass only in steps: so many in a plain one and in a compiled one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, plain: float, quick: float) -> None:
        self.now, self.plain, self.quick, self.steps = 0.0, plain, quick, 0
        monkeypatch.setattr(compiling.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(compiling, "compiled", lambda module: QUICK)

    def step(self, module: Any) -> None:
        self.steps += 1
        self.now += self.quick if module is QUICK else self.plain

    def choose(self, wanted: str = "auto", *, before: bool | None = None, **more: Any) -> Choice:
        return choose(
            PLAIN, wanted, step=self.step, before=before,
            **{"n_steps": 10_000, "device": "cuda", **more},
        )  # fmt: skip


@pytest.mark.parametrize(
    ("plain", "quick", "n_steps", "is_compiled", "words"),
    [
        (0.1, 0.06, 10_000, True, "60 ms a step, 100 without"),
        (0.1, 0.12, 10_000, False, "after a trial: 120 ms a step, 100 without"),
        (0.1, 0.01, 100, False, "100 steps of 100 ms are too few"),
    ],
)
def test_on_a_gpu_what_is_faster_is_kept(
    plain: float, quick: float, n_steps: int, is_compiled: bool, words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    choice = Clock(monkeypatch, plain=plain, quick=quick).choose(n_steps=n_steps)
    assert (choice.module is QUICK) is is_compiled
    assert words in choice.words
    assert not choice.has_failed


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"device": "cpu"}, "not tried on cpu"),
        ({"device": "mps"}, "not tried on mps"),
        ({"n_processes": 2}, "not tried in 2 processes"),
        ({"wanted": "off"}, "not compiled"),
        ({"wanted": "on", "n_steps": 0}, "not compiled"),
        ({"before": False, "wanted": "on"}, "not compiled"),
    ],
)
def test_elsewhere_not_a_step_is_spent_on_it(
    given: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, plain=1, quick=0.1)
    choice = clock.choose(**given)
    assert choice.module is None
    assert words in choice.words
    assert clock.steps == 0


def test_a_run_that_goes_on_does_what_it_did_before(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, plain=0.1, quick=0.2)
    assert clock.choose(before=True).module is QUICK
    assert clock.steps == 1  # the first step compiles; nothing is timed
    assert clock.choose(before=False).module is None


def test_a_compiler_that_is_missing_is_said_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, plain=0.1, quick=0.1)

    def step(module: Any) -> None:
        if module is QUICK:
            raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\nand more")

    monkeypatch.setattr(clock, "step", step)
    choice = clock.choose("on", device="cpu")
    assert choice.module is None
    assert choice.has_failed
    assert "(InvalidCxxCompiler: No working C++ compiler found); the steps go on" in choice.words


def test_only_the_compilers_own_errors_are_taken_for_those() -> None:
    from torch._dynamo.exc import BackendCompilerFailed, Unsupported

    for kind in (BackendCompilerFailed, Unsupported):
        assert compiling.is_of_compiler(kind.__new__(kind))
    assert not compiling.is_of_compiler(RuntimeError("size mismatch"))
    assert not compiling.is_of_compiler(MemoryError())


# -- in the loop --


@pytest.fixture(scope="module")
def room(make_room: Callable[[str], Path], make_photos: Callable[..., Path]) -> Path:
    folder = make_room("compiling")
    make_photos(folder / "photos", splits={"train": 9, "val": 3})
    return folder


@pytest.fixture(autouse=True)
def own_cache(room: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[None]:
    monkeypatch.setenv("REGRAFT_CACHE", str(room / "cache"))
    monkeypatch.chdir(room)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def run(name: str, said: list[str] | None = None, **settings: Any) -> Result:
    """27 images in steps of 8, so that the last step of each epoch is a smaller one."""
    training_ = {"epochs": 2, "batch_size": 8, "views": 1, "augment": "light", **settings}
    config = RunConfig(
        "photos", method="partial", backbone="random:test_efficientnet", training=training_
    )
    listener = Listener(say=(said if said is not None else []).append)
    return experiment.run(config, out="runs", name=name, listener=listener)


def tensors(result: Result) -> dict[str, torch.Tensor]:
    saved = checkpoint.read(result.folder / "checkpoints" / checkpoint.LAST)
    assert saved is not None
    return saved.part("model")


class Counting(nn.Module):  # type: ignore[misc]
    """Stands for a compiled module: the same numbers, and how many images each step had."""

    sizes: list[int]

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Any, earlier: Any = None) -> Any:
        Counting.sizes.append(len(x))
        return self.module(x, earlier)


@pytest.mark.parametrize("batchnorm", ["frozen", "train"])
def test_the_trial_leaves_no_trace_and_small_steps_stay_plain(
    batchnorm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Counting.sizes = []
    plain = run(f"plain-{batchnorm}", compile="off", batchnorm=batchnorm)
    monkeypatch.setattr(compiling, "compiled", Counting)
    said: list[str] = []
    quick = run(f"quick-{batchnorm}", said, compile="on", batchnorm=batchnorm)
    assert Counting.sizes == [8] * (1 + 2 * 3)  # a trial, then the whole steps of both epochs
    assert quick.metrics["training"]["compiled"].startswith("compiled in")
    assert any("compiling the layers that learn" in text for text in said)
    first, second = tensors(plain), tensors(quick)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_was_chosen_is_in_the_checkpoint_and_counts_when_it_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Counting.sizes = []
    monkeypatch.setattr(compiling, "compiled", Counting)
    monkeypatch.setattr(compiling, "TRIED_ON", ("cpu",))
    monkeypatch.setattr(compiling, "COMPILING_S", 0.0)
    # As on a GPU where the trial says that the compiled steps are faster.
    times = iter([1.0, 0.5])
    monkeypatch.setattr(compiling, "_seconds_of", lambda step, module: next(times))
    steps = loop.Trainer._learn

    def stopped(self: Any, epoch: int) -> Any:
        if epoch == 1:
            raise KeyboardInterrupt
        return steps(self, epoch)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "_learn", stopped)
        with pytest.raises(KeyboardInterrupt):
            run("stopped")
    saved = checkpoint.read(Path("runs/stopped/checkpoints") / checkpoint.LAST)
    assert saved is not None
    assert saved.meta["compiled"] is True
    result = run("stopped")  # were it tried again, there would be no times left
    assert result.metrics["training"]["resumed_at"] == 1
    assert Counting.sizes == [8] * (1 + 3 + 1 + 3)


def test_a_later_graph_that_fails_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(Counting):
        def forward(self, x: Any, earlier: Any = None) -> Any:
            if len(Counting.sizes) == 4:
                from torch._dynamo.exc import TorchDynamoException

                raise TorchDynamoException("another size of picture")
            return super().forward(x, earlier)

    plain = run("plain-fails", compile="off")
    Counting.sizes = []
    monkeypatch.setattr(compiling, "compiled", Failing)
    result = run("fails", compile="on")
    (note,) = result.metrics["training"]["notes"]
    assert "another size of picture" in note
    first, second = tensors(plain), tensors(result)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_compiled_steps_are_the_plain_ones_within_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the real compiler; where there is none, the run says so and is the plain one."""
    inductor = pytest.importorskip("torch._inductor.config")
    # Neither trial programs for each of the processor's abilities, nor long optimisation of what
    # runs six times, nor processes that wait for work.
    monkeypatch.setattr(inductor.cpp, "simdlen", 1)
    monkeypatch.setattr(inductor.aot_inductor, "debug_compile", True)
    monkeypatch.setattr(inductor, "compile_threads", 1)
    given = {"split_point": "blocks.4"}  # all layers take the compiler a minute
    plain = run("plain-real", compile="off", **given)
    result = run("compiled-real", compile="on", **given)
    assert result.metrics["training"]["compiled"]
    first, second = tensors(plain), tensors(result)
    for name, tensor in first.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, second[name], atol=1e-4, rtol=1e-3)
