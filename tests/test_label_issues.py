"""Planted wrong labels are found, right ones left alone, whatever the classes and their sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regraft.evaluation.calibration import softmax
from regraft.evaluation.label_issues import find_label_issues
from regraft.features.engine import Tap
from regraft.probe.network import Network
from regraft.probe.probe import Probe

TAPS = (Tap("final", 0, 24),)


def made_up(sizes, *, gap=1.4, seed=0):
    """Features of classes of these sizes, and their codes, shuffled."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    means = np.random.default_rng(7).standard_normal((len(sizes), 24)) * gap
    return (rng.standard_normal((len(y), 24)) + means[y]).astype(np.float32), y


def flipped(y, n, *, seed=0):
    """Codes with n of them changed to another class, and the rows that were."""
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(y), n, replace=False)
    wrong = y.copy()
    wrong[rows] = (y[rows] + rng.integers(1, y.max() + 1, n)) % (y.max() + 1)
    return wrong, set(rows.tolist())


def left_out_proba(X, y):
    classes = [*map(str, range(int(y.max()) + 1))]
    found = Probe(taps=("final",)).fit(X, y, network=Network(TAPS), classes=classes)
    return found.learnt.oof_proba


def sure_of(y, n_classes, confidence):
    """Probabilities of a classifier that gives `confidence` to `y` and shares out the rest."""
    p = np.full((len(y), n_classes), (1 - confidence) / (n_classes - 1))
    p[np.arange(len(y)), y] = confidence
    return p


# -- Planted --


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sizes", [(122, 122), (30,) * 8, (200, 30, 14)])
def test_planted_flips_stand_at_the_head_of_the_list(sizes, seed):
    X, y = made_up(sizes, seed=seed)
    wrong, planted = flipped(y, 20, seed=seed)
    found = find_label_issues(left_out_proba(X, wrong), wrong)
    assert len(planted & {issue.row for issue in found[:30]}) >= 17
    assert len(planted & {issue.row for issue in found[:15]}) >= 14
    # Most suggestions are the label that it was.
    right = [issue.suggested == y[issue.row] for issue in found if issue.row in planted]
    assert np.mean(right) > 0.9


def test_nothing_is_listed_on_clean_and_separable_data():
    X, y = made_up((60, 40, 9), gap=4.0)
    assert find_label_issues(left_out_proba(X, y), y) == []


def test_many_classes_of_few_images():
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(1000), 3)
    wrong, planted = flipped(y, 60)
    scores = rng.standard_normal((3000, 1000)) + 12 * np.eye(1000)[y]
    found = find_label_issues(softmax(scores), wrong)
    assert {issue.row for issue in found} <= planted
    assert len(found) >= 45
    assert all(issue.suggested == y[issue.row] for issue in found)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_timid_or_bold_probabilities_list_the_same_flips(temperature):
    rng = np.random.default_rng(1)
    y = np.arange(300) % 3
    wrong, planted = flipped(y, 15)
    scores = rng.standard_normal((300, 3)) + 5 * np.eye(3)[y]
    found = find_label_issues(softmax(scores, temperature=temperature), wrong)
    assert len(planted & {issue.row for issue in found[:22]}) >= 14


# -- The rule, by hand --


def test_the_bar_is_twice_the_mean_loss_of_the_suggested_class():
    # Labelled 0: 0.9 and 0.625, whose product is the bar: exp(-2 * mean loss) = 0.5625.
    p_0 = np.array([0.9, 0.625, 0.1, 0.3, 0.5])
    y = np.array([0, 0, 1, 1, 1])

    def listed(suspect):
        p = p_0.copy()
        p[4] = suspect
        return [issue.row for issue in find_label_issues(np.stack([p, 1 - p], 1), y)]

    assert listed(0.52) == []
    assert listed(0.562) == []
    assert listed(0.563) == [4]
    assert listed(0.99) == [4]


def test_first_is_whose_own_class_is_the_least_probable_beside_the_other():
    y = np.array([0] * 6 + [1] * 6)
    p_0 = np.array([0.9] * 4 + [0.05, 0.2] + [0.1] * 4 + [0.85, 0.99])
    found = find_label_issues(np.stack([p_0, 1 - p_0], 1), y)
    assert [issue.row for issue in found] == [11, 4, 10, 5]
    assert [issue.given for issue in found] == [1, 0, 1, 0]
    # 0.6 against 0.05 comes before 0.8 against 0.2, though the margin is smaller.
    y = np.repeat([0, 1, 2], 4)
    p = sure_of(y, 3, 0.7)
    p[0], p[4] = [0.2, 0.8, 0.0], [0.6, 0.05, 0.35]
    assert [issue.row for issue in find_label_issues(p, y)] == [4, 0]


def test_a_class_seldom_recognised_has_a_low_bar_and_a_known_one_a_high():
    y = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
    p = sure_of(y, 3, 0.95)
    p[6:] = [0.25, 0.25, 0.5]
    p[5] = [0.2, 0.25, 0.55]  # class 2 never gets more than 0.55
    assert [(i.row, i.suggested) for i in find_label_issues(p, y)] == [(5, 2)]
    p[5] = [0.55, 0.25, 0.2]  # class 0 always gets 0.95
    assert find_label_issues(p, y) == []


def test_whoever_goes_through_the_list_sees_the_unsure_ones_too_in_the_same_order():
    y = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
    p = sure_of(y, 4, 0.95)
    p[5] = [0.55, 0.25, 0.2, 0.0]  # class 0 always gets 0.95
    p[7] = [0.93, 0.05, 0.02, 0.0]
    p[8] = [0.0, 0.1, 0.3, 0.6]  # nothing is labelled with class 3
    assert [issue.row for issue in find_label_issues(p, y)] == [7]
    every = find_label_issues(p, y, only_sure=False)
    assert [(issue.row, issue.suggested) for issue in every] == [(7, 0), (5, 0)]
    alone = np.array([0, 0, 1, 1, 2])
    p = sure_of(alone, 3, 0.95)
    p[4] = [0.9, 0.06, 0.04]
    assert find_label_issues(p, alone, only_sure=False) == []


def test_the_only_image_of_a_class_neither_is_listed_nor_draws_others_in():
    y = np.array([0] * 50 + [1])
    rng = np.random.default_rng(0)
    p_1 = np.append(rng.uniform(0.001, 0.05, 50), 0.0001)
    assert find_label_issues(np.stack([1 - p_1, p_1], 1), y) == []


def test_a_class_without_images_is_never_suggested():
    y = np.array([0, 0, 1, 1])
    p = sure_of(y, 3, 0.9)
    p[3] = [0.0, 0.1, 0.9]
    assert find_label_issues(p, y) == []


def test_a_draw_is_no_issue():
    assert find_label_issues(np.full((6, 2), 0.5), np.array([0, 0, 0, 1, 1, 1])) == []


def test_no_images_no_issues():
    assert find_label_issues(np.zeros((0, 3)), np.zeros(0, int)) == []


# -- Properties --


@st.composite
def cases(draw):
    n, k = draw(st.integers(1, 40)), draw(st.integers(2, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    y = rng.integers(0, draw(st.integers(1, k)), n)
    scores = rng.standard_normal((n, k)) * draw(st.sampled_from([0.1, 1, 8]))
    return softmax(scores + draw(st.sampled_from([0, 2])) * np.eye(k)[y]), y


@settings(max_examples=80, deadline=None)
@given(cases())
def test_every_issue_keeps_the_stated_rule(case):
    p, y = case
    found = find_label_issues(p, y)
    support = [i.p_given / i.p_suggested for i in found]
    assert support == sorted(support)
    listed = {i.row: i for i in found}
    for row in range(len(y)):
        top = int(p[row].argmax())
        others = [float(p[j, top]) for j in range(len(y)) if y[j] == top]
        reaches = bool(others) and p[row, top] > np.exp(2 * np.mean(np.log(others))) + 1e-9
        if row in listed:
            issue = listed[row]
            assert (issue.given, issue.suggested) == (y[row], top)
            assert (issue.p_given, issue.p_suggested) == (p[row, y[row]], p[row, top])
            assert issue.suggested != issue.given
        else:
            assert not reaches or top == y[row] or (y == y[row]).sum() == 1


@settings(max_examples=40, deadline=None)
@given(cases(), st.integers(0, 2**32 - 1))
def test_order_of_rows_and_names_of_classes_do_not_matter(case, seed):
    p, y = case
    rng = np.random.default_rng(seed)
    rows, names = rng.permutation(len(y)), rng.permutation(p.shape[1])
    renamed = np.empty_like(p)
    renamed[:, names] = p
    before = {(i.row, names[i.suggested]) for i in find_label_issues(p, y)}
    after = find_label_issues(renamed[rows], names[y[rows]])
    assert {(rows[i.row], i.suggested) for i in after} == before


# -- Refusals --


@pytest.mark.parametrize(
    ("p", "y", "match"),
    [
        (np.zeros((2, 2)), np.zeros(3, int), r"\(2, 2\) and \(3,\)"),
        (np.zeros(2), np.zeros(2, int), r"\(2,\) and \(2,\)"),
        (np.full((2, 2), 0.5), np.array([0, 2]), "0 to 1, got 0 to 2"),
        (np.array([[np.nan, 1.0]]), np.array([0]), "finite"),
    ],
)
def test_bad_input_is_refused_with_what_is_wrong(p, y, match):
    with pytest.raises(ValueError, match=match):
        find_label_issues(p, y)
