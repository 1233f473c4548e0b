"""Folding is the same function both ways, and what should stay stays bit by bit."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from timm.layers import BatchNormAct2d, StdConv2d
from torch import nn

from regraft.training.batchnorm import MODES, batch_norms, keep_frozen, prepare, re_estimate
from regraft.training.folding import fold

NETWORKS = [
    "resnet18",
    "tf_efficientnet_lite0",
    "mobilenetv3_small_050",
    "densenet121",
    "regnetx_002",
    "vgg11_bn",
]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pictures(n=4, size=64, seed=0):
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


def stir(network, seed=0):
    """Statistics, scales and shifts as no fresh network has them, but sane (no overflow)."""
    rng = torch.Generator().manual_seed(seed)
    norms = batch_norms(network)
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    with torch.no_grad():
        network.train()(pictures(8, seed=5))
        network.eval()
        for norm in norms:
            norm.momentum = 0.1
            n = norm.num_features
            norm.running_mean += 0.3 * torch.randn(n, generator=rng) * norm.running_var.sqrt()
            norm.running_var *= 0.5 + torch.rand(n, generator=rng)
            sign = 1 - 2 * (torch.rand(n, generator=rng) < 0.2).float()
            norm.weight.copy_(sign * (0.5 + torch.rand(n, generator=rng)))
            norm.bias.copy_(0.2 * torch.randn(n, generator=rng))
    return network


def stirred(name):
    torch.manual_seed(0)
    network = timm.create_model(name, pretrained=False, num_classes=5, drop_rate=0.0)
    if name == "vgg11_bn":  # without its 120 million weights that no BatchNorm touches
        network.pre_logits, network.head.fc = nn.Identity(), nn.Linear(512, 5)
    return stir(network)


def small(*, bias=False):
    """Two folded pairs and a BatchNorm that comes before its convolution."""
    torch.manual_seed(1)
    return stir(
        nn.Sequential(
            nn.Conv2d(3, 6, 3, bias=bias),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3, groups=2, bias=bias),
            BatchNormAct2d(8),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(8),
            nn.Conv2d(8, 4, 1, bias=bias),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 5),
        )
    )


def tensors(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def assert_same_bits(network, before):
    after = network.state_dict()
    assert list(after) == list(before), "the same names in the same order"
    for name, value in before.items():
        assert value.numpy().tobytes() == after[name].numpy().tobytes(), name


def take_steps(network, n=3, rate=0.01):
    learning = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(learning, lr=rate, momentum=0.9)
    network.train()
    for step in range(n):
        optimizer.zero_grad()
        targets = torch.arange(4) % 5
        nn.functional.cross_entropy(network(pictures(seed=step)), targets).backward()
        nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
    network.eval()


def outputs(network, x=None):
    """In double precision, which tells what the weights say: single precision rounds by more than
    folding does, and another way on another processor."""
    with torch.no_grad():
        exact = copy.deepcopy(network.eval()).double()
        return exact((pictures(seed=9) if x is None else x).double())


def assert_close(found, expected, tolerance=1e-4):
    assert float((found - expected).abs().max() / expected.abs().max()) < tolerance


# -- Folding, family by family --


N_FOLDED = {
    "resnet18": 20,
    "tf_efficientnet_lite0": 49,
    "mobilenetv3_small_050": 34,
    "densenet121": 59,  # the other 62 stand before their convolution
    "regnetx_002": 44,
    "vgg11_bn": 8,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_folding_keeps_the_function_through_training_and_back(name):
    network = stirred(name)
    before, scales = outputs(network), {}
    for i, norm in enumerate(batch_norms(network)):
        scales[i] = [t.clone() for t in (norm.weight, norm.running_mean, norm.running_var)]
    original = tensors(network)
    all_norms = batch_norms(network)

    prepared = prepare(network, "frozen", pictures())
    assert prepared.folding.reason == ""
    assert len(prepared.folding.names) == N_FOLDED[name]
    assert len(prepared.frozen) == len(all_norms) - N_FOLDED[name]
    assert_close(outputs(network), before)

    take_steps(network)
    trained = outputs(network)
    assert float((trained - before).abs().max()) > 1e-3 * float(before.abs().max()), "it learnt"
    folded = {norm for _, norm in prepared.folding.names}
    prepared.finish()
    assert_close(outputs(network), trained)
    assert list(network.state_dict()) == list(original)
    names = {module: name for name, module in network.named_modules()}
    for i, norm in enumerate(batch_norms(network)):
        assert norm is all_norms[i]
        assert torch.equal(norm.running_mean, scales[i][1])
        assert torch.equal(norm.running_var, scales[i][2])
        if names[norm] in folded:
            assert not torch.equal(norm.weight, scales[i][0]), "the scale learns too"


@pytest.mark.parametrize("name", NETWORKS)
def test_without_training_every_bit_comes_back(name):
    network = stirred(name)
    before = tensors(network)
    fold(network, pictures(1)).unfold()
    assert_same_bits(network, before)


def test_what_training_left_alone_comes_back_to_the_bit():
    network = small()
    network[3].weight.data[0] = -0.0
    before = tensors(network)
    folding = fold(network, pictures())
    with torch.no_grad():
        network[0].weight[2] += 0.25
    folding.unfold()
    after = network.state_dict()
    sigma = torch.sqrt(network[1].running_var[2] + network[1].eps)
    expected = before["0.weight"][2] * before["1.weight"][2] / sigma + 0.25
    found = after["0.weight"][2] * after["1.weight"][2] / sigma
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    # The channel's length went into its scale.
    torch.testing.assert_close(after["0.weight"][2].norm(), before["0.weight"][2].norm())
    for name in ("0.weight", "1.weight", "1.bias"):
        before[name][2] = after[name][2]
    assert_same_bits(network, before)


def test_folded_by_hand():
    """gamma 6, sigma 3, mean 1, beta 5: 4 x becomes 2 * (4 x - 1) + 5 = 8 x + 3."""
    network = nn.Sequential(nn.Conv1d(1, 1, 1, bias=False), nn.BatchNorm1d(1, eps=1.0)).eval()
    with torch.no_grad():
        network[0].weight.fill_(4)
        network[1].weight.fill_(6), network[1].bias.fill_(5)
        network[1].running_mean.fill_(1), network[1].running_var.fill_(8)
    folding = fold(network, torch.tensor([[[1.0, -1.0]]]))
    assert (network[0].weight.item(), network[0].bias.item()) == (8, 3)
    with torch.no_grad():
        network[0].weight.fill_(10), network[0].bias.fill_(4)
    folding.unfold()
    # 10 x + 4 is 2.5 (4 x - 1) + 6.5: the weight keeps its length, the scale grows by a quarter.
    assert (network[0].weight.item(), network[1].weight.item()) == (4, 7.5)
    assert network[1].bias.item() == 6.5
    assert network[0].bias is None


def test_gradient_of_the_folded_weight_is_that_of_the_weight_over_the_scale():
    network, twin = small(), small()
    prepared = prepare(network, "frozen", pictures())
    keep_frozen(batch_norms(twin))
    for net in (network, twin):
        net.train()(pictures()).square().sum().backward()
    scale = twin[1].weight / torch.sqrt(twin[1].running_var + twin[1].eps)
    torch.testing.assert_close(
        network[0].weight.grad * scale.detach().view(-1, 1, 1, 1),
        twin[0].weight.grad, rtol=1e-3, atol=1e-4,
    )  # fmt: skip
    torch.testing.assert_close(network[0].bias.grad, twin[1].bias.grad, rtol=1e-3, atol=1e-4)
    prepared.finish()


# -- What is folded, and what is not --


def test_a_convolution_with_a_bias_keeps_it():
    network = small(bias=True)
    before, function = tensors(network), outputs(network)
    prepared = prepare(network, "frozen", pictures())
    assert len(prepared.folding.names) == 2
    assert_close(outputs(network), function)
    take_steps(network)
    trained = outputs(network)
    prepared.finish()
    assert_close(outputs(network), trained)
    for i in (0, 3):
        assert torch.equal(network[i].bias, before[f"{i}.bias"])
    assert not torch.equal(network[1].bias, before["1.bias"])


def test_timms_activation_and_dropout_stay_and_follow_the_mode():
    network = small()
    network[4].drop = nn.Dropout(0.5)
    prepared = prepare(network, "frozen", pictures())
    assert [type(m).__name__ for m in network[4]] == ["Dropout", "ReLU"]
    assert network.train()[4][0].training
    prepared.finish()
    assert type(network[4]) is BatchNormAct2d
    keep_frozen(batch_norms(network))
    assert (network.eval()[4].training, network[4].drop.training) == (False, False)
    assert (network.train()[4].training, network[4].drop.training) == (False, True)


@pytest.mark.parametrize("tiny", [0.0, 1e-9, float("nan")])
def test_a_scale_near_zero_cannot_be_divided_out_again(tiny):
    network = small()
    network[1].weight.data[3] = tiny
    folding = fold(network, pictures())
    if tiny == tiny:
        assert folding.names == [("3", "4")]
    else:
        assert folding.names == []
        assert "nan" in folding.reason or "inf" in folding.reason
    folding.unfold()


class _Residual(nn.Module):
    """The convolution's own output is used again: to fold would be wrong."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)

    def forward(self, x):
        x = self.conv(x)
        return x + self.norm(x)


class _Twice(_Residual):
    """The same pair runs twice, on other things."""

    def forward(self, x):
        return self.norm(self.conv(x)) + self.norm(self.conv(2 * x).relu())


class _Again(_Residual):
    """The same pair runs twice, on the same: it must not be folded twice."""

    def forward(self, x):
        return self.norm(self.conv(x)) + self.norm(self.conv(2 * x))


@pytest.mark.parametrize("kind", [_Residual, _Twice, _Again])
def test_a_pair_that_is_not_alone_is_not_folded(kind):
    network = stir(kind())
    before = tensors(network)
    folding = fold(network, pictures())
    assert folding.names == []
    assert ("differs" in folding.reason) == (kind is _Residual)
    assert_same_bits(network, before)


def test_standardised_weights_are_left_and_the_others_folded():
    network = small()
    network[3] = StdConv2d(6, 8, 3)
    stir(network)
    before = tensors(network)
    folding = fold(network, pictures())
    assert folding.names == [("0", "1")]
    folding.unfold()
    assert_same_bits(network, before)


def test_shared_tensors_and_hooks_are_left_alone():
    network = small()
    network[10].tied = network[0].weight
    network[4].register_forward_hook(lambda *args: None)
    assert fold(network, pictures()).names == []


def test_to_finish_twice_does_no_harm():
    network = small()
    prepared = prepare(network, "frozen", pictures())
    prepared.finish()
    before = tensors(network)
    prepared.finish()
    assert_same_bits(network, before)


def test_a_restart_that_folds_again_can_load_what_was_folded():
    network, again = small(), small()
    first, second = (prepare(net, "frozen", pictures()) for net in (network, again))
    take_steps(network)
    again.load_state_dict(network.state_dict())
    first.finish(), second.finish()
    assert_same_bits(again, tensors(network))


def test_a_folded_bias_learns_where_the_shift_would():
    network = small()
    network[:2].requires_grad_(False)
    prepared = prepare(network, "frozen", pictures())
    assert [network[i].bias.requires_grad for i in (0, 3)] == [False, True]
    prepared.finish()


# -- Modes --


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match=r"frozen, train, affine-only, re-estimate; got 'thaw'"):
        prepare(small(), "thaw", pictures())


@pytest.mark.parametrize("mode", MODES)
def test_modes_move_what_they_say(mode):
    network = small()
    before = tensors(network)
    prepared = prepare(network, mode, pictures())
    folded = mode in ("frozen", "re-estimate")
    assert [type(network[i]).__name__ for i in (1, 4)] == (
        ["Identity", "Sequential"] if folded else ["BatchNorm2d", "BatchNormAct2d"]
    )
    take_steps(network)
    prepared.finish()
    after = network.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    statistics = {n for n in before if "running" in n or "tracked" in n}
    assert moved & statistics == (statistics if mode == "train" else set())
    scales = {"1.weight", "4.weight"}
    assert moved & scales == scales
    assert {"0.weight", "1.bias", "4.bias", "6.weight", "6.bias", "10.bias"} <= moved
    assert network.train()[1].training, "after finish, train() reaches it again"


def test_the_frozen_part_keeps_its_statistics_in_every_mode():
    network = small()
    network[:3].requires_grad_(False)
    before = tensors(network)
    prepared = prepare(network, "train", pictures())
    take_steps(network)
    assert torch.equal(network[1].running_mean, before["1.running_mean"])
    assert not torch.equal(network[4].running_mean, before["4.running_mean"])
    prepared.finish()


@pytest.mark.parametrize("kind", [nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm])
def test_every_kind_stays_in_eval_even_in_a_copy(kind):
    network = nn.Sequential(nn.Sequential(kind(3)))
    keep_frozen(batch_norms(network))
    for net in (network, copy.deepcopy(network)):
        net.train()
        assert (net[0].training, net[0][0].training) == (True, False)
    copied = copy.deepcopy(network)
    assert copied[0][0].train.__self__ is copied[0][0]


# -- Re-estimation --


def test_moments_of_unequal_batches_are_those_ofall_images():
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1))
    x = pictures(7, size=5) * 3 + 100
    re_estimate(network, [x[:4], x[4:6], x[6:]])
    values = x.double().transpose(0, 1).flatten(1)
    torch.testing.assert_close(network[0].running_mean, values.mean(1).float())
    torch.testing.assert_close(network[0].running_var, values.var(1).float())
    assert network[0].num_batches_tracked == 3


def test_one_batch_gives_what_torch_gives():
    network, twin = small(), small()
    x = pictures(8)
    re_estimate(network.eval(), [x])
    torch.optim.swa_utils.update_bn([x], twin)
    for own, other in zip(batch_norms(network), batch_norms(twin), strict=True):
        torch.testing.assert_close(own.running_mean, other.running_mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(own.running_var, other.running_var, rtol=1e-4, atol=1e-5)
        assert (own.momentum, own.track_running_stats, own.training) == (0.1, True, False)


def test_re_estimation_leaves_the_frozen_part_and_refuses_nothing():
    network = small()
    network[:3].requires_grad_(False)
    before = tensors(network)
    re_estimate(network, [pictures()])
    assert torch.equal(network[1].running_mean, before["1.running_mean"])
    assert not torch.equal(network[4].running_mean, before["4.running_mean"])
    with pytest.raises(ValueError, match="at least one batch"):
        re_estimate(network, [])
    with pytest.raises(ValueError, match="no BatchNorm of this network learns"):
        re_estimate(network.requires_grad_(False), [pictures()])
