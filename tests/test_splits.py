"""Assignment by content is stable, groups are never cut, folds are even, roles are honest."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regraft.data import splits as splits_module
from regraft.data.splits import assign, carve, check_groups_across, roles
from regraft.errors import SplitError


def digests_of(contents) -> list[bytes]:
    return [hashlib.sha256(str(content).encode()).digest() for content in contents]


def column(values) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


images = st.lists(
    st.tuples(st.integers(0, 200), st.sampled_from(["ant", "bee", "wasp"]), st.integers(0, 30)),
    min_size=1,
    max_size=120,
)


def assign_or_none(rows, *, grouped=False, seed=0, test_fraction=0.3):
    contents, labels, groups = (list(values) for values in zip(*rows, strict=True))
    try:
        return assign(
            column(labels),
            digests_of(contents),
            groups=column([f"g{g}" if g % 7 else None for g in groups]) if grouped else None,
            seed=seed,
            test_fraction=test_fraction,
        )
    except SplitError:
        return None


@given(images, st.booleans(), st.integers(0, 3))
def test_every_class_keeps_an_image_in_train(rows, grouped, seed):
    splits = assign_or_none(rows, grouped=grouped, seed=seed, test_fraction=0.9)
    if splits is not None:
        taught = {row[1] for row, split in zip(rows, splits, strict=True) if split == "train"}
        assert taught == {row[1] for row in rows}


@given(images)
def test_copies_of_one_picture_are_on_the_same_side(rows):
    splits = assign_or_none(rows)
    if splits is not None:
        sides = {(row[0], split) for row, split in zip(rows, splits, strict=True)}
        assert len(sides) == len({row[0] for row in rows})


@given(images)
def test_groups_are_never_cut(rows):
    splits = assign_or_none(rows, grouped=True)
    if splits is not None:
        sides = {(row[2], s) for row, s in zip(rows, splits, strict=True) if row[2] % 7}
        assert len(sides) == len({row[2] for row in rows if row[2] % 7})


def shares_tested(labels, splits) -> dict[str, float]:
    return {name: np.mean(splits[labels == name] == "test") for name in sorted(set(labels))}


@given(images, images)
@settings(max_examples=200)
def test_adding_images_moves_none_but_keepers_while_the_shares_are_even(rows, added):
    def even(rows) -> bool:
        """No class needs a fraction of its own, and every picture has one label."""
        if len({row[0] for row in rows}) != len({row[:2] for row in rows}):
            return False
        once = {row[:2]: row for row in rows}.values()
        labels = column([row[1] for row in once])
        u, unit_of_row = splits_module._unit_numbers(digests_of(row[0] for row in once), None, 0)
        y = splits_module._codes_in_order(labels)
        return bool((splits_module._fraction_of_each_unit(u, unit_of_row, y, 0.3) == 0.3).all())

    before, after = assign_or_none(rows), assign_or_none(rows + added)
    if before is None or after is None or not even(rows) or not even(rows + added):
        return
    moved = {
        (row[0], old, new) for row, old, new in zip(rows, before, after, strict=False) if old != new
    }
    # There are three classes, each with one keeper, and only keepers give up or take the place.
    assert sum(old == "train" for _, old, _ in moved) <= 3
    assert sum(old == "test" for _, old, _ in moved) <= 3


@pytest.mark.parametrize("n", [8, 20, 50, 176])
@pytest.mark.parametrize("seed", range(5))
def test_every_class_is_tested_about_as_asked(n, seed):
    """Of 40 classes, chance alone gives some of 20 images more than 40 %, and some nothing."""
    labels = column([f"class {k}" for k in range(40) for _ in range(n)])
    splits = assign(labels, digests_of(range(40 * n)), seed=seed)
    counts = [share * n for share in shares_tested(labels, splits).values()]
    assert min(counts) >= max(1, np.floor(min(0.15 * n, 0.2 * n - 1)))
    assert max(counts) <= np.ceil(max(0.25 * n, 0.2 * n + 1))


def test_one_more_picture_hardly_ever_moves_another():
    moved = 0
    for k in range(300):
        labels = column(["ant"] * 51)
        digests = digests_of(range(51 * k, 51 * k + 51))
        before, after = assign(labels[:50], digests[:50]), assign(labels, digests)
        moved += bool((before != after[:50]).any())
    assert moved <= 0.06 * 300


def test_whole_groups_come_as_near_to_the_share_as_their_size_allows():
    groups = column([f"g{k}" for k in range(20) for _ in range(10)])
    labels = column(["ant"] * 100 + ["bee"] * 100)
    for seed in range(20):
        splits = assign(labels, digests_of(range(200)), groups=groups, seed=seed)
        assert all(0.1 <= share <= 0.3 for share in shares_tested(labels, splits).values())


def test_a_picture_without_a_label_is_divided_too():
    labels = column(["ant"] * 30 + [None] * 30)
    splits = assign(labels, digests_of(range(60)))
    assert set(splits[30:]) == {"train", "test"}


def test_adding_images_to_well_filled_classes_moves_none():
    labels = column(["ant", "bee"] * 500)
    digests = digests_of(range(1000))
    before = assign(labels[:600], digests[:600])
    after = assign(labels, digests)
    assert before.tolist() == after[:600].tolist()


def test_order_and_names_do_not_matter():
    labels, digests = column(["ant", "bee"] * 50), digests_of(range(100))
    order = np.random.default_rng(1).permutation(100)
    shuffled = assign(labels[order], [digests[i] for i in order])
    assert shuffled.tolist() == assign(labels, digests)[order].tolist()


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
def test_the_fraction_is_met_within_chance_and_another_seed_divides_anew(fraction):
    labels, digests = column(["ant"] * 10_000), digests_of(range(10_000))
    first = assign(labels, digests, test_fraction=fraction) == "test"
    second = assign(labels, digests, test_fraction=fraction, seed=1) == "test"
    five_deviations = 5 * np.sqrt(fraction * (1 - fraction) / 10_000)
    assert abs(first.mean() - fraction) < five_deviations
    assert abs((first & second).mean() - fraction**2) < five_deviations


def test_assignment_is_the_same_for_ever():
    splits = assign(column(["ant"] * 12), digests_of(range(12)), test_fraction=0.5)
    assert "".join(split[1] for split in splits) == "ereeeerrrrer"


def test_nothing_in_test_is_refused():
    with pytest.raises(SplitError, match="none of 2 different images") as caught:
        assign(column(["ant", "bee"]), digests_of("ab"))
    assert caught.value.n_units == 2
    with pytest.raises(ValueError, match="test_fraction"):
        assign(column(["ant"]), digests_of("a"), test_fraction=1.0)


def test_groups_across_splits_are_found():
    splits = column(["train", "val", "test", "train", None, "val"])
    groups = column(["b", "b", "b", "a", "a", None])
    found = check_groups_across(splits, groups)
    assert [(leak.group, leak.splits) for leak in found] == [("b", ("train", "val", "test"))]
    assert check_groups_across(splits, None) == []


@given(
    st.lists(st.integers(0, 5), min_size=10, max_size=200), st.integers(2, 10), st.integers(0, 9)
)
def test_folds_are_stratified_to_one_image(y, n_folds, seed):
    folds = carve(y, n_folds, seed=seed)
    assert folds.dtype == np.int32
    assert np.ptp(np.bincount(folds, minlength=n_folds)) <= 1
    for code in set(y):
        assert np.ptp(np.bincount(folds[np.array(y) == code], minlength=n_folds)) <= 1
    assert folds.tolist() == carve(y, n_folds, seed=seed).tolist()


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(-20, 20)), min_size=30, max_size=200),
    st.integers(2, 5),
)
def test_folds_never_cut_a_unit_and_differ_by_no_more_than_the_largest(rows, n_folds):
    units = np.array([unit for _, unit in rows])
    y = np.abs(units) % 3  # one class per unit
    if len(set(units.tolist())) < n_folds:
        return
    folds = carve(y, n_folds, units=units)
    assert len(set(zip(units, folds, strict=True))) == len(set(units.tolist()))
    for code in set(y.tolist()):
        sizes = np.unique(units[y == code], return_counts=True)[1]
        assert np.ptp(np.bincount(folds[y == code], minlength=n_folds)) <= sizes.max()


def test_a_mixed_unit_counts_for_its_most_frequent_class():
    y = [0, 0, 1, 1, 1, 0, 0, 1]
    units = [7, 7, 7, 8, 8, 8, 9, 10]
    folds = carve(y, 2, units=units, seed=0)
    assert folds[0] != folds[6]  # both of class 0
    assert folds[3] != folds[7]  # both of class 1


def test_fewer_units_than_folds_are_refused_with_the_cure():
    with pytest.raises(SplitError, match="5 folds need at least 5") as caught:
        carve([0, 1, 0, 1, 0], 5, units=[1, 1, 2, 2, 2])
    assert "at most 2 folds" in caught.value.cure
    with pytest.raises(ValueError, match="n_folds"):
        carve([0, 1], 1)


@pytest.mark.parametrize(
    ("present", "reported", "may_choose"),
    [("train val", "val", False), ("train test", "test", False), ("train val test", "test", True)],
)
def test_roles_follow_the_plan(present, reported, may_choose):
    splits = column([*present.split(), None])
    found = roles(splits)
    assert found.reported == reported
    assert splits[found.reports].tolist() == [reported]
    assert splits[found.train].tolist() == ["train"]
    assert (found.chooses is not None) == may_choose
    if found.chooses is not None:
        assert splits[found.chooses].tolist() == ["val"]


@pytest.mark.parametrize(
    ("present", "match"),
    [("val test", "nothing to learn from"), ("train", "nothing is left"), ("", "no split")],
)
def test_splits_that_cannot_teach_or_report_are_refused(present, match):
    with pytest.raises(SplitError, match=match) as caught:
        roles(column([*present.split(), None]))
    assert caught.value.cure
