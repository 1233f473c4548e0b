"""Which way: ways, bills, the past, who stands first, learning curves, comparisons. By hand."""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regraft.choosing import (
    bill,
    comparing,
    learning_curve,
    network_cost,
    past,
    recommendation,
    standing,
)
from regraft.choosing.arm import TRIED, Arm, Judged
from regraft.choosing.budget import seconds_of
from regraft.choosing.comparing import Ranking, Row
from regraft.choosing.expectation import expected
from regraft.choosing.footprint import TORCH_MIB
from regraft.choosing.past import Past
from regraft.choosing.way import Way, known_backbones, methods_in, ways_of
from regraft.choosing.workload import Workload
from regraft.errors import ConfigError, UsageError
from regraft.record.configuration import RunConfig
from regraft.training.defaults import Situation

WORK = Workload(n_images=398, n_learn=245, n_reported=153, n_classes=2)
GOOD = Situation(245, 2, 500, 224, True, 0.0, ("blocks.3", "blocks.5"), probe_error=0.03)
POOR = Situation(1290, 43, 50, 224, True, 0.13, ("blocks.3", "blocks.5"), probe_error=0.13)


def judged(loss: list[float], rows: list[int] | None = None) -> Judged:
    places = np.arange(len(loss)) if rows is None else np.array(rows)
    return Judged(places, np.array(loss), np.array(loss) < math.log(2))


def arm(way: Way, loss: list[float], rows: list[int] | None = None) -> Arm:
    return Arm(way, state=TRIED, judged=judged(loss, rows))


# -- what to take ----------------------------------------------------------------------------


def advised(loss: float, situation: Situation = GOOD) -> recommendation.Recommendation:
    arms = [arm(Way(), [loss])]
    work = {name: replace(WORK, situation=situation) for name in ("default", "lite2")}
    return recommendation.recommend(RunConfig("photos"), arms, situation, work, Past())


def test_no_way_is_advised_for_what_it_cannot_win() -> None:
    """As `auto` leaves such ways untried, and the report does not name them."""
    solved = advised(0.004)
    assert solved.offer.way == Way()
    assert "no other way" in solved.why
    assert advised(0.3).offer.way != Way()


def test_what_the_probe_solves_by_its_earlier_stages_is_not_trained_for() -> None:
    """However far the last stage is behind: half of a loss that is next to nothing is nothing."""
    unlike = replace(POOR, n_images=242, n_classes=2, gain_of_stages=0.124, probe_error=0.0)
    solved = advised(0.008, unlike)
    assert not solved.offer.way.trains
    assert "much has to change" not in solved.why
    assert "the probe has them" in solved.why
    assert advised(0.1, replace(unlike, probe_error=0.03)).offer.way.trains


@pytest.mark.parametrize("situation", [GOOD, POOR])
def test_a_dearer_way_is_named_only_for_what_it_may_win(situation: Situation) -> None:
    found = advised(0.3, situation)
    if "instead of" in found.why:
        dearest = max(found.offers, key=lambda offer: offer.bill.seconds)
        assert dearest.expected.log_loss < found.offer.expected.log_loss
    assert found.offer.way.name in found.why


def test_where_the_probe_guesses_no_way_is_foretold_to_win() -> None:
    found = recommendation.of_guesses(advised(0.672), Way(), 0.672, 0.665)
    assert found.offer.way == Way()
    assert "0.672" in found.why
    assert "0.665" in found.why


def test_a_finished_run_is_advised_as_its_data_were() -> None:
    """The report names the way that `advise` names, at the same price: by the log loss that was
    measured and the size of the pictures."""
    candidates = [
        {"taps": [tap], "n": 1290, "left_out_accuracy": right, "left_out_log_loss": loss}
        for tap, right, loss in (("blocks.3", 0.87, 0.4), ("blocks.5", 0.8, 0.6), ("final", 0.7, 1))
    ]  # fmt: skip
    metrics = {
        "method": "probe", "chosen": {"candidates": candidates},
        "left_out": {"n": 1290, "accuracy": {"value": 0.87}, "log_loss": 0.41},
        "backbone": {"name": "default", "input_px": [224, 224]},
        "data": {"classes": list("ab"), "splits": {"train": 1290}, "images": 1500,
                 "median_side_px": 50.0},
        "evaluation": {"n": 210},
    }  # fmt: skip
    small = recommendation.of_metrics(metrics, RunConfig("photos"))
    metrics["data"] = {**metrics["data"], "median_side_px": 500.0}
    large = recommendation.of_metrics(metrics, RunConfig("photos"))
    assert small is not None
    assert large is not None
    at = [offer.way for offer in small.offers].index(Way("full", "default"))
    assert small.offers[at].bill.seconds < 0.6 * large.offers[at].bill.seconds
    own = [offer.way for offer in small.offers].index(Way())
    assert small.offers[own].expected.log_loss == 0.41


# -- ways and budgets ------------------------------------------------------------------------


def test_a_way_is_a_run_and_a_command() -> None:
    way = Way("full", "lite1", image_size=128, epochs=3)
    config = way.config(RunConfig("photos", seed=4))
    assert (config.method, config.backbone, config.seed) == ("full", "lite1", 4)
    assert config.settings.epochs == 3
    assert config.settings.image_size == 128
    assert way.command("photos", " --label-from name") == (
        "regraft train photos --method full --backbone lite1 --image-size 128 --epochs 3 "
        "--label-from name"
    )


def test_probes_come_first_and_each_way_once() -> None:
    ways = ways_of(["full", "probe", "full"], ["lite1", "default", "lite1"])
    assert [way.name for way in ways] == [
        "probe, lite1", "probe, default", "full, lite1", "full, default",
    ]  # fmt: skip


def test_an_unknown_way_is_answered_with_near_names() -> None:
    with pytest.raises(ConfigError, match="no method is called 'ful'") as refused:
        methods_in("probe,ful")
    assert "full" in refused.value.cure
    with pytest.raises(ConfigError, match="names with commas"):
        methods_in("probe,,full")


def test_a_backbone_that_cannot_be_had_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str) -> None:
        return None

    monkeypatch.setattr("importlib.util.find_spec", find)
    found, missing = known_backbones(["resnet18", "lite2", "local-dir:nowhere"])
    assert found == ["resnet18"]
    assert "not installed" in missing["lite2"]
    assert "config.json" in missing["local-dir:nowhere"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("2m", 120), ("1h30m", 5400), ("1.5min", 90), ("7S", 7)]
)
def test_budgets_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["0", "-5", "-2m", "soon", "", "1e9", "nan", "inf", "2x", "9999h"])
def test_what_is_no_budget_is_refused_with_the_cure(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        seconds_of(text)
    assert refused.value.place == "--budget"
    assert "2m" in refused.value.cure


@given(st.text(max_size=12))
def test_a_budget_is_positive_or_refused(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert 0 < seconds_of(text) < float("inf")


# -- the past --------------------------------------------------------------------------------


def test_the_past_comes_back_from_disk(cache: Path) -> None:
    mine = Past.read()
    for real in (2.0, 4.0, 3.0):
        mine.note(("steps full lite1", "steps full"), reckoned=1.0, real=real)
    mine.note_made("some run")
    mine.save()
    again = Past.read()
    assert again.factor(("steps full lite1",)).value == 3.0
    assert again.factor(("steps full lite2", "steps full")).n == 3
    assert again.most(("steps full",)) == 4.0
    assert "some run" in again.made
    assert (cache / past.FILE).stat().st_size < 2_000


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"computer": 1}', '{"computer": "%s", "ratios": {"a": [-1]}}']
)
def test_a_damaged_past_is_told_and_begun_anew(cache: Path, content: str) -> None:
    cache.mkdir(parents=True)
    text = content.replace("%s", past._computer())
    (cache / past.FILE).write_text(text, encoding="utf-8")
    found = Past.read()
    assert found.ratios == {}
    if content != '{"computer": 1}':  # of another computer: not damaged
        assert "begun anew" in found.note_of_damage
    found.note(("fit",), reckoned=1.0, real=1.0)
    found.save()
    assert json.loads((cache / past.FILE).read_text())["ratios"] == {"fit": [1.0]}


def test_what_cannot_be_is_not_remembered() -> None:
    found = Past()
    for reckoned, real in ((0.0, 1.0), (1.0, 0.0), (1.0, float("nan")), (1.0, float("inf"))):
        found.note(("fit",), reckoned=reckoned, real=real)
    assert found.ratios == {}


def test_a_cache_that_cannot_be_written_costs_only_better_bills(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("REGRAFT_CACHE", str(file / "below"))
    Past().save()
    assert Past.read().ratios == {}


# -- bills -----------------------------------------------------------------------------------


def priced(way: Way, work: Workload = WORK, known: Past | None = None) -> bill.Bill:
    return bill.bill_of(way, way.config(RunConfig("photos")), work, known or Past())


def test_more_costs_more() -> None:
    """Cold over warm, full over partial over probe, more epochs, larger networks and pictures."""
    work = replace(WORK, situation=GOOD)
    probe, partial, full = (priced(Way(m), work) for m in ("probe", "partial", "full"))
    assert probe.seconds < partial.seconds < full.seconds
    assert probe.memory_mib < partial.memory_mib < full.memory_mib
    cold = replace(work, n_missing=398, is_built=False)
    assert priced(Way(), cold).seconds > 1.5 + probe.seconds
    assert probe.warm_s == pytest.approx(probe.seconds)
    assert probe.cold_s == pytest.approx(priced(Way(), cold).seconds)
    assert priced(Way("full", epochs=20), work).seconds > 2 * full.seconds
    assert priced(Way("full", "lite2"), work).seconds > 1.5 * full.seconds
    assert priced(Way("full", image_size=448), work).seconds > 2 * full.seconds
    assert priced(Way("scratch"), work).seconds > full.seconds


@pytest.mark.parametrize("method", ["probe", "head", "partial", "full", "scratch"])
@pytest.mark.parametrize("backbone", ["default", "lite2", "resnet50", "default+lite2"])
def test_every_way_has_a_bill(method: str, backbone: str) -> None:
    if method != "probe" and "+" in backbone:
        pytest.skip("what learns moves one network")
    found = priced(Way(method, backbone))
    assert 0 < found.low <= found.seconds <= found.high
    assert found.memory_mib > 100
    assert found.disk_mib > 5
    assert set(found.parts) <= set(bill.PARTS)
    json.dumps(found.to_dict(), allow_nan=False)


def test_only_networks_that_do_not_come_along_are_billed_for_pytorch() -> None:
    """An engine of the packaged ones, alone or side by side, is built without it."""
    cold = replace(WORK, n_missing=398, is_built=False)
    for backbone, loads in (
        ("default", False), ("default+lite2", False), ("resnet50", True), ("default+resnet50", True)
    ):  # fmt: skip
        way = Way("probe", backbone)
        more = priced(way, cold).memory_mib - priced(way, replace(cold, is_built=True)).memory_mib
        assert (more > TORCH_MIB) == loads, backbone


def test_a_machine_twice_as_slow_is_learnt() -> None:
    way, known = Way("full"), Past()
    config = way.config(RunConfig("photos"))
    work = replace(WORK, situation=GOOD)
    before = priced(way, work)
    real = {part: 2 * seconds for part, seconds in before.parts.items() if part != "start"}
    for _ in range(3):
        bill.note(way, config, work, known, real, peak_mib=1_000.0)
    after = priced(way, work, known)
    assert after.seconds == pytest.approx(2 * before.seconds - before.parts["start"], rel=0.01)
    assert after.high - after.seconds < before.high - before.seconds + before.seconds
    assert after.memory_mib == pytest.approx(1_000 * bill.MEMORY_MARGIN, rel=0.01)


def test_epochs_that_were_gone_through_are_not_charged_again() -> None:
    work = replace(WORK, situation=GOOD)
    whole, half = (
        priced(Way("full", epochs=6), replace(work, n_epochs_done=n)).parts["steps"] for n in (0, 3)
    )
    assert half == pytest.approx(whole / 2)


@pytest.mark.slow  # PyTorch goes through three networks
@pytest.mark.parametrize("name", list(network_cost.PACKAGED))
def test_packaged_costs_are_those_that_are_measured(name: str) -> None:
    from regraft.backbones import catalog, cost, network

    own = network.without_weights(catalog.resolve(name), offline=True)
    shape = (3, *network.input_px(own.pretrained_cfg))
    found, said = cost.measure(own, shape), network_cost.PACKAGED[name]
    assert said.input_px == shape[1]
    assert (said.multiply_adds, said.n_parameters) == (found.multiply_adds, found.n_parameters)
    layers = {layer.name: layer for layer in found.layers}
    for stage, before in said.before.items():
        assert before == layers[stage].so_far - layers[stage].multiply_adds


# -- who stands first ------------------------------------------------------------------------


def test_luck_in_the_drawing_of_the_part_cancels() -> None:
    """The part that judges `full` is an easy one: its probe finds it easy too."""
    probe = arm(Way(), [0.1, 0.1, 0.9, 0.9])
    full = arm(Way("full"), [0.1, 0.1], rows=[0, 1])
    assert standing.score(full, [probe, full]).log_loss == pytest.approx(0.5)
    assert standing.first([probe, full]) is probe


def test_what_is_surely_better_stands_first_whatever_the_order() -> None:
    rng = np.random.default_rng(0)
    loss = rng.uniform(0.2, 0.6, 100)
    probe, better = arm(Way(), loss.tolist()), arm(Way(backbone="lite2"), (loss - 0.1).tolist())
    assert standing.first([probe, better]) is better
    assert standing.first([better, probe]) is better


def test_chance_does_not_dethrone_the_cheaper_one() -> None:
    rng = np.random.default_rng(1)
    loss = rng.uniform(0.2, 0.6, 50)
    other = loss + rng.normal(0, 0.3, 50)
    other += loss.mean() - other.mean() - 1e-4  # better by next to nothing
    probe = arm(Way(), loss.tolist())
    assert standing.first([probe, arm(Way(backbone="lite1"), other.tolist())]) is probe


def test_what_kept_the_probe_is_never_taken() -> None:
    probe, kept = arm(Way(), [0.5, 0.5]), arm(Way("full"), [0.1, 0.1])
    kept.keeps_probe = True
    assert standing.first([probe, kept]) is probe


def test_the_winner_of_many_is_corrected() -> None:
    """Twenty arms that are equally good: the best one's own score flatters it."""
    rng = np.random.default_rng(2)
    arms = [arm(Way(backbone=f"n{i}"), rng.exponential(0.5, 60).tolist()) for i in range(20)]
    found = standing.optimism(arms)
    assert found is not None
    assert found["compared"] == 20
    assert found["log_loss_of_winner"] + 0.01 < found["log_loss"] < 0.5
    assert standing.optimism(arms[:1]) is None


def test_images_of_one_group_count_as_one_where_arms_are_compared() -> None:
    """Six photographs of a plant that all say the same are one observation."""
    rng = np.random.default_rng(0)
    by_group = rng.normal(0.05, 0.3, 20)
    loss = np.repeat(0.5 + by_group, 6)
    rows, units = np.arange(120), np.repeat(np.arange(20), 6)
    probe = Arm(Way(), judged=Judged(rows, np.full(120, 0.5), rows < 60, units))
    other = Arm(Way(backbone="lite2"), judged=Judged(rows, loss, rows < 60, units))
    expected_error = by_group.std(ddof=1) / np.sqrt(20)
    found = standing.difference(other, probe, [probe, other])
    assert found["high"] - found["value"] == pytest.approx(standing.Z * expected_error)
    alone = [replace(arm, judged=replace(arm.judged, units=None)) for arm in (other, probe)]
    narrow = standing.difference(*alone, alone[::-1])
    assert found["high"] - found["low"] > 2 * (narrow["high"] - narrow["low"])
    again = Judged.from_dict(json.loads(json.dumps(other.judged.to_dict())))
    assert (again.units == units).all()


def test_nothing_to_speak_of_takes_no_costlier_arm() -> None:
    """A network twice as large was taken for a log loss less by 0.0001, the same for each image."""
    probe, larger = arm(Way(), [0.7] * 50), arm(Way(backbone="lite2"), [0.6999] * 50)
    assert standing.first([probe, larger]) is probe
    assert standing.first([probe, arm(Way(backbone="lite2"), [0.69] * 50)]) is not probe


def test_judged_goes_through_json_to_the_bit() -> None:
    rng = np.random.default_rng(3)
    one = Judged(rng.permutation(9), rng.random(9), rng.random(9) < 0.5)
    again = Judged.from_dict(json.loads(json.dumps(one.to_dict())))
    assert (again.loss == one.loss).all()
    assert (again.rows == one.rows).all()
    assert (again.right == one.right).all()


def test_learning_on_is_expected_to_win_where_much_has_to_change() -> None:
    arms = [arm(Way(), [0.3] * 20)]
    assert expected(Way("partial"), arms, POOR).is_worth_it(0.3)
    assert not expected(Way("partial"), arms, GOOD).is_worth_it(0.3)
    assert expected(Way(backbone="lite2"), arms, GOOD).is_worth_it(0.3)
    full, partial = (expected(Way(m), arms, POOR).log_loss for m in ("full", "partial"))
    assert full < partial


def test_on_few_images_little_is_expected_of_learning_on_and_it_is_tried_all_the_same() -> None:
    """Two networks side by side won more there (docs/experiments.md); to measure is better."""
    few = replace(POOR, n_images=144)
    arms = [arm(Way(), [0.3] * 20)]
    on_few, on_many = (expected(Way("full"), arms, situation) for situation in (few, POOR))
    assert on_few.log_loss > on_many.log_loss
    assert on_few.hope == on_many.hope == on_many.gain
    assert on_few.may_be_worth_it(0.3)
    side_by_side = expected(Way(backbone="default+lite2"), arms, few)
    assert side_by_side.log_loss < on_few.log_loss
    assert expected(Way("full"), arms, GOOD).hope < 0.05 * 0.3


def test_what_was_tried_takes_the_place_of_what_is_usual() -> None:
    probe, failed = arm(Way(), [0.3] * 20), arm(Way("partial"), [0.3] * 20)
    failed.keeps_probe = True
    before = expected(Way("partial", "lite1"), [probe], POOR).log_loss
    after = expected(Way("partial", "lite1"), [probe, failed], POOR).log_loss
    assert after > before


# -- the learning curve ----------------------------------------------------------------------


def two_clouds(n: int, apart: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    X = rng.standard_normal((n, 40)).astype(np.float32) / 6
    X[:, 0] += apart * (2 * y - 1) / 6
    return X, y


def curve_of(n: int, apart: float, seed: int) -> learning_curve.LearningCurve:
    from regraft.probe import ridge

    X, y = two_clouds(n, apart, seed)
    system = ridge.RidgeSystem.build(lambda: iter([X]), y, n_classes=2)
    strength = learning_curve._strength(system, y)
    right = system.left_out_scores(strength).argmax(1) == y[system.judged_rows]
    return learning_curve.measure(X, y, np.arange(n), right, seed=seed)


def test_full_size_is_foretold_within_its_interval() -> None:
    """In at least 18 of 20 cases, of data easy and hard."""
    inside = 0
    for seed in range(20):
        found = curve_of(300, 0.7 + 0.1 * (seed % 5), seed)
        assert found.foretold is not None
        inside += found.foretold.low <= found.points[-1].accuracy <= found.foretold.high
    assert inside >= 18


def test_a_curve_rises_and_says_so() -> None:
    found = curve_of(200, 1.2, 0)
    assert [point.n for point in found.points] == [20, 60, 200]
    assert found.points[0].accuracy < found.points[-1].accuracy
    assert found.doubled is not None
    assert all(p.low <= p.accuracy <= p.high for p in [*found.points, found.doubled])
    assert found.gain is not None
    assert found.gain["low"] <= found.gain["value"] <= found.gain["high"]
    assert found.doubled.accuracy == pytest.approx(found.points[-1].accuracy + found.gain["value"])


@pytest.mark.parametrize(
    ("low", "value", "high", "said"),
    [
        (0.02, 0.03, 0.05, "more images would help;"),
        (0.001, 0.006, 0.02, "more images would help a little;"),
        (0.0, 0.03, 0.05, "more images may help or not:"),
        (0.0, 0.002, 0.004, "more images would help little;"),
    ],
)
def test_that_more_images_help_is_said_where_the_interval_excludes_none(
    low: float, value: float, high: float, said: str
) -> None:
    points = tuple(learning_curve.Point(n, a, 0, 1) for n, a in ((10, 0.7), (30, 0.8), (100, 0.9)))
    gain = {"low": low, "value": value, "high": high}
    doubled = learning_curve.Point(200, 0.9 + value, 0, 1)
    found = learning_curve.LearningCurve(points, doubled, doubled, gain)
    assert found.words.startswith(said)


def test_pictures_of_one_unit_never_teach_and_test() -> None:
    y, units = np.arange(40) % 2, np.arange(40) // 4
    rng = np.random.default_rng(0)
    mask = learning_curve._part(y, units, 0.3, rng)
    assert not set(units[mask]) & set(units[~mask])


@pytest.mark.parametrize("n_classes", [2, 6, 12])
def test_a_part_has_its_share_where_units_hold_several_classes(n_classes: int) -> None:
    """Of a patient with one picture of each class; else few patients look like too few images."""
    y, units = np.arange(60 * n_classes) % n_classes, np.arange(60 * n_classes) // n_classes
    for share in (0.1, 0.3):
        mask = learning_curve._part(y, units, share, np.random.default_rng(0))
        assert mask.mean() == pytest.approx(share, abs=0.02)
    Z = np.eye(n_classes, dtype=np.float32)[y]
    found = learning_curve.measure(Z, y, units, np.arange(len(y)) % 10 > 0)
    assert [point.n for point in found.points] == [len(y) // 10, 3 * len(y) // 10, len(y)]
    assert found.doubled is not None


@pytest.mark.parametrize(
    ("n_of", "said"), [((200, 5), "of 1 class with fewer"), ((9, 9), ""), ((200, 60), "")]
)
def test_a_rare_class_is_said_to_be_hardly_seen(n_of: tuple[int, int], said: str) -> None:
    """200 of one class right and 5 of another: nothing to gain by the accuracy of all."""
    y = np.repeat([0, 1], n_of)
    Z = np.eye(2, dtype=np.float32)[y]
    words = learning_curve.measure(Z, y, np.arange(len(y)), np.ones(len(y), bool)).words
    assert ("says next to nothing" in words) == bool(said)
    assert said in words


def test_too_few_images_have_no_curve() -> None:
    found = curve_of(12, 1.0, 0)
    assert found.doubled is None
    assert found.words == "too few images for a learning curve"


# -- comparisons -----------------------------------------------------------------------------


def row(right: np.ndarray, seconds: float, name: str = "default") -> Row:
    share = float(right.mean())
    accuracy = {"value": share, "low": share, "high": share, "level": 0.95}
    return Row(Way(backbone=name), right, accuracy, 0.1, seconds, 20.0, ["runs/x"])


def test_the_cheapest_that_ties_is_taken() -> None:
    rng = np.random.default_rng(0)
    right = rng.random(200) < 0.9
    nearly = right.copy()
    nearly[np.flatnonzero(right)[:2]] = False
    bad = rng.random(200) < 0.5
    ranking = Ranking([row(right, 100), row(nearly, 3), row(bad, 1)], np.arange(200).astype(object))
    assert (ranking.best, ranking.take, ranking.ties) == (0, 1, [0, 1])
    assert ranking.front == [2, 1, 0]
    content = ranking.to_dict()
    assert {test["a"]: test["tie"] for test in content["tests"]} == {1: True, 2: False}
    assert "cannot tell 2 ways apart" in content["why"]


def test_one_image_in_several_seeds_counts_once() -> None:
    """Ten seeds of the same twenty images are no two hundred images."""
    a = np.array([True] * 20)
    b = np.array([True] * 17 + [False] * 3)
    keys = np.tile(np.arange(20), 10).astype(str).astype(object)
    many = Ranking([row(np.tile(a, 10), 1), row(np.tile(b, 10), 2)], keys)
    one = Ranking([row(a, 1), row(b, 2)], np.arange(20).astype(str).astype(object))
    assert many.test(1, 0).p_value == pytest.approx(one.test(1, 0).p_value, abs=0.03)
    assert "20 images cannot tell" in many.why


def test_images_of_one_group_count_once() -> None:
    """Five plants, of ten photographs each, are no fifty images that one way alone has right."""
    a, b = np.ones(100, bool), np.arange(100) >= 50
    keys, plants = np.arange(100).astype(str).astype(object), [f"{i // 10}" for i in range(100)]
    alone = Ranking([row(a, 9), row(b, 1)], keys)
    together = Ranking([row(a, 9), row(b, 1)], keys, groups=plants)
    assert (alone.ties, alone.take) == ([0], 0)
    assert (together.ties, together.take) == ([0, 1], 1)
    share = comparing.interval_of(b, comparing.together_of(keys, plants))
    assert share["high"] - share["low"] > 2 * 1.96 * 0.5 / np.sqrt(30)


def test_the_page_of_a_comparison_draws_hostile_names(tmp_path: Path) -> None:
    from regraft.report import ways_page

    right = np.arange(20) < 18
    ranking = Ranking(
        [row(right, 2), row(right, 40, "<script>alert(1)</script>")], np.arange(20).astype(object)
    )
    content = {**ranking.to_dict(), "data": "<img src=x onerror=alert(1)>", "seeds": [0]}
    html = ways_page.write(content, tmp_path / "compare.html").read_text(encoding="utf-8")
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    assert "Pareto" in html
