"""Losses against torch's, the papers' numbers and each other; mixing against pixel counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from regraft.training.losses import (
    LOSSES,
    criterion,
    cross_entropy,
    focal,
    mix,
    mixed,
    one_hot,
    weighted_mean,
)

N, K = 12, 5
every_loss = pytest.mark.parametrize("loss", LOSSES)
every_kind = pytest.mark.parametrize("kind", ["mixup", "cutmix"])


def batch(seed=0, dtype=torch.float32):
    rng = torch.Generator().manual_seed(seed)
    scores = 3 * torch.randn(N, K, generator=rng, dtype=torch.float64)
    codes = torch.randint(K, (N,), generator=rng)
    return scores.to(dtype).requires_grad_(True), codes


# -- Losses --


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_focal_without_focus_is_torchs_cross_entropy(smoothing):
    scores, codes = batch()
    found = criterion("focal", label_smoothing=smoothing, gamma=0.0)(scores, codes)
    expected = functional.cross_entropy(scores, codes, label_smoothing=smoothing, reduction="none")
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        criterion("cross-entropy", label_smoothing=smoothing)(scores, one_hot(codes, K)), expected
    )


def test_nll_takes_log_probabilities_as_torchs_does():
    scores, codes = batch()
    log_proba = functional.log_softmax(scores, dim=1)
    expected = functional.nll_loss(log_proba, codes, reduction="none")
    torch.testing.assert_close(LOSSES["nll"](log_proba, codes), expected)


@pytest.mark.parametrize(("p", "factor"), [(0.9, 100), (0.968, 976.5625), (0.5, 4)])
def test_focal_makes_sure_images_count_less_as_the_paper_says(p, factor):
    """Lin et al., section 3.2: with gamma 2, p = 0.9 has 100 times and p = 0.968 about 1000 times
    lower loss, and p <= 0.5 at most 4 times."""
    scores = torch.tensor([[math.log(p), math.log(1 - p)]], dtype=torch.float64)
    targets = torch.eye(2, dtype=torch.float64)[:1]
    ratio = cross_entropy(scores, targets) / focal(scores, targets, gamma=2.0)
    assert ratio.item() == pytest.approx(factor, rel=1e-9)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_has_a_gradient_even_where_the_network_is_certain(gamma):
    scores = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
    losses = focal(scores, torch.eye(2)[[0, 0]], gamma=gamma)
    losses.sum().backward()
    assert losses.tolist() == [0.0, 200.0]
    assert scores.grad.isfinite().all()
    assert scores.grad[1].tolist() == pytest.approx([-1, 1])


@pytest.mark.parametrize("loss", ["cross-entropy", "nll"])
def test_an_impossible_class_without_share_adds_nothing(loss):
    scores = torch.tensor([[0.0, -math.inf, 0.0]])
    assert criterion(loss)(scores, torch.tensor([0])).item() == pytest.approx(math.log(2))


@every_loss
def test_gradients_are_right(loss):
    scores, _ = batch(dtype=torch.float64)
    targets = functional.softmax(torch.randn(N, K, dtype=torch.float64), dim=1)
    its_loss = criterion(loss)
    assert torch.autograd.gradcheck(lambda s: its_loss(s, targets), scores)


def test_half_precision_scores_are_reckoned_in_float32():
    scores, codes = batch()
    found = criterion("cross-entropy")(scores.detach().bfloat16(), codes)
    assert found.dtype == torch.float32
    expected = functional.cross_entropy(scores.bfloat16().float(), codes, reduction="none")
    torch.testing.assert_close(found, expected)


@every_loss
@pytest.mark.parametrize("parts", [[12], [5, 5, 2], [1] * 12])
def test_gradients_of_parts_add_up_to_that_of_the_batch(loss, parts):
    scores, codes = batch(dtype=torch.float64)
    weight = torch.rand(N, dtype=torch.float64)
    its_loss = criterion(loss, label_smoothing=0.1)
    whole = (its_loss(scores, codes) * weight).sum() / weight.sum()
    (expected,) = torch.autograd.grad(whole, scores)
    for rows in torch.arange(N).split(parts):
        losses = its_loss(scores[rows], codes[rows])
        weighted_mean(losses, float(weight.sum()), weight[rows]).backward()
    torch.testing.assert_close(scores.grad, expected)


def test_a_weight_of_two_is_the_image_twice():
    scores, codes = batch()
    losses = criterion("focal")(scores, codes)
    weight = torch.ones(N)
    weight[3] = 2
    one = weighted_mean(losses, N + 1, weight)
    two = weighted_mean(torch.cat([losses, losses[3:4]]), N + 1)
    torch.testing.assert_close(one, two)


def test_what_cannot_be_meant_is_refused():
    with pytest.raises(ValueError, match="one of cross-entropy, focal, nll; got 'hinge'"):
        criterion("hinge")
    for denominator in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="above 0"):
            weighted_mean(torch.ones(2), denominator)


# -- Mixing --


def one_pixel_per_image(size=(6, 8)):
    """Image i has the value i everywhere, its target is class i."""
    x = torch.arange(float(N)).view(N, 1, 1, 1).expand(N, 3, *size).contiguous()
    return x, torch.eye(N)


@every_kind
@pytest.mark.parametrize("seed", range(8))
def test_targets_are_the_shares_of_pixels(kind, seed):
    x, targets = one_pixel_per_image()
    rng = np.random.default_rng(seed)
    mixed_x, shares = mix(x, targets, kind=kind, alpha=1.0, rng=rng)
    torch.testing.assert_close(shares.sum(1), torch.ones(N))
    # The mean pixel of an image is the mean of the values i by their shares.
    torch.testing.assert_close(mixed_x.mean((1, 2, 3)), shares @ torch.arange(float(N)))
    assert torch.equal(x, one_pixel_per_image()[0]), "the given batch is not changed"


@every_kind
def test_the_same_state_of_the_generator_gives_the_same_batch(kind):
    x, targets = one_pixel_per_image()
    first, second, other = (
        mix(x, targets, kind=kind, alpha=1.0, rng=np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[1], other[1])


def test_cutmix_puts_one_box_of_the_other_image():
    x, targets = one_pixel_per_image(size=(32, 32))
    mixed_x, _ = mix(x, targets, kind="cutmix", alpha=1.0, rng=np.random.default_rng(0))
    foreign = (mixed_x != x).any(1)
    changed = [i for i in range(N) if foreign[i].any()]
    assert changed
    for i in changed:
        rows, columns = foreign[i].any(1).nonzero(), foreign[i].any(0).nonzero()
        height, width = (int(side.max() - side.min()) + 1 for side in (rows, columns))
        assert int(foreign[i].sum()) == height * width, "a full rectangle"
        assert len(mixed_x[i][:, foreign[i]].unique()) == 1, "of one other image"


@every_kind
def test_shares_follow_the_beta_distribution(kind):
    """Beta(1, 1) is even: mixup's mean share is 1/2. CutMix's boxes lose what the edge cuts off."""
    x, targets = torch.zeros(2, 1, 64, 64), torch.eye(2)
    rng = np.random.default_rng(0)
    shares = []
    while len(shares) < 600:
        _, mixed_targets = mix(x, targets, kind=kind, alpha=1.0, rng=rng)
        share = float(mixed_targets[0, 0])
        if share < 1:  # else both were mixed with themselves
            shares.append(share)
    if kind == "mixup":
        assert np.mean(shares) == pytest.approx(0.5, abs=0.04)
        assert np.std(shares) == pytest.approx(1 / math.sqrt(12), abs=0.02)
    else:
        # A side s loses on average s/4 of itself: the area is E[(s - s^2/4)^2], s^2 even in 0..1.
        assert 1 - np.mean(shares) == pytest.approx(1 / 2 - 1 / 5 + 1 / 48, abs=0.04)


def test_a_small_alpha_hardly_mixes():
    """Beta is then at 0 or 1. (A CutMix box of the whole size is still cut off by the edge.)"""
    x, targets = one_pixel_per_image()
    rng = np.random.default_rng(0)
    for _ in range(20):
        _, shares = mix(x, targets, kind="mixup", alpha=1e-3, rng=rng)
        assert float(shares.max(1).values.min()) > 0.97


def test_mixed_takes_codes_and_tosses_between_two_alphas():
    x, codes = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 0])
    same, targets = mixed(x, codes, 3, 0.0, 0.0, np.random.default_rng(0))
    assert same is x
    assert torch.equal(targets, one_hot(codes, 3))
    rng = np.random.default_rng(0)
    n_cut = sum(bool(torch.isin(mixed(x, codes, 3, 1.0, 1.0, rng)[0], x).all()) for _ in range(100))
    assert 30 < n_cut < 75  # CutMix makes no new values; the identity order neither


def test_mixing_refuses_what_cannot_be_meant():
    x, targets = one_pixel_per_image()
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="mixup, cutmix; got 'blend'"):
        mix(x, targets, kind="blend", alpha=1.0, rng=rng)
    with pytest.raises(ValueError, match="alpha must be above 0, got 0"):
        mix(x, targets, kind="mixup", alpha=0, rng=rng)
    with pytest.raises(ValueError, match="12 images and 11 rows"):
        mix(x, targets[1:], kind="mixup", alpha=1.0, rng=rng)
