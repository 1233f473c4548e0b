"""Labels that are probably wrong: images that a classifier takes for another class, and surely so.

Confident learning: how sure is sure differs from class to class, so each class sets its own bar by
the probabilities that its images get for it. They must be out of fold, from fits that did not see
the image; a classifier that has learnt a wrong label agrees with it.

What stands on the list is a suspicion. Hard but rightly labelled images stand there too, and from
probabilities alone nobody can tell how many: so no estimate of that is given.

N images, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from regraft.evaluation.blocks import as_asked, called, iterate_rows, own
from regraft.evaluation.metrics import Array, divide, log_losses

# In mean losses of the other class. At 1 about half of the images that are as much of that class as
# its own would stay off the list, since half of anything lies beyond its mean.
TOLERANCE = 2.0


@dataclass(frozen=True)
class LabelIssue:
    """An image whose label is probably wrong.

    Attributes
    ----------
    row : int
        Place in the arrays given.
    given, suggested : int
        Codes: its label, and the class that it is taken for.
    p_given, p_suggested : float
        Out-of-fold probabilities of the two.
    """

    row: int
    given: int
    suggested: int
    p_given: float
    p_suggested: float


def find_label_issues(proba: Array, y: Array, *, only_sure: bool = True) -> list[LabelIssue]:
    """Images whose label is probably wrong, the most suspicious first.

    An image is listed if another class is the most probable one, and if with that label its log
    loss would be at most twice the mean of the images that have it. So a class that is seldom
    recognised for sure asks for little, one that is known well for much; and probabilities that are
    all too timid or too bold move these bars along. First on the list is the image whose own class
    is the least probable beside the other, by p_given / p_suggested.

    An image that is the only one of its class is never listed: without it the classifier does not
    know that there is such a class.

    Parameters
    ----------
    proba : array of shape (N, K)
        Out-of-fold probabilities.
    y : int array of shape (N,)
        Codes of the given labels.
    only_sure : bool
        Without, every image that is taken for another class is listed, however unsure that is: for
        whoever goes through the list from its head, to whom a wrong label that is missing costs
        more than a right one at the end.

    Raises
    ------
    ValueError
        Shapes that do not fit, codes outside the columns, or probabilities that are not finite.

    References
    ----------
    Northcutt, Jiang, Chuang (2021), Confident learning, JAIR 70, 1373-1411. There the bar is the
    mean probability, which left 19 % of the planted wrong labels off the list, and this one 3 %
    (docs/metrics.md). And there an image may count for a class that is not its most probable one;
    a class of one image, whose bar lies near 0, would draw in many others.

    Examples
    --------
    >>> proba = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.95, 0.05]])
    >>> find_label_issues(proba, np.array([0, 0, 1, 1, 1]))
    [LabelIssue(row=4, given=1, suggested=0, p_given=0.05, p_suggested=0.95)]
    """
    proba, y = _checked(proba, y)
    n_classes, suggested = proba.shape[1], called(proba)
    p_given, p_suggested = own(proba, y), own(proba, suggested)
    n_images = np.bincount(y, minlength=n_classes)
    losses = np.bincount(y, log_losses(y, proba), minlength=n_classes)
    bar = np.exp(-TOLERANCE * divide(losses, n_images))
    # A class that no image is labelled with has no bar (NaN), and nothing reaches it.
    is_sure = p_suggested >= bar[suggested] if only_sure else n_images[suggested] > 0
    is_issue = (p_suggested > p_given) & is_sure & (n_images[y] > 1)
    found = np.flatnonzero(is_issue)
    found = found[np.argsort(p_given[found] / p_suggested[found], kind="stable")]
    return [
        LabelIssue(
            int(row), int(y[row]), int(suggested[row]), float(p_given[row]), float(p_suggested[row])
        )
        for row in found
    ]


def _checked(proba: Array, y: Array) -> tuple[Array, Array]:
    proba, y = as_asked(proba), np.asarray(y)
    if proba.ndim != 2 or y.shape != proba.shape[:1]:
        raise ValueError(f"need proba (N, K) and y (N,), got shapes {proba.shape} and {y.shape}")
    if y.size and (y.min() < 0 or y.max() >= proba.shape[1]):
        raise ValueError(f"codes must lie in 0 to {proba.shape[1] - 1}, got {y.min()} to {y.max()}")
    if not np.isfinite(sum(rows.sum(dtype=np.float64) for rows in iterate_rows(proba))):
        raise ValueError("probabilities must be finite, got NaN or infinity")
    return proba, y
