"""R8 over the families: after real training steps what was frozen is what it was, bit by bit.

The loop, the groups and the preparation of BatchNorm are those of every run; the pictures are
noise, and the networks are small members of their families with random weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from regraft.backbones import splitting, weights
from regraft.backbones.split_points import split_points
from regraft.features.engine import Tap
from regraft.training import acceleration, assembly, batchnorm, optim
from regraft.training.examples import ActivationExamples, Labelled
from regraft.training.loop import Trainer
from regraft.training.settings import TrainingSettings
from regraft.training.start import _plain_final
from regraft.training.stepping import Stepper
from regraft.training.tunable import TunableClassifier, random_head
from test_splitting import make, one_thread, pictures, small_swin, small_vgg, small_vit

__all__ = ["one_thread"]

# Two steps of four pictures. Adam moves every tensor that has a gradient by about the rate.
SETTINGS = TrainingSettings(
    epochs=1, batch_size=4, optimizer="adam", learning_rate=1e-3, head_rate=1e-3,
    schedule="constant", warmup=0.0, workers=0, precision="fp32", compile="off",
)  # fmt: skip
N, N_CLASSES = 8, 3

FAMILIES: dict[str, Callable[[], Any]] = {
    "resnet": lambda: make("resnet18", side=64),
    "vgg": small_vgg,
    "mobilenetv2": lambda: make("mobilenetv2_050", side=64),
    "mobilenetv3": lambda: make("mobilenetv3_small_050", side=64),
    "mobilenetv4": lambda: make("mobilenetv4_conv_small_050", side=64),
    "efficientnet": lambda: make("efficientnet_b0", side=64),
    "lite": lambda: make("tf_efficientnet_lite0", side=64),
    "convnext": lambda: make("convnext_atto", side=64),
    "densenet": lambda: make("densenet121", side=64),
    "regnet": lambda: make("regnetx_002", side=64),
    "vit": small_vit,
    "deit": lambda: small_vit("deit_tiny_distilled_patch16_224", 2),
    "dinov2": lambda: small_vit("vit_small_patch14_dinov2", 2, 56),
    "swin": small_swin,
}
WITHOUT_BATCHNORM = ("convnext", "vit", "deit", "dinov2", "swin")


def tensors_of(module: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers, those that are not saved with a network too."""
    found = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {name: tensor.detach().clone() for name, tensor in found.items()}


@pytest.mark.parametrize(
    ("family", "mode"),
    [(name, "frozen") for name in FAMILIES]
    + [(name, "train") for name in FAMILIES if name not in WITHOUT_BATCHNORM],
)
def test_r8_after_real_steps(family: str, mode: str) -> None:
    network = FAMILIES[family]()
    before = tensors_of(network)
    stages = [point.name for point in split_points(network) if point.is_stage]
    parts = splitting.split(network, stages[len(stages) // 2])
    assert bool(batchnorm.batch_norms(parts.rest)) == (family not in WITHOUT_BATCHNORM)
    x = pictures(network, n=N)
    activations = parts.prefix(x)
    prefix = tensors_of(parts.prefix)

    body, model, beside_norms = train(parts, activations, mode)

    # The early layers: their tensors, and what they say in train mode as in eval mode.
    same, moved = weights.changed(prefix, tensors_of(parts.prefix))
    assert (len(same), moved) == (len(prefix), [])
    parts.prefix.train()
    assert torch.equal(parts.prefix(x), activations)
    parts.prefix.eval()
    assert torch.equal(parts.prefix(x), activations)

    # The whole network, put together again as a run does.
    learnt = {
        n.removeprefix("body.") for n, p in model.named_parameters()
        if p.requires_grad and n.startswith("body.")
    }  # fmt: skip
    after = {**before, **{n: t for n, t in tensors_of(body).items() if n in before}}
    same, moved = weights.changed(before, after)
    assert set(parts.frozen) <= set(same)
    assert learnt <= set(parts.trained)
    # A convolution's own bias says what the shift of the BatchNorm after it says: that one moves.
    assert sorted((learnt & set(same)) - beside_norms) == [], "these should have moved"
    statistics = {n for n in after if "running_" in n} - set(parts.frozen)
    # Of the layers that the scores depend on; others are never run.
    follow = {n for n in statistics if n.rpartition(".")[0] + ".weight" in learnt}
    assert follow <= set(moved if mode == "train" else same)
    network.load_state_dict({name: after[name] for name in network.state_dict()})
    network.eval()
    rest = parts.rest.eval()
    with torch.no_grad():
        assert torch.allclose(network(x), rest(activations), atol=1e-3, rtol=1e-3)


def train(
    parts: Any, activations: torch.Tensor, mode: str
) -> tuple[nn.Module, TunableClassifier, set[str]]:
    """Two steps from the cut on, with a new head: the body with its tensors under their names, the
    module that learnt, and the biases beside which a BatchNorm was folded in."""
    body = parts.rest
    with torch.no_grad():
        final = body.forward_head(body.forward_features(activations[:2]), pre_logits=True)
    width = int(final.flatten(1).shape[1])
    taps = (Tap("final", 0, width),)
    prepared = batchnorm.prepare(body, mode, activations)
    head = random_head(width, N_CLASSES, (), 0.0, seed=1)
    model = TunableClassifier(body, (), taps, _plain_final(taps), head)
    assembly._free_what_learns(model, activations, None)
    maps = activations.permute(0, 2, 3, 1) if activations.ndim == 4 else activations
    examples = ActivationExamples(maps.reshape(1, N, -1).numpy(), 0, tuple(activations.shape[1:]))
    y = np.arange(N) % N_CLASSES
    stepper = Stepper(
        model, Labelled(examples, y, np.ones(N)), SETTINGS,
        groups=optim.parameter_groups(model, rate=1e-3, head="head"),
        accelerator=acceleration.accelerator("cpu", SETTINGS, body), n_classes=N_CLASSES,
    )  # fmt: skip
    history = Trainer(stepper, None).run()
    assert len(history.epochs) == 1
    model.load_state_dict(history.last)
    beside_norms = {f"{convolution}.bias" for convolution, _ in prepared.folding.names}
    prepared.finish()
    return body, model, beside_norms
