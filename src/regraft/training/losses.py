"""Losses per image, and the two ways to mix images; every target is a row of class shares.

A loss stays one number per image until :func:`weighted_mean`, whose denominator the caller gives:
a batch done in parts, or on several devices, then has exactly the gradient of the whole batch.

Array letters: N images, K classes, C, H, W channels and pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

FOCUS = 2.0


def cross_entropy(
    scores: torch.Tensor, targets: torch.Tensor, *, class_weight: torch.Tensor | None = None
) -> torch.Tensor:
    """``-sum_k w_k t_k log softmax(scores)_k`` for each image.

    Parameters
    ----------
    scores : (N, K) float
        Reckoned in float32, also under autocast.
    targets : (N, K) float
        Shares of the classes: one-hot, smoothed or mixed.
    class_weight : (K,) float, optional

    Returns
    -------
    (N,) float

    Examples
    --------
    >>> cross_entropy(torch.zeros(1, 4), torch.eye(4)[:1])  # the logarithm of 4
    tensor([1.3863])
    """
    return -_by_class(_log_softmax(scores), targets, class_weight)


def nll(
    log_proba: torch.Tensor, targets: torch.Tensor, *, class_weight: torch.Tensor | None = None
) -> torch.Tensor:
    """Negative log-likelihood for networks that end in a log-softmax, ``(N,)`` from ``(N, K)``.

    Log-softmax twice is log-softmax once, so it is taken again: scores that are no
    log-probabilities yet then give the numbers of :func:`cross_entropy`, not nonsense.
    """
    return -_by_class(_log_softmax(log_proba), targets, class_weight)


def focal(
    scores: torch.Tensor,
    targets: torch.Tensor,
    *,
    class_weight: torch.Tensor | None = None,
    gamma: float = FOCUS,
) -> torch.Tensor:
    """Cross-entropy that cares less for images which are right already: times ``(1 - p)^gamma``.

    ``gamma = 0`` is cross-entropy. The paper's alpha is `class_weight`.

    References
    ----------
    Lin, Goyal, Girshick, He, Dollar (2017), "Focal loss for dense object detection", ICCV,
    arXiv:1708.02002, equation 5.

    Examples
    --------
    >>> focal(torch.zeros(1, 2), torch.eye(2)[:1])  # a quarter of log 2
    tensor([0.1733])
    """
    log_proba = _log_softmax(scores)
    # From 1 - p = -expm1(log p): exact where p is nearly 1. Clamped, because the slope of x^gamma
    # with gamma < 1 is infinite at 0.
    miss = (-torch.expm1(log_proba)).clamp(min=1e-12)
    return -_by_class(miss**gamma * log_proba, targets, class_weight)


LOSSES: dict[str, Callable[..., torch.Tensor]] = {
    "cross-entropy": cross_entropy,
    "focal": focal,
    "nll": nll,
}


@dataclass(frozen=True, eq=False)
class Criterion:
    """A loss with its settings: scores and targets to one number per image.

    Attributes
    ----------
    loss : {'cross-entropy', 'nll', 'focal'}
    label_smoothing : float in [0, 1)
        Of targets that are codes; mixed ones are smoothed alike.
    gamma : float
        For 'focal'.
    class_weight : (K,) float tensor, optional

    Examples
    --------
    >>> Criterion("cross-entropy")(torch.zeros(1, 4), torch.tensor([2]))
    tensor([1.3863])
    """

    loss: str
    label_smoothing: float = 0.0
    gamma: float = FOCUS
    class_weight: torch.Tensor | None = None

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(LOSSES)}; got {self.loss!r}")

    def __call__(self, scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """``(N, K)`` scores and ``(N,)`` codes or ``(N, K)`` shares to ``(N,)``."""
        shares = targets if targets.ndim == 2 else one_hot(targets, scores.shape[1])
        shares = smoothed(shares, self.label_smoothing)
        own = {"gamma": self.gamma} if self.loss == "focal" else {}
        weight = None if self.class_weight is None else self.class_weight.to(scores.device)
        return LOSSES[self.loss](scores, shares, class_weight=weight, **own)


def one_hot(codes: torch.Tensor, n_classes: int) -> torch.Tensor:
    """``(N,)`` codes to ``(N, K)`` float32 shares."""
    return functional.one_hot(codes, n_classes).float()


def smoothed(targets: torch.Tensor, amount: float) -> torch.Tensor:
    """Targets ``(N, K)`` with `amount` of each spread evenly over all classes.

    References
    ----------
    Szegedy, Vanhoucke, Ioffe, Shlens, Wojna (2016), CVPR, arXiv:1512.00567, section 7.

    Examples
    --------
    >>> smoothed(torch.tensor([[1.0, 0.0]]), 0.5)
    tensor([[0.7500, 0.2500]])
    """
    if not 0 <= amount < 1:
        raise ValueError(f"label smoothing must be in [0, 1), got {amount}")
    return targets * (1 - amount) + amount / targets.shape[1]


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


def _log_softmax(scores: torch.Tensor) -> torch.Tensor:
    at_least_32 = torch.promote_types(scores.dtype, torch.float32)
    return functional.log_softmax(scores.to(at_least_32), dim=1)


def _by_class(
    values: torch.Tensor, targets: torch.Tensor, class_weight: torch.Tensor | None
) -> torch.Tensor:
    """Sum over classes of targets times values ``(N, K)``, weighted."""
    if targets.shape != values.shape:
        raise ValueError(
            f"targets must be shares (N, K) like the scores {tuple(values.shape)}, "
            f"got {tuple(targets.shape)}"
        )
    shares = targets if class_weight is None else targets * class_weight
    # A class without any share adds nothing, however impossible the network finds it.
    return torch.where(shares == 0, 0.0, shares * values).sum(dim=1)
