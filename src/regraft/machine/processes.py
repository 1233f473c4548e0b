"""Which of several processes this is, as `torchrun` or `accelerate launch` started them.

They train together, each on its part of every step. All else the first one does alone: it fills
the caches, in which the others then find everything, and it alone writes and speaks. In a process
that was started by itself nothing here does anything, and nothing is imported.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from regraft.errors import TrainingError, UsageError

# As torchrun says it, Intel's MPI, and Open MPI; Accelerate reads the same.
_SIZE = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE")
_RANK = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK")
_HERE = ("LOCAL_WORLD_SIZE", "MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE")
# The first process may look at a million images while the others wait. If it dies meanwhile, the
# launcher ends them.
LONGEST_WAIT = timedelta(days=7)
# Accelerate's PartialState; None until the processes have met.
_state: Any = None


def n_processes() -> int:
    """How many work together; the launcher says it in the environment.

    Examples
    --------
    >>> n_processes()
    1
    """
    return 1 if _said(_RANK) is None else _said(_SIZE) or 1


def rank() -> int:
    """The number of this process, from 0."""
    return _said(_RANK) or 0 if n_processes() > 1 else 0


def is_main() -> bool:
    """Whether this is the one that writes and speaks; True for a process by itself."""
    return rank() == 0


def have_met() -> bool:
    """Whether :func:`meet` was called, and there is somebody to meet."""
    return _state is not None


def meet(device: str) -> None:
    """Wait until all processes are there; from then on they can go in order.

    Parameters
    ----------
    device : {'cpu', 'cuda'}

    Raises
    ------
    UsageError
        More processes than GPUs, or a device that they cannot share.
    """
    global _state
    if n_processes() > 1 and _state is None:
        _state = _process_group(device)


@contextmanager
def main_first() -> Iterator[None]:
    """The first process goes through the block alone, then all others at once.

    What the block makes and keeps on disk is made once. No block may hold another one, nor any
    step of training: both wait for all processes.

    Examples
    --------
    >>> with main_first():
    ...     print("by itself, at once")
    by itself, at once
    """
    if _state is None:
        yield
        return
    with _state.main_process_first():
        yield


def require_same(identity: str) -> None:
    """Refuse to train where the processes came to different plans.

    Raises
    ------
    TrainingError
        Mostly another version of a library, or other data, on another machine.
    """
    if _state is None:
        return
    from accelerate.utils import gather_object

    different = [i for i, other in enumerate(gather_object([identity])) if other != identity]
    if different:
        raise TrainingError(
            f"process {different[0]} came to another plan for this training than process {rank()}",
            cure="the same versions and the same data on every machine; or one machine",
        )


def share(n_cores: int) -> int:
    """Of the machine's cores, those for each process while all of them work."""
    return max(1, n_cores // n_here()) if have_met() else n_cores


def n_here() -> int:
    """How many of the processes are on this machine."""
    return _said(_HERE) or n_processes()


def _process_group(device: str) -> Any:
    """Accelerate's state of all processes that the launcher started: gloo on CPUs, else NCCL."""
    import torch

    count = n_here()
    if device not in ("cpu", "cuda"):
        raise UsageError(
            f"{count} processes cannot share the device {device!r}",
            cure="--device cpu; or start one process, without torchrun",
        )
    if device == "cuda" and count > torch.cuda.device_count():
        raise UsageError(
            f"{count} processes were started for {torch.cuda.device_count()} GPUs",
            cure=f"torchrun --nproc-per-node {torch.cuda.device_count()}; or --device cpu",
        )
    from accelerate import PartialState

    state = PartialState(cpu=device == "cpu", timeout=LONGEST_WAIT)
    atexit.register(state.destroy_process_group)
    return state


def _said(names: tuple[str, ...]) -> int | None:
    return next((int(os.environ[name]) for name in names if os.environ.get(name)), None)
