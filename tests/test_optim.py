"""Rates against torch's schedulers, groups by hand, and every optimiser going on to the bit."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import pytest
import timm
import torch
from safetensors.torch import load, save
from torch import nn
from torch.optim import lr_scheduler

from regraft.backbones.stages import find_stages
from regraft.training.optim import (
    L2SP,
    OPTIMIZERS,
    build_optimizer,
    optimizer_state,
    parameter_groups,
    restore_optimizer,
    set_rates,
)
from regraft.training.schedules import SCHEDULES, cosine, one_cycle, rate, step_decay
from regraft.training.weight_average import mean_of, moving_average

every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)
    )


def learn(net, optimizer, steps):
    for step in steps:
        x = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), torch.arange(6) % 3).backward()
        optimizer.step()


# -- Rates --


def torchs(scheduler, n_steps):
    """The rates that a torch scheduler gives to an optimiser whose highest rate is 1."""
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0, momentum=0.9)
    scheduler = scheduler(optimizer)
    rates = []
    for _ in range(n_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_step_is_torchs_step_by_epochs_and_by_steps():
    expected = torchs(lambda o: lr_scheduler.StepLR(o, 7, 0.1), 25)
    assert [step_decay(e, 25, every=7) for e in range(25)] == pytest.approx(expected, rel=1e-12)
    assert [rate("step", e, 25, step_size=7) for e in range(25)] == pytest.approx(expected)
    by_steps = [rate("step", step, 25 * 3, step_size=7 * 3) for step in range(25 * 3)]
    assert by_steps[1::3] == pytest.approx(expected)


@pytest.mark.parametrize("final", [0.0, 0.05])
def test_cosine_is_torchs(final):
    expected = torchs(lambda o: lr_scheduler.CosineAnnealingLR(o, 30, eta_min=final), 30)
    assert [cosine(s, 30, final=final) for s in range(30)] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n_steps", [2, 10, 37, 100])
@pytest.mark.parametrize("rise", [0.1, 0.3, 0.5])
def test_one_cycle_is_torchs(n_steps, rise):
    expected = torchs(
        lambda o: lr_scheduler.OneCycleLR(o, 1.0, total_steps=n_steps + 1, pct_start=rise), n_steps
    )
    found = [one_cycle(s, n_steps + 1, rise=rise) for s in range(n_steps)]
    assert found == pytest.approx(expected, rel=1e-9)
    assert found == [rate("one-cycle", s, n_steps + 1, warmup=rise) for s in range(n_steps)]
    assert one_cycle(n_steps, n_steps + 1, rise=rise) == pytest.approx(4e-6)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("n_steps", [1, 2, 3, 10, 200])
def test_every_rate_is_a_share_of_the_highest(schedule, warmup, n_steps):
    rates = [rate(schedule, s, n_steps, warmup=warmup, step_size=3) for s in range(n_steps)]
    assert all(0 <= r <= 1 for r in rates)
    assert max(rates) > 0
    if n_steps == 200 and warmup == 0.2:
        assert rates[:40] == sorted(rates[:40])
        assert max(rates) == pytest.approx(1, abs=1e-3)
        # The schedule after the warm-up is that of a run with the remaining steps.
        if schedule != "one-cycle":
            alone = [rate(schedule, s, 160, step_size=3) for s in range(160)]
            assert rates[40:] == alone


def test_rates_that_cannot_be_meant_are_refused():
    with pytest.raises(ValueError, match="one-cycle, step; got 'linear'"):
        rate("linear", 0, 10)
    for step in (-1, 10):
        with pytest.raises(ValueError, match=rf"step must be in 0..9, got {step}"):
            rate("cosine", step, 10)
    with pytest.raises(ValueError, match="share of the steps"):
        rate("cosine", 0, 10, warmup=3)
    with pytest.raises(ValueError, match="1 or more steps, got 0"):
        rate("step", 0, 10, step_size=0)


# -- Groups --


def by_name(groups):
    return {
        name: SimpleNamespace(rate=g.rate, decay=g.weight_decay, is_head=g.is_head)
        for g in groups
        for name in g.names
    }


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet", "densenet121"])
def test_every_parameter_is_in_one_group_and_deeper_is_not_slower(name):
    net = timm.create_model(name, pretrained=False, num_classes=3)
    stages, head = find_stages(net), net.default_cfg["classifier"]
    groups = parameter_groups(
        net, rate=0.1, weight_decay=0.01, stages=stages, layer_decay=0.5, head=head, head_factor=10
    )
    found, expected = by_name(groups), [n for n, _ in net.named_parameters()]
    assert sorted(found) == sorted(expected)
    assert sum(len(g.names) for g in groups) == len(expected)
    for i, stage in enumerate(reversed(stages)):
        rates = {found[n].rate for n in expected if n.startswith(stage + ".")}
        assert rates == {0.1 * 0.5**i}
    assert found[expected[0]].rate == 0.1 * 0.5 ** len(stages), "the stem is the slowest"
    assert {found[n].rate for n in expected if n.startswith(head + ".")} == {1.0}
    rates = [g.rate for g in groups]
    assert rates == sorted(rates)
    for n, parameter in net.named_parameters():
        still = parameter.ndim == 1 or n in ("pos_embed", "cls_token")
        assert found[n].decay == (0.0 if still else 0.01), n
        assert found[n].is_head == n.startswith(head + ".")


def test_what_timm_leaves_undecayed_is_found_inside_another_module():
    net = nn.ModuleDict({"body": timm.create_model("test_vit", pretrained=False)})
    found = by_name(parameter_groups(net, rate=0.1, weight_decay=0.01))
    assert found["body.pos_embed"].decay == found["body.cls_token"].decay == 0
    assert found["body.patch_embed.proj.weight"].decay == 0.01


def test_what_stands_between_two_stages_belongs_to_the_one_before():
    net = timm.create_model("densenet121", pretrained=False, num_classes=3)
    stages = ["features.denseblock1", "features.denseblock2"]
    found = by_name(parameter_groups(net, rate=1.0, stages=stages, layer_decay=0.1))
    assert found["features.conv0.weight"].rate == pytest.approx(0.01)
    assert found["features.transition1.conv.weight"].rate == pytest.approx(0.1)
    assert found["features.denseblock3.denselayer1.conv1.weight"].rate == 1.0


def test_names_are_matched_whole():
    net = nn.Sequential(*[nn.Linear(1, 1) for _ in range(12)])
    found = by_name(parameter_groups(net, rate=1.0, stages=["1", "10"], layer_decay=0.5))
    assert found["1.weight"].rate == found["9.weight"].rate == 0.5
    assert found["10.weight"].rate == found["11.weight"].rate == 1.0


def test_frozen_parameters_are_left_out():
    net = network()
    net[0].requires_grad_(False)
    assert set(by_name(parameter_groups(net, rate=1.0))) == {
        "1.weight", "1.bias", "4.weight", "4.bias",
    }  # fmt: skip
    with pytest.raises(ValueError, match="no parameter of the network learns"):
        parameter_groups(net.requires_grad_(False), rate=1.0)


def test_groups_that_cannot_be_meant_are_refused():
    with pytest.raises(ValueError, match="no parameter in 'layer9'"):
        parameter_groups(network(), rate=1.0, stages=["layer9"])
    with pytest.raises(ValueError, match="no parameter in '2'"):
        parameter_groups(network(), rate=1.0, head="2")
    with pytest.raises(ValueError, match=r"layer_decay must be above 0 and at most 1, got 1\.5"):
        parameter_groups(network(), rate=1.0, layer_decay=1.5)


def test_the_rate_of_each_group_moves_by_the_factor():
    groups = parameter_groups(network(), rate=0.2, head="4", head_factor=5)
    optimizer = build_optimizer("sgd", groups)
    set_rates(optimizer, groups, 0.5)
    set_rates(optimizer, groups, 0.1)
    rates = [g["lr"] for g in optimizer.param_groups]
    assert rates == pytest.approx([0.02, 0.02, 0.1, 0.1])


def test_optimizers_that_cannot_be_meant_are_refused():
    groups = parameter_groups(network(), rate=0.1)
    with pytest.raises(ValueError, match="one of adam, adamw, sgd; got 'lamb'"):
        build_optimizer("lamb", groups)
    with pytest.raises(ValueError, match="nesterov is for sgd, not for adam"):
        build_optimizer("adam", groups, nesterov=True)


# -- L2-SP --


def test_the_pull_is_the_papers_penalty_under_plain_sgd():
    """Two routes: decoupled, and as a term of the loss of everything but the head."""
    strength, found = 0.3, []
    for is_decoupled in (True, False):
        net = network().double()
        groups = parameter_groups(net, rate=0.1, head="4", head_factor=2)
        optimizer = build_optimizer("sgd", groups, momentum=0.0)
        start = {n: p.detach().clone() for n, p in net.named_parameters() if n[0] != "4"}
        pull = L2SP(groups, strength)
        for step in range(5):
            x = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(step)).double()
            loss = nn.functional.cross_entropy(net(x), torch.arange(6) % 3)
            if not is_decoupled:
                pairs = [(p, start[n]) for n, p in net.named_parameters() if n in start]
                loss = loss + strength / 2 * sum((p - s).square().sum() for p, s in pairs)
            optimizer.zero_grad()
            loss.backward()
            if is_decoupled:
                pull.step(optimizer)
            optimizer.step()
        found.append({n: p.detach() for n, p in net.named_parameters()})
    torch.testing.assert_close(found[0], found[1], rtol=1e-10, atol=1e-12)
    assert not torch.equal(found[0]["0.weight"], start["0.weight"])


def test_the_pull_follows_the_schedule_and_leaves_the_head():
    net = network()
    groups = parameter_groups(net, rate=1.0, head="4")
    pull, optimizer = L2SP(groups, 0.5), build_optimizer("adamw", groups)
    before = net[0].weight.detach().clone()
    with torch.no_grad():
        net[0].weight += 8
        net[4].weight += 8
    head = net[4].weight.detach().clone()
    set_rates(optimizer, groups, 0.5)
    pull.step(optimizer)
    torch.testing.assert_close(net[0].weight.detach(), before + 6)
    assert torch.equal(net[4].weight, head)


def test_a_pull_beyond_the_start_is_refused():
    groups = parameter_groups(network(), rate=0.1)
    with pytest.raises(ValueError, match=r"beyond the start; got 10\.0 \* 0\.1"):
        L2SP(groups, 10.0)


# -- Going on --


@every_optimizer
@pytest.mark.parametrize("is_channels_last", [False, True])
def test_an_interrupted_run_goes_on_to_the_bit(name, is_channels_last):
    def built():
        net = network()
        if is_channels_last:
            net = net.to(memory_format=torch.channels_last)
        groups = parameter_groups(net, rate=0.02, weight_decay=0.1, head="4", head_factor=3)
        return net, groups, build_optimizer(name, groups, nesterov=name == "sgd")

    net, groups, optimizer = built()
    learn(net, optimizer, range(3))
    set_rates(optimizer, groups, 0.37)
    tensors, meta = optimizer_state(optimizer)
    # Through the very files: safetensors and JSON.
    saved = {n: t.contiguous() for n, t in net.state_dict().items()}
    files = save(tensors), json.dumps(meta, allow_nan=False), save(saved)
    learn(net, optimizer, range(3, 6))

    again, _, fresh = built()
    again.load_state_dict(load(files[2]))
    restore_optimizer(fresh, load(files[0]), json.loads(files[1]))
    assert fresh.param_groups[0]["lr"] == 0.02 * 0.37
    learn(again, fresh, range(3, 6))
    for own, other in zip(net.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(own, other)
    found, expected = optimizer_state(fresh), optimizer_state(optimizer)
    assert found[1] == expected[1]
    assert set(found[0]) == set(expected[0])
    for key, value in expected[0].items():
        assert value.dtype == found[0][key].dtype
        assert torch.equal(value, found[0][key]), key
    if name != "sgd":
        assert found[0]["0.step"].item() == 6
        assert fresh.param_groups[0]["betas"] == (0.9, 0.999)
        assert isinstance(fresh.param_groups[0]["betas"], tuple)


def test_the_state_is_a_copy():
    net = network()
    optimizer = build_optimizer("adam", parameter_groups(net, rate=0.1))
    learn(net, optimizer, [0])
    tensors, meta = optimizer_state(optimizer)
    before = tensors["0.exp_avg"].clone(), tensors["0.step"].clone()
    learn(net, optimizer, [1])
    assert torch.equal(tensors["0.exp_avg"], before[0])
    restore_optimizer(optimizer, tensors, meta)
    learn(net, optimizer, [2])
    assert torch.equal(tensors["0.exp_avg"], before[0])
    assert tensors["0.step"] == before[1] == 1


@every_optimizer
def test_a_state_before_the_first_step_and_without_momentum(name):
    net = network()
    for n_steps in (0, 2):
        optimizer = build_optimizer(name, parameter_groups(net, rate=0.1), momentum=0.0)
        learn(net, optimizer, range(n_steps))
        tensors, meta = optimizer_state(optimizer)
        fresh = build_optimizer(name, parameter_groups(net, rate=0.1), momentum=0.0)
        restore_optimizer(fresh, tensors, json.loads(json.dumps(meta)))
        learn(net, fresh, [0])


def test_a_state_that_does_not_fit_is_refused():
    net = network()
    optimizer = build_optimizer("adam", parameter_groups(net, rate=0.1))
    learn(net, optimizer, [0])
    tensors, meta = optimizer_state(optimizer)

    def refuse(match, tensors=tensors, meta=meta, into=optimizer):
        with pytest.raises(ValueError, match=match):
            restore_optimizer(into, tensors, meta)

    refuse("that of 'Adam', the optimiser is 'SGD'",
           into=build_optimizer("sgd", parameter_groups(net, rate=0.1)))  # fmt: skip
    refuse("1 groups, the optimiser 2", meta={**meta, "groups": meta["groups"][:1]})
    less = [{k: v for k, v in g.items() if k != "eps"} for g in meta["groups"]]
    refuse("group 0 has", meta={**meta, "groups": less})
    renamed = [{**g, "param_names": ["x"] * len(g["params"])} for g in meta["groups"]]
    refuse("other parameters than", meta={**meta, "groups": renamed})
    refuse("'99.exp_avg' is of none of the 6", {**tensors, "99.exp_avg": torch.zeros(1)})
    refuse("'-1.exp_avg' is of none", {**tensors, "-1.exp_avg": torch.zeros(1)})
    refuse(r"'0.exp_avg' is \(2,\), its parameter \(4, 3, 3, 3\)",
           {**tensors, "0.exp_avg": torch.zeros(2)})  # fmt: skip
    refuse("some missing", {k: v for k, v in tensors.items() if k != "1.step"})
    with pytest.raises(KeyError, match="kind"):
        restore_optimizer(optimizer, tensors, {})
    restore_optimizer(optimizer, tensors, meta)


# -- Averages of weights --


def test_the_moving_average_by_hand():
    """Factors 1/10, 2/11, 3/12 on the old one, then at most the decay."""
    layer = nn.Linear(1, 1, bias=False).double()
    layer.weight.data.fill_(0.0)
    average = moving_average(layer, 0.2)
    expected = 0.0
    for i, keep in enumerate([1 / 10, 2 / 11, 0.2, 0.2], 1):
        layer.weight.data.fill_(float(i))
        average.update_parameters(layer)
        expected = keep * expected + (1 - keep) * i
        assert average.module.weight.item() == pytest.approx(expected, rel=1e-12)


def test_buffers_of_the_average_are_the_networks_own():
    net = network()
    average = moving_average(net, 0.9)
    learn(net, build_optimizer("sgd", parameter_groups(net, rate=0.1)), [0])
    average.update_parameters(net)
    for name, buffer in net.named_buffers():
        assert torch.equal(average.module.get_buffer(name), buffer)


def test_the_average_goes_on_to_the_bit_and_into_the_network():
    net, optimizer = (n := network()), build_optimizer("sgd", parameter_groups(n, rate=0.1))
    average, again = moving_average(net, 0.99), moving_average(network(1), 0.99)
    learn(net, optimizer, [0])
    average.update_parameters(net)
    again.load_state_dict(load(save(average.state_dict())))
    learn(net, optimizer, [1])
    for one in (average, again):
        one.update_parameters(net)
    for name, value in average.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    net.load_state_dict(average.module.state_dict())
    assert torch.equal(net[0].weight, average.module[0].weight)


def test_the_even_mean_is_that_of_the_tensors():
    nets = [network(seed).state_dict() for seed in range(3)]
    nets[2]["1.num_batches_tracked"].fill_(7)
    found = mean_of(nets)
    expected = sum(net["0.weight"].double() for net in nets) / 3
    torch.testing.assert_close(found["0.weight"], expected.float())
    assert found["1.num_batches_tracked"].item() == 7
    assert math.isclose(float(mean_of([nets[0]])["4.bias"][0]), float(nets[0]["4.bias"][0]))
