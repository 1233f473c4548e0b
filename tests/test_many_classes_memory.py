"""With many classes nothing may hold the probabilities of all images, or not a second time.

What lies in a mapped file is not in what tracemalloc counts: that is what is held beyond it.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from regraft.errors import DataError
from regraft.evaluation import blocks
from regraft.evaluation.evaluate import evaluate
from regraft.evaluation.label_issues import find_label_issues
from regraft.evaluation.label_noise import label_noise
from regraft.features.engine import Tap
from regraft.features.rows import Rows
from regraft.machine import arrays
from regraft.model import promises
from regraft.probe import ridge
from regraft.probe.classifier import Classifier
from regraft.probe.doubts import Levels
from regraft.probe.ground import shown_classes
from regraft.probe.network import Network
from regraft.probe.probe import Probe
from regraft.report.said import Said
from regraft.workflows import testing

N, K = 20_000, 2_000
# Of the probe, whose answers lie on disk too: fewer, so that both routes are quick.
n, k, D = 8_000, 1_200, 48
CLASSES = [str(code) for code in range(k)]


@pytest.fixture(scope="module")
def answers() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, K, N)
    proba = rng.random((N, K), dtype=np.float32)
    proba[np.arange(N), y] += K / 2
    proba /= proba.sum(axis=1, keepdims=True)
    return y, proba


def peak_of(call: Callable[[], Any]) -> int:
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("asked", [label_noise, find_label_issues])
def test_what_is_asked_of_left_out_images_copies_no_rows(
    asked: Callable[..., Any], answers: tuple[np.ndarray, np.ndarray]
) -> None:
    y, proba = answers
    assert peak_of(lambda: asked(proba, y)) < proba.nbytes / 16


def test_a_score_of_all_rows_is_given_them_uncopied(
    monkeypatch: pytest.MonkeyPatch, answers: tuple[np.ndarray, np.ndarray]
) -> None:
    y, proba = answers
    seen: list[np.ndarray] = []
    monkeypatch.setattr(testing, "evaluate", lambda y, proba, **_: seen.append(proba))
    prepared: Any = SimpleNamespace(table=SimpleNamespace(groups=None))
    roles = SimpleNamespace(reports=np.ones(N, bool), reported="val")
    lesson: Any = SimpleNamespace(roles=roles, y=y, classes=[])
    assert peak_of(
        lambda: testing._score(prepared, lesson, proba, np.ones(N, bool), 0)
    ) < proba.nbytes / 16  # fmt: skip
    testing._score(prepared, lesson, proba, np.arange(N) < 10, 0)
    assert seen[0] is proba
    np.testing.assert_array_equal(seen[1], proba[:10])


def test_evaluating_reads_the_rows_in_blocks(answers: tuple[np.ndarray, np.ndarray]) -> None:
    y, proba = answers
    classes = [str(k) for k in range(K)]
    assert peak_of(lambda: evaluate(y, proba, classes=classes, split="val")) < proba.nbytes / 4


@pytest.fixture(scope="module")
def learnt() -> tuple[Classifier, np.ndarray, np.ndarray]:
    """A probe of many classes, with as many rows again and their codes."""
    rng = np.random.default_rng(0)
    means, y = rng.standard_normal((k, D), np.float32), np.arange(2 * n) % k
    X = means[y] + 0.5 * rng.standard_normal((2 * n, D), np.float32)
    probe = Probe(taps=("final",), head="ridge")
    found = probe.fit(X[:n], y[:n], network=Network((Tap("final", 0, D),)), classes=CLASSES)
    return found, X[n:], y[n:]


def in_memory(monkeypatch: pytest.MonkeyPatch, call: Callable[[], Any]) -> Any:
    with monkeypatch.context() as patch:
        patch.setattr(arrays, "MAX_BYTES_IN_MEMORY", 2**40)
        return call()


def is_on_disk(values: Any) -> bool:
    return isinstance(values, np.memmap) or (values.base is not None and is_on_disk(values.base))


def test_answers_lie_on_disk_and_are_those_that_memory_would_hold(
    monkeypatch: pytest.MonkeyPatch, learnt: tuple[Classifier, np.ndarray, np.ndarray]
) -> None:
    classifier, X, _ = learnt
    monkeypatch.setattr(blocks, "_ELEMENTS_TO_MAKE", 2**19)
    asked = Levels(coverage=0.9, reject=0.1)
    proba, doubts = classifier.answers_of(X, asked)
    assert is_on_disk(proba)
    assert peak_of(lambda: classifier.answers_of(X, asked)) < proba.nbytes / 4
    whole, held = in_memory(monkeypatch, lambda: classifier.answers_of(X, asked))
    assert not is_on_disk(whole)
    np.testing.assert_array_equal(proba, whole)
    np.testing.assert_array_equal(doubts.sets, held.sets)
    np.testing.assert_array_equal(doubts.typical, held.typical)
    assert doubts.sets is not None
    np.testing.assert_array_equal(
        doubts.sets, proba >= classifier.unknown.least_probability(0.9, k, per_class=False)
    )


def test_a_probe_holds_no_matrix_of_all_classes_with_all(
    monkeypatch: pytest.MonkeyPatch, learnt: tuple[Classifier, np.ndarray, np.ndarray]
) -> None:
    _, X, y = learnt
    monkeypatch.setattr(ridge, "MAX_LEFT_OUT_SCORES", 60_000)
    probe, network = Probe(taps=("final",), head="lda"), Network((Tap("final", 0, D),))
    assert peak_of(lambda: probe.fit(X, y, network=network, classes=CLASSES)) < 16 * k * k


def test_images_that_choose_are_compared_on_the_classes_that_they_show() -> None:
    y, rows = np.arange(6_000) % 3_000, np.arange(0, 6_000, 10)
    codes, n_shown = shown_classes(y, rows, 3_000)
    assert n_shown == len(np.unique(y[rows])) == codes.max() + 1
    np.testing.assert_array_equal(np.unique(y[rows])[codes], y[rows])
    of_few = np.arange(600) % 90
    assert shown_classes(of_few, rows[:40], 90)[1] == 90, "few classes stay as they are"
    assert shown_classes(y, np.arange(6_000), 3_000)[1] == 3_000, "and so do all rows"


def test_what_reads_answers_gives_one_result_from_disk_and_from_memory(
    monkeypatch: pytest.MonkeyPatch, learnt: tuple[Classifier, np.ndarray, np.ndarray]
) -> None:
    classifier, X, y = learnt
    far_pictures(monkeypatch)

    def results() -> list[Any]:
        answers = promises.answers(classifier, X)
        kept = promises.kept(classifier, answers, y)
        scored = evaluate(y, answers[0], classes=CLASSES, split="val").to_dict()
        some = np.arange(n) % 3 == 0
        rows: Any = Rows(answers[0], some)
        part = evaluate(y[some], rows, classes=CLASSES).to_dict()
        assert part == evaluate(y[some], answers[0][some], classes=CLASSES).to_dict()
        said = Said.of(answers[0], temperature=classifier.temperature, codes=[3, 7]).to_arrays()
        issues = find_label_issues(answers[0], y)
        columns = {name: values.tolist() for name, values in said.items()}
        return [kept, scored, part, columns, issues, label_noise(answers[0], y).to_dict()]

    assert repr(results()) == repr(in_memory(monkeypatch, results))


def far_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A classifier of features sees no drawn pictures: rows far from all stand for them."""
    monkeypatch.setattr(promises, "_far", lambda *_: 100 * np.eye(D, dtype=np.float32))


def test_promises_are_counted_in_blocks(
    monkeypatch: pytest.MonkeyPatch, learnt: tuple[Classifier, np.ndarray, np.ndarray]
) -> None:
    classifier, X, y = learnt
    answers = promises.answers(classifier, X)
    far_pictures(monkeypatch)
    found = promises.kept(classifier, answers, y)["sets"]
    assert found
    assert peak_of(lambda: promises.kept(classifier, answers, y)) < answers[0].nbytes / 2
    least = classifier.unknown.least_probability(found[0]["coverage_asked"], k, per_class=False)
    sets = answers[0] >= least
    assert found[0]["coverage"]["value"] == sets[np.arange(n), y].mean()
    assert found[0]["per_class"][5]["mean_size"] == sets[y == 5].sum(axis=1).mean()


def test_what_a_report_keeps_of_answers_holds_none_of_their_blocks(
    answers: tuple[np.ndarray, np.ndarray],
) -> None:
    proba = answers[1]
    few = Said.of(proba[:10], temperature=1.0, codes=[3, 7])
    assert few.curves[7].tolist() == proba[:10, 7].tolist()
    assert peak_of(lambda: Said.of(proba, temperature=0.5, codes=[3, 7])) < proba.nbytes / 3


def test_a_full_disk_is_said_before_and_while_room_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full, raising=False)
        with pytest.raises(
            DataError, match=r"answers to 20,000 images in 2,000 classes need 305 MiB"
        ):
            blocks.matrix((N, K), np.float64)
    usage = SimpleNamespace(free=2**20)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(DataError, match="1 MiB are free") as refused:
        blocks.require_room(N, K)
    assert "TMPDIR" in refused.value.cure
    blocks.require_room(10, 10)  # what lies in memory needs no disk
    assert not is_on_disk(blocks.matrix((10, 10), np.float64))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no such signal here")
def test_a_kill_leaves_no_file(tmp_path: Path) -> None:
    program = (
        "import numpy as np; from regraft.evaluation import blocks\n"
        f"held = blocks.matrix(({N}, {K}), np.float64); held[:] = 1\n"
        "print('held', flush=True); input()"
    )
    env = dict(os.environ, TMPDIR=str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-c", program], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        process.kill()
    assert os.listdir(tmp_path) == []
