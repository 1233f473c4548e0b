"""R14, no optimism: labels that mean nothing score at chance, whatever was selected on the way.

Held-out labels are drawn independently of everything else, so the number of right answers is
binomial and its interval exact. Left-out scores on train are another matter: the settings were
chosen by them. What that choice may gain is bounded below, and it never reaches a report.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from regraft.features.engine import Tap
from regraft.probe.network import Network
from regraft.probe.probe import Probe
from regraft.probe.source_classifier import SourceClassifier
from regraft.record.configuration import RunConfig
from regraft.workflows import experiment

N_SEEDS = 20
TAPS = (*(Tap(f"blocks.{i}", 16 * i, 16 * i + 16) for i in range(5)), Tap("final", 80, 110))
Write = Callable[..., Path]


def middle(n: int, chance: float) -> tuple[float, float]:
    """Between these the share of n right answers lies in 99.8 of 100 cases."""
    return binom.ppf(0.001, n, chance) / n, binom.ppf(0.999, n, chance) / n


def correlated(n: int, rng: np.random.Generator) -> np.ndarray:
    """Features as networks give them: positive, correlated, of very different scale."""
    hidden = rng.standard_normal((n, 12)) @ np.random.default_rng(3).standard_normal((12, 110))
    scale = np.geomspace(0.1, 30, 110)
    return (np.abs(hidden + rng.standard_normal((n, 110))) * scale).astype(np.float32)


SOURCE = SourceClassifier(
    np.random.default_rng(1).standard_normal((20, 30)).astype(np.float32) / 30,
    np.zeros(20, np.float32),
)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_probes_of_random_labels_are_at_chance(n_classes: int) -> None:
    """Taps, strength and temperature are selected; 20 seeds, 80 train and 100 new images each."""
    right, left_out, confidence = [], [], []
    for seed in range(N_SEEDS):
        rng = np.random.default_rng([seed, n_classes])
        X, y = correlated(180, rng), rng.integers(0, n_classes, 180)
        probe = Probe(random_state=seed).fit(
            X[:80], y[:80], network=Network(TAPS, SOURCE), classes=[*map(str, range(n_classes))]
        )
        proba = probe.proba_of(X[80:])
        right.append((proba.argmax(1) == y[80:]).mean())
        confidence.append(proba.max(1).mean())
        left_out.append((probe.learnt.oof_proba.argmax(1) == y[:80]).mean())
    low, high = middle(100 * N_SEEDS, 1 / n_classes)
    assert low <= np.mean(right) <= high
    # The best of 9 sets of taps and 28 strengths by squared error: the left-out accuracy that
    # chose may flatter. Three standard errors of one image set's accuracy is what it may gain on
    # average; it is reported as what chose, never as the score.
    error = np.sqrt((1 - 1 / n_classes) / n_classes / 80)
    assert np.mean(left_out) <= 1 / n_classes + 3 * error / np.sqrt(N_SEEDS) + 0.03
    # Calibrated: who knows nothing is not sure of anything.
    assert np.mean(confidence) < 1 / n_classes + 0.12


@pytest.fixture(scope="module")
def pictures(
    make_room: Callable[[str], Path], put_engines: Callable[[Path], object], make_photos: Write
) -> tuple[Path, Path]:
    """60 pictures of one kind, and a cache that holds the engine and (soon) their features."""
    folder = make_photos(make_room("random") / "pictures", classes=["squares"], n=60, size_px=64)
    cache = make_room("random-cache")
    put_engines(cache)
    return folder, cache


def manifest(file: Path, rows: list[tuple[Path, str, str]]) -> str:
    with open(file, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("path", "label", "split"), *rows])
    return str(file)


def test_whole_runs_on_random_labels_report_chance(
    pictures: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20 runs, from manifest to metrics, splits assigned by Regraft; the intervals hold chance."""
    folder, cache = pictures
    monkeypatch.setenv("REGRAFT_CACHE", str(cache))
    paths = sorted(folder.rglob("*.jpg"))
    n_right = n_scored = n_hold = 0
    for seed in range(N_SEEDS):
        labels = np.random.default_rng(seed).permutation(["heads", "tails"] * (len(paths) // 2))
        data = tmp_path / f"labels_{seed}.csv"
        with open(data, "w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([("path", "label"), *zip(paths, labels, strict=True)])
        config = RunConfig(str(data), seed=seed, test_fraction=0.4)
        result = experiment.run(config, out=str(tmp_path / "runs"))
        accuracy, n = result.evaluation.accuracy, result.evaluation.n
        n_right += round(accuracy.value * n)
        n_scored += n
        n_hold += accuracy.low <= 0.5 <= accuracy.high
        assert result.metrics["leaks"]["images"] == 0
    low, high = middle(n_scored, 0.5)
    assert low <= n_right / n_scored <= high
    assert n_scored > 20 * N_SEEDS
    assert n_hold >= 16  # of 20 at 95 %: 15 or fewer in 3 of 1,000 cases


def test_copies_across_splits_are_seen_through(
    pictures: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What optimism looks like: half of test has a copy in train. Without them it is chance."""
    folder, cache = pictures
    monkeypatch.setenv("REGRAFT_CACHE", str(cache))
    paths = sorted(folder.rglob("*.jpg"))
    (tmp_path / "copies").mkdir()
    labels = np.random.default_rng(11).permutation(["heads", "tails"] * (len(paths) // 2))
    rows = []
    for i, (path, label) in enumerate(zip(paths, labels, strict=True)):
        rows.append((path, str(label), "test" if i % 3 == 0 else "train"))
        if i % 3 == 1:
            copy = tmp_path / "copies" / path.name
            shutil.copy(path, copy)
            rows.append((copy, str(label), "test"))
    config = RunConfig(manifest(tmp_path / "copies.csv", rows))
    result = experiment.run(config, out=str(tmp_path / "runs"))
    leaks = result.metrics["leaks"]
    assert leaks["images"] == 20
    clean = leaks["evaluation_without"]
    assert clean["n"] == 20
    assert clean["accuracy"]["low"] <= 0.5 <= clean["accuracy"]["high"]
    right = round(result.evaluation.accuracy.value * 40) - round(clean["accuracy"]["value"] * 20)
    assert right >= 15, "the copies must flatter (2 in 100 by chance), or this says nothing"
    assert "exact-duplicates" in {finding.kind for finding in result.prepared.findings}
