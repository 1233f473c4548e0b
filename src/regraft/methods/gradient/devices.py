"""Where training runs, in which arithmetic and over how many processes: Accelerate's part."""

from __future__ import annotations

from typing import Any

from torch import nn

from regraft.features.engines import precision as processor_precision
from regraft.methods.settings import TrainingSettings

_MIXED = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


def accelerator(device: str, settings: TrainingSettings, network: nn.Module) -> Any:
    """Accelerate's object for this device; processes as `torchrun` or `accelerate launch` say.

    Parameters
    ----------
    device : {'cpu', 'cuda', 'mps'}
    settings : TrainingSettings
        `precision` and `tracker`.
    network : nn.Module
        'auto' looks at what it is made of.
    """
    from accelerate import Accelerator

    chosen = settings.precision
    if chosen == "auto":
        chosen = precision_for(device, network)
    return Accelerator(
        cpu=device == "cpu", mixed_precision=_MIXED[chosen], log_with=settings.tracker or None
    )


def precision_for(device: str, network: nn.Module) -> str:
    """bf16 on GPUs; on CPUs where tiles (AMX) multiply it and no convolution is depthwise.

    Measured on two cores with AMX: ResNet-18 77.6 images/s against 24.2 in fp32, EfficientNet-Lite0
    20.7 against 28.3, because the backward pass of a depthwise convolution is slow in bf16.
    """
    if device == "cuda":
        return "bf16"
    if device != "cpu" or processor_precision() != "bf16":
        return "fp32"
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    is_depthwise = any(m.groups > 1 and m.groups == m.in_channels for m in convolutions)
    return "fp32" if is_depthwise else "bf16"
