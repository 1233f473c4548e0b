"""Losses per image, and the two ways to mix images.

A loss stays one number per image until :func:`weighted_mean`, whose denominator the caller gives:
a batch done in parts, or on several devices, then has exactly the gradient of the whole batch.

Array letters: N images, K classes, C, H, W channels and pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch.nn import functional

FOCUS = 2.0


def cross_entropy(
    scores: torch.Tensor, targets: torch.Tensor, *, label_smoothing: float = 0.0
) -> torch.Tensor:
    """torch's, one number for each image.

    Parameters
    ----------
    scores : (N, K) float
        Reckoned in float32, also under autocast.
    targets : (N,) int or (N, K) float
        Codes, or shares of the classes, as mixing gives them.
    label_smoothing : float in [0, 1)
        Share of the target that is spread evenly over all classes.

    Returns
    -------
    (N,) float

    Examples
    --------
    >>> cross_entropy(torch.zeros(1, 4), torch.tensor([2]))  # the logarithm of 4
    tensor([1.3863])
    """
    return functional.cross_entropy(
        _wide(scores), targets, label_smoothing=label_smoothing, reduction="none"
    )


def focal(
    scores: torch.Tensor,
    targets: torch.Tensor,
    *,
    label_smoothing: float = 0.0,
    gamma: float = FOCUS,
) -> torch.Tensor:
    """Cross-entropy that cares less for images which are right already: times ``(1 - p)^gamma``.

    ``gamma = 0`` is cross-entropy.

    References
    ----------
    Lin, Goyal, Girshick, He, Dollar (2017), "Focal loss for dense object detection", ICCV,
    arXiv:1708.02002, equation 5.

    Examples
    --------
    >>> focal(torch.zeros(1, 2), torch.tensor([0]))  # a quarter of log 2
    tensor([0.1733])
    """
    log_proba = functional.log_softmax(_wide(scores), dim=1)
    n_classes = scores.shape[1]
    shares = targets if targets.ndim == 2 else one_hot(targets, n_classes)
    shares = shares * (1 - label_smoothing) + label_smoothing / n_classes
    # From 1 - p = -expm1(log p): exact where p is nearly 1. Clamped, because the slope of x^gamma
    # with gamma < 1 is infinite at 0.
    miss = (-torch.expm1(log_proba)).clamp(min=1e-12)
    return -(shares * miss**gamma * log_proba).sum(dim=1)


LOSSES: dict[str, Callable[..., torch.Tensor]] = {
    "cross-entropy": cross_entropy,
    "focal": focal,
    # For networks that end in a log-softmax, of which a second one changes nothing.
    "nll": cross_entropy,
}


def criterion(
    loss: str, *, label_smoothing: float = 0.0, gamma: float = FOCUS
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """A loss with its settings: ``(N, K)`` scores and targets to ``(N,)``; `gamma` is focal's.

    Examples
    --------
    >>> criterion("cross-entropy", label_smoothing=0.1)(torch.zeros(1, 4), torch.tensor([2]))
    tensor([1.3863])
    """
    if loss not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}; got {loss!r}")
    own = {"gamma": gamma} if loss == "focal" else {}
    return partial(LOSSES[loss], label_smoothing=label_smoothing, **own)


def one_hot(codes: torch.Tensor, n_classes: int) -> torch.Tensor:
    """``(N,)`` codes to ``(N, K)`` float32 shares."""
    return functional.one_hot(codes, n_classes).float()


def weighted_mean(
    losses: torch.Tensor, denominator: float, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """``sum(losses * weight) / denominator``, the number to call ``backward`` on.

    Parameters
    ----------
    losses : (N,) float
    denominator : float, above 0
        Sum of the weights (without weights: the images) of the whole batch that makes one step,
        of which this may be a part. Where gradients of R devices are averaged: that sum over R.
    weight : (N,) float, optional
        Of each image.

    Examples
    --------
    >>> float(weighted_mean(torch.tensor([1.0, 3.0]), 4.0, torch.tensor([1.0, 3.0])))
    2.5
    """
    if not denominator > 0:
        raise ValueError(f"the denominator of a loss must be above 0, got {denominator}")
    total = losses.sum() if weight is None else (losses * weight).sum()
    return total / denominator


def mix(
    x: torch.Tensor, targets: torch.Tensor, *, kind: str, alpha: float, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Each image of a batch mixed with another one of it, and its targets likewise.

    Parameters
    ----------
    x : (N, C, H, W) float
        Not changed.
    targets : (N, K) float
    kind : {'mixup', 'cutmix'}
        Blend the two pictures, or put a rectangle of the other into the one.
    alpha : float, above 0
        Of Beta(alpha, alpha), from which the one share of the batch is drawn; 0.2 and 1 are
        usual for mixup and CutMix.
    rng : numpy Generator
        The only chance in it: the same state gives the same batch on any device.

    Returns
    -------
    x : (N, C, H, W)
    targets : (N, K)

    Raises
    ------
    ValueError
        No such kind, alpha not above 0, or x and targets of different N.

    References
    ----------
    Zhang, Cisse, Dauphin, Lopez-Paz (2018), "mixup", ICLR, arXiv:1710.09412.
    Yun et al. (2019), "CutMix", ICCV, arXiv:1905.04899, algorithm A1.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, targets = torch.arange(2.0).view(2, 1, 1, 1), torch.eye(2)
    >>> mixed, shares = mix(x, targets, kind="mixup", alpha=1.0, rng=rng)
    >>> torch.equal(mixed.flatten(), shares[:, 1])
    True
    """
    if kind not in _MIXES:
        raise ValueError(f"kind must be one of {', '.join(_MIXES)}; got {kind!r}")
    if not alpha > 0:
        raise ValueError(f"alpha must be above 0, got {alpha}")
    if len(x) != len(targets):
        raise ValueError(f"{len(x)} images and {len(targets)} rows of targets")
    share = float(rng.beta(alpha, alpha))
    order = torch.from_numpy(rng.permutation(len(x))).to(x.device)
    mixed, share = _MIXES[kind](x, x[order], share, rng)
    return mixed, share * targets + (1 - share) * targets[order]


def mixed(
    x: torch.Tensor,
    codes: torch.Tensor,
    n_classes: int,
    mixup: float,
    cutmix: float,
    rng: np.random.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch as two settings ask: mixup, CutMix, one of them by even chance, or neither.

    Parameters
    ----------
    x : (N, C, H, W) float
    codes : (N,) int
    n_classes : int
    mixup, cutmix : float
        Alphas for :func:`mix`; 0 is without.
    rng : numpy Generator

    Returns
    -------
    x : (N, C, H, W)
    targets : (N, K) float32
    """
    alphas = {kind: alpha for kind, alpha in (("mixup", mixup), ("cutmix", cutmix)) if alpha > 0}
    targets = one_hot(codes, n_classes)
    if not alphas:
        return x, targets
    kind = list(alphas)[int(rng.integers(len(alphas)))]
    return mix(x, targets, kind=kind, alpha=alphas[kind], rng=rng)


def _blended(
    x: torch.Tensor, other: torch.Tensor, share: float, rng: np.random.Generator
) -> tuple[torch.Tensor, float]:
    return share * x + (1 - share) * other, share


def _cut(
    x: torch.Tensor, other: torch.Tensor, share: float, rng: np.random.Generator
) -> tuple[torch.Tensor, float]:
    """A box of ``1 - share`` of the area around a random pixel; what the edge cuts off counts."""
    height, width = x.shape[2:]
    side = math.sqrt(1 - share)
    rows = _interval(height, int(height * side), int(rng.integers(height)))
    columns = _interval(width, int(width * side), int(rng.integers(width)))
    mixed = x.clone()
    mixed[:, :, rows, columns] = other[:, :, rows, columns]
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    return mixed, 1 - area / (height * width)


def _interval(length: int, size: int, centre: int) -> slice:
    start = centre - size // 2
    return slice(max(0, start), min(length, start + size))


_MIXES = {"mixup": _blended, "cutmix": _cut}


def _wide(scores: torch.Tensor) -> torch.Tensor:
    """At least float32."""
    return scores.to(torch.promote_types(scores.dtype, torch.float32))
