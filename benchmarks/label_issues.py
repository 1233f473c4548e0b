"""How many planted wrong labels stand at the head of the list of probable label errors.

    python benchmarks/label_issues.py [--seeds 5] [DATA ...]

Of train, 20 labels (ants and bees) or 5 % (else) are changed to another class at random; then the
default probe is fitted and its left-out probabilities are searched. "head" is how many of the
planted stand among the first 1.5 times as many; "listed" how many stand anywhere on the list. The
row with none planted is the data as it is: right labels that look wrong, and true slips.

Found with seeds 0 to 4 (default backbone and head):
                      planted   head       listed     on the list   on it with none planted
    hymenoptera_data       20   18 to 20   18 to 20    22 to  25     2 of   245
    gtsrb                  64   60 to 63   60 to 63   145 to 156    61 of 1,290
    ucmerced               55   53 to 55   53 to 55    80 to  97    19 of 1,092
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from measure import SHARED, needs_shared

from regraft.evaluation.label_issues import find_label_issues
from regraft.record.configuration import RunConfig
from regraft.workflows import fitting
from regraft.workflows.lesson import lesson_of
from regraft.workflows.preparation import Prepared, prepare

PLANTED = {"hymenoptera_data": 20}
SHARE = 0.05


def plant(prepared: Prepared, n: int, seed: int) -> tuple[Prepared, set[int]]:
    """The same data with n labels of train changed, and the rows (of the table) they are in."""
    rng = np.random.default_rng(seed)
    labels = prepared.table.labels.copy()
    train = np.flatnonzero(prepared.table.splits == "train")
    classes = sorted(set(labels[train]))
    rows = rng.choice(train, n, replace=False)
    for row in rows:
        labels[row] = rng.choice([name for name in classes if name != labels[row]])
    table = replace(prepared.table, labels=labels)
    return replace(prepared, table=table), set(rows.tolist())


def suspects(config: RunConfig, prepared: Prepared) -> tuple[list[int], float]:
    """Rows of the table on the list, in its order; and the left-out accuracy."""
    lesson = lesson_of(prepared)
    learnt = fitting.task_of(config, prepared, lesson).fit_probe().learnt
    y = lesson.y
    rows = np.flatnonzero(lesson.roles.train)[learnt.oof_rows]
    accuracy = float((learnt.oof_proba.argmax(axis=1) == y[rows]).mean())
    return [int(rows[i.row]) for i in find_label_issues(learnt.oof_proba, y[rows])], accuracy


def measure(data: Path, *, n_seeds: int, head: str) -> None:
    """One row without planting, and one for each seed."""
    config = RunConfig(str(data), head=head)
    prepared = prepare(config)
    n_train = int((prepared.table.splits == "train").sum())
    for seed in range(-1, n_seeds):
        n = 0 if seed < 0 else PLANTED.get(data.name, round(SHARE * n_train))
        changed, planted = plant(prepared, n, max(seed, 0))
        found, accuracy = suspects(config, changed)
        at_head = len(planted.intersection(found[: round(1.5 * n)]))
        listed = len(planted.intersection(found))
        print(
            f"{data.name:18.18}{head:10}{n_train:7,}{'' if seed < 0 else seed:>6}{n:9}{at_head:6}"
            f"{listed:8}{len(found):13}{accuracy:18.3f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", nargs="*", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--head", default="ridge")
    options = parser.parse_args()
    if not options.data:
        needs_shared()
    names = ("hymenoptera_data", "gtsrb", "ucmerced")
    print(
        f"{'data':18}{'head':10}{'train':>7}{'seed':>6}{'planted':>9}{'head':>6}{'listed':>8}"
        f"{'on the list':>13}{'left-out accuracy':>18}"
    )
    for data in options.data or [SHARED / "data" / name for name in names]:
        measure(data, n_seeds=options.seeds, head=options.head)


if __name__ == "__main__":
    main()
