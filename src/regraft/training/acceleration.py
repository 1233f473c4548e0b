"""Where training runs, in which arithmetic and over how many processes: Accelerate's part."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from regraft.machine import processes
from regraft.machine.processor import precision as processor_precision
from regraft.training.settings import TrainingSettings

_state_lock = threading.Lock()
# Where there is an Apple GPU, Accelerate sets it when it looks for a device.
_FALLBACK = "PYTORCH_ENABLE_MPS_FALLBACK"
_MIXED = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


def in_parallel(accelerator: Any, model: nn.Module) -> nn.Module:
    """The module whose gradients are averaged over all processes; alone, the module itself.

    It waits for the gradients of those parameters that learn now: when others begin to, it has to
    be made again.
    """
    if accelerator.num_processes == 1:
        return model
    devices = [accelerator.local_process_index] if accelerator.device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(model, device_ids=devices)


def agree_on_statistics(accelerator: Any, model: nn.Module) -> None:
    """The buffers of the first process everywhere: those of BatchNorm are each one's own."""
    if accelerator.num_processes > 1:
        for buffer in model.buffers():
            torch.distributed.broadcast(buffer, 0)


def wait(accelerator: Any) -> None:
    """Until all processes are here; alone, there is nobody whom Accelerate need look for."""
    if accelerator.num_processes > 1:
        accelerator.wait_for_everyone()


def accelerator(
    device: str, settings: TrainingSettings, network: nn.Module, folder: Path | None = None
) -> Any:
    """Accelerate's object for this device; processes as `torchrun` or `accelerate launch` say.

    Parameters
    ----------
    device : {'cpu', 'cuda', 'mps'}
    settings : TrainingSettings
        `precision` and `tracker`.
    network : nn.Module
        'auto' looks at what it is made of.
    folder : Path, optional
        Where a tracker writes that keeps its rows on disk.
    """
    from accelerate import Accelerator

    chosen = settings.precision
    if chosen == "auto":
        chosen = precision_for(device, network)
    with _state_of_its_own():
        return Accelerator(
            cpu=device == "cpu",
            mixed_precision=_MIXED[chosen],
            log_with=settings.tracker or None,
            project_dir=None if folder is None else str(folder),
        )


def autocast(accelerator: Any) -> AbstractContextManager[Any]:
    """The arithmetic of the forward pass; Accelerate's own way asks the state of the process."""
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(accelerator.state.mixed_precision)
    if kind is None:
        return nullcontext()
    context: AbstractContextManager[Any] = torch.autocast(accelerator.device.type, dtype=kind)
    return context


@contextmanager
def _state_of_its_own() -> Iterator[None]:
    """Accelerate keeps device and precision once for the process, in attributes of its classes, and
    refuses any other from then on. An object that is made in here has a state of its own, and what
    the process had before, a user's perhaps, is there again afterwards.
    """
    from accelerate.state import AcceleratorState, GradientState, PartialState

    # The processes that `torchrun` started have met in the third one.
    kinds = [AcceleratorState, GradientState, *[PartialState] * (not processes.have_met())]
    with _state_lock:
        before = [(kind, kind._shared_state) for kind in kinds]
        had_fallback = _FALLBACK in os.environ
        for kind in kinds:
            kind._shared_state = {}
        try:
            yield
        finally:
            for kind, state in before:
                kind._shared_state = state
            if not had_fallback:
                os.environ.pop(_FALLBACK, None)


@contextmanager
def tracking(accelerator: Any, settings: TrainingSettings) -> Iterator[None]:
    """The tracker that the settings name is open, with the settings as its parameters."""
    if not settings.tracker:
        yield
        return
    shown = {name: "" if v is None else v for name, v in settings.to_dict().items()}
    with _state_of_its_own():  # trackers ask which process they are in
        accelerator.init_trackers("regraft", config=shown)
    try:
        yield
    finally:
        # Accelerate's own way to end would part the processes too, which go on.
        with _state_of_its_own():
            for tracker in accelerator.trackers:
                tracker.finish()


def track(accelerator: Any, row: Mapping[str, Any]) -> None:
    """One epoch to the tracker, if there is one."""
    numbers = {name: value for name, value in row.items() if isinstance(value, float)}
    if accelerator.trackers:
        with _state_of_its_own():
            accelerator.log(numbers, step=int(row["epoch"]))


def precision_for(device: str, network: nn.Module) -> str:
    """bf16 on GPUs; on CPUs where engines compute in it (`processor.precision`) and no convolution
    is depthwise.

    Measured on two cores with AMX: ResNet-18 77.6 images/s against 24.2 in fp32, EfficientNet-Lite0
    20.7 against 28.3, because the backward pass of a depthwise convolution is slow in bf16. On
    AMD's Zen 5: ResNet-18 60.8 against 34.4, EfficientNet-Lite0 29.4 against 30.5.
    """
    if device == "cuda":
        return "bf16"
    if device != "cpu" or processor_precision() != "bf16":
        return "fp32"
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    is_depthwise = any(m.groups > 1 and m.groups == m.in_channels for m in convolutions)
    return "fp32" if is_depthwise else "bf16"
