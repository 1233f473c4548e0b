"""Heads and taps on the four sets: accuracy on the reported split and seconds of the fit.

    python benchmarks/heads.py [DATA ...]

The rows with given taps are for comparison; `measured` is what `regraft train` does.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from measure import SHARED

from regraft.probe.probe import HEADS
from regraft.record.configuration import RunConfig
from regraft.workflows import fitting
from regraft.workflows.lesson import lesson_of
from regraft.workflows.preparation import prepare

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("data", nargs="*", type=Path)
args = parser.parse_args()
names = ("hymenoptera_data", "cats_dogs", "ucmerced", "gtsrb")
sets = args.data or [SHARED / "data" / name for name in names]
print(f"{'data':18}{'taps':10}{'head':10}{'accuracy':>9}{'log loss':>9}{'seconds':>9}  chosen")
for data in sets:
    prepared = prepare(RunConfig(str(data)))
    lesson = lesson_of(prepared)
    for taps in (None, ["final"], ["all"], ["final", "source"]):
        for head in HEADS:
            config = RunConfig(str(data), taps=taps, head=head)
            start = time.perf_counter()
            probe = fitting.task_of(config, prepared, lesson).fit_probe()
            seconds = time.perf_counter() - start
            proba = probe.proba_of(prepared.X[lesson.roles.reports])
            truth = lesson.y[lesson.roles.reports]
            right = (proba.argmax(1) == truth).mean()
            loss = -np.log(np.maximum(proba[np.arange(len(truth)), truth], 1e-12)).mean()
            chosen = "+".join(probe.representation.taps) if taps is None else ""
            label = "+".join(taps) if taps else "measured"
            short = data.name[:17]
            print(
                f"{short:18}{label:10.10}{head:10}{right:9.4f}{loss:9.3f}{seconds:9.2f}  {chosen}"
            )
