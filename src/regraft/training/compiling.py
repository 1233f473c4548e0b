"""torch.compile, where it pays: tried before the first step, and kept if the rest then ends sooner.

On a CPU nearly all of a step is convolutions, and both ways hand those to the same library: what
was compiled took 1.1 to 2 times as long (docs/methods.md). So by default it is tried on GPUs only.
What was chosen is part of a checkpoint: the two ways round differently, and a run that goes on has
to end with the same bits.
"""

from __future__ import annotations

import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from regraft.listener import Doing
from regraft.machine import quiet

TRIED_ON = ("cuda",)
# Compiling forward and backward takes at least so long, and saves at most this share of a step.
COMPILING_S, SAVED_AT_MOST = 30.0, 0.5
N_TIMED = 3

Step = Callable[[Any], None]


@dataclass(frozen=True, eq=False)
class Choice:
    """The way that steps go.

    Attributes
    ----------
    module : nn.Module or None
        The compiled one; None to go on with the module as it is.
    words : str
        Why, and what it took.
    has_failed : bool
        It was to be compiled and could not.
    """

    module: Any
    words: str
    has_failed: bool = False


def choose(
    module: nn.Module,
    wanted: str,
    *,
    before: bool | None,
    step: Step,
    n_steps: int,
    device: str,
    n_processes: int = 1,
    say: Callable[[str], None] = lambda text: None,
) -> Choice:
    """Compile `module` if that was asked for, or if the steps that are left end sooner.

    Parameters
    ----------
    module : nn.Module
        What a step runs.
    wanted : {'auto', 'on', 'off'}
    before : bool or None
        What a run that goes on did until now; None at its start.
    step : callable(module)
        Forward and backward of one batch; leaves everything as it was, and waits for the device.
    n_steps : int
        Still to be done.
    device : str
        'cpu', 'cuda' or 'mps'.
    """
    if before is not None:
        wanted = "on" if before else "off"
    if wanted == "off" or not n_steps:
        return Choice(None, "not compiled")
    plain_s = 0.0
    if wanted == "auto":
        if device not in TRIED_ON or n_processes > 1:
            where = f"on {device}" if n_processes == 1 else f"in {n_processes} processes"
            return Choice(None, f"not compiled: not tried {where}")
        plain_s = _seconds_of(step, module)
        if n_steps * plain_s * SAVED_AT_MOST < COMPILING_S:
            left = f"{n_steps} steps of {1000 * plain_s:.0f} ms"
            return Choice(None, f"not compiled: {left} are too few to pay for it")
    say(Doing("compiling the layers that learn (torch.compile)"))
    start = time.perf_counter()
    quick, reason = _tried(module, step, n_processes)
    took = time.perf_counter() - start
    if quick is None:
        words = f"torch.compile does not work here ({reason}); the steps go on without it"
        return Choice(None, words, has_failed=True)
    if wanted == "on":
        return Choice(quick, f"compiled in {took:.0f} s")
    quick_s = _seconds_of(step, quick)
    times = f"{1000 * quick_s:.0f} ms a step, {1000 * plain_s:.0f} without; it took {took:.0f} s"
    if quick_s < plain_s:
        return Choice(quick, f"compiled: {times}")
    return Choice(None, f"not compiled, after a trial: {times}")


def compiled(module: nn.Module) -> Any:
    """The module for inputs of one shape; another one is compiled when it comes.

    PyTorch keeps at most eight graphs for each piece of code (`recompile_limit`), and goes without
    from the ninth on. Fits share their code; this one gets a piece of its own.
    """
    if isinstance(module, nn.parallel.DistributedDataParallel):  # known to PyTorch as such only
        return torch.compile(module, dynamic=False)

    def run(*inputs: Any) -> Any:
        return module(*inputs)

    own = types.FunctionType(
        run.__code__.replace(), run.__globals__, run.__name__, None, run.__closure__
    )
    return torch.compile(own, dynamic=False)


def is_of_compiler(error: BaseException) -> bool:
    """Whether it is the compiler that failed, and not what it compiled."""
    return any(kind.__module__.startswith(("torch._dynamo", "torch._inductor"))
               for kind in type(error).__mro__)  # fmt: skip


def _tried(module: nn.Module, step: Step, n_processes: int) -> tuple[Any, str]:
    """The compiled module after its first step, or None and why not: in all processes alike."""
    quick, reason = None, ""
    try:
        with _silent():
            quick = compiled(module)
            step(quick)
    except Exception as error:  # whatever it is, the steps go on without
        quick, reason = None, (str(error).strip() or type(error).__name__).splitlines()[0][:160]
    if n_processes > 1:
        from accelerate.utils import gather_object

        failed = [one for one in gather_object([reason]) if one]
        quick, reason = (None, failed[0]) if failed else (quick, "")
    return quick, reason


@contextmanager
def _silent() -> Iterator[None]:
    """Without torch's words on what else this machine could have; failures are told by us."""
    with quiet.no_words("torch"), quiet.no_warnings():
        yield


def _seconds_of(step: Step, module: Any) -> float:
    """Of one step: the quickest of a few, after one that warms up."""
    step(module)
    times = []
    for _ in range(N_TIMED):
        start = time.perf_counter()
        step(module)
        times.append(time.perf_counter() - start)
    return min(times)
