"""Workers that do the pass: the bits of one process, whatever dies; what kills them is named."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regraft.backbones import catalog
from regraft.data.table import ImageTable
from regraft.errors import UsageError, WorkerError
from regraft.features import engines, extract, one_pass
from regraft.features.extraction import Extraction
from regraft.features.part import Part
from regraft.features.recipe import Recipe
from regraft.features.runners import shards, work
from regraft.features.runners.named import require_runner, runner_named
from regraft.features.runners.shards import LostError, Queue, shards_of
from regraft.features.store import Store
from regraft.features.strips import recipe_for
from regraft.images import DECODER_VERSION
from regraft.images.facts import FileFacts
from regraft.images.facts_table import FactsTable

pytestmark = pytest.mark.numerics
BACKBONE = "random:test_efficientnet"
RECIPE = Recipe(
    weights_digest="ab", taps=("final",), pooling=("mean",), preprocess={}, precision="fp32",
    engine="none", decoder="1",
)  # fmt: skip


# ---- the queue, with hands that are made up -------------------------------------------------


class Made:
    """A hand whose worker dies of some images, and at random."""

    def __init__(self, deadly: set[str], dies: Callable[[], bool] = lambda: False) -> None:
        self.deadly, self.dies, self.asked, self.stopped = deadly, dies, Counter[str](), False

    def do(self, paths: Sequence[str]) -> Part:
        self.asked.update(paths)
        if self.deadly.intersection(paths) or self.dies():
            raise LostError("killed by SIGSEGV")
        facts = FactsTable(len(paths))
        for row, path in enumerate(paths):
            facts[row] = FileFacts(path.encode().ljust(32), 1)
        X = np.array([[float(path)] for path in paths], np.float32)
        return Part(RECIPE, list(paths), np.zeros((len(paths), 2), np.int64), facts, X, {})

    def stop(self) -> None:
        self.stopped = True


def collected(queue: Queue, found: dict[int, float] | None = None) -> dict[int, float]:
    found = {} if found is None else found
    for rows, part in queue.parts():
        for row, x in zip(rows, part.X[:, 0].tolist(), strict=True):
            assert row not in found, "no image comes twice"
            found[row] = x
    return found


@settings(max_examples=15, deadline=None)
@given(n=st.integers(1, 150), n_hands=st.integers(1, 4), seed=st.integers(0, 99))
def test_every_image_comes_once_although_workers_die(n: int, n_hands: int, seed: int) -> None:
    random, lock = np.random.default_rng(seed), threading.Lock()

    def dies() -> bool:
        with lock:
            return bool(random.random() < 0.2)

    hands = [Made(set(), dies) for _ in range(n_hands)]
    queue = Queue([str(row) for row in range(n)], hands, images_each=16)
    try:
        found = collected(queue)
    except WorkerError as error:  # two deaths of one image by chance; all others are there
        if "killed 2 workers each" not in str(error):
            raise
        return
    assert found == {row: float(row) for row in range(n)}


def test_images_that_kill_workers_are_named_and_all_others_are_done() -> None:
    deadly = {"17", "250"}
    hands = [Made(deadly), Made(deadly)]
    queue = Queue([str(row) for row in range(300)], hands)
    found: dict[int, float] = {}
    with pytest.raises(WorkerError, match=r"2 images killed 2 workers each .*SIGSEGV") as named:
        collected(queue, found)
    assert set(named.value.paths) == deadly
    assert sorted(found) == [row for row in range(300) if str(row) not in deadly]
    tried = hands[0].asked["17"] + hands[1].asked["17"]
    assert tried <= shards.TRIES * 8, "halving is bounded"
    assert all(hand.stopped for hand in hands)


def test_where_no_worker_can_live_it_ends_soon() -> None:
    hands = [Made(set(), lambda: True) for _ in range(3)]
    with pytest.raises(WorkerError, match="13 workers died one after another"):
        collected(Queue([str(row) for row in range(1_000)], hands))
    assert all(hand.stopped for hand in hands)


def test_an_error_of_the_work_is_raised_as_it_is() -> None:
    class Broken(Made):
        def do(self, paths: Sequence[str]) -> Part:
            raise UsageError("the worker's own words")

    hand = Broken(set())
    with pytest.raises(UsageError, match="the worker's own words"):
        collected(Queue(["1", "2"], [hand]))
    assert hand.stopped


def test_who_stops_asking_stops_the_workers() -> None:
    hands = [Made(set())]
    parts = Queue([str(row) for row in range(1000)], hands).parts()
    next(parts)
    parts.close()  # type: ignore[attr-defined]
    assert hands[0].stopped


@settings(max_examples=40)
@given(n=st.integers(0, 1500), n_hands=st.integers(1, 64), each=st.integers(4, 300))
def test_shards_hold_every_image_once_in_order(n: int, n_hands: int, each: int) -> None:
    found = list(shards_of(n, n_hands, each))
    assert [row for rows in found for row in rows] == list(range(n))
    assert all(len(rows) <= each for rows in found)


@pytest.mark.parametrize(
    "name", ["process:2", "processes", "processes:0", "processes:9999", "ray://", "ray:2",
             "dask://host", "dask", "", "threads:2", "processes:-1"]
)  # fmt: skip
def test_what_is_no_runner_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        require_runner(name)


def test_a_runner_whose_package_is_missing_is_refused_with_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name, extra in (("ray", "ray"), ("ray://h:1", "ray"), ("dask://h:1", "dask")):
        with pytest.raises(UsageError, match="not installed") as refused:
            require_runner(name)
        assert f"pip install 'regraft[{extra}]'" in refused.value.cure


# ---- real processes -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def room(make_room: Callable[[str], Path], make_photos: Callable[..., Path]) -> Path:
    folder = make_room("runners")
    make_photos(folder / "photos", n=20, size_px=48)
    (folder / "photos" / "discs" / "empty.jpg").touch()
    return folder


@pytest.fixture(autouse=True)
def cache_of_room(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGRAFT_CACHE", str(room / "cache"))


def table_of(room: Path) -> ImageTable:
    return ImageTable.from_paths([str(path) for path in sorted((room / "photos").rglob("*.jpg"))])


def passed(room: Path, runner: str, said: list[str] | None = None) -> Extraction:
    built = engines.locate(catalog.resolve(BACKBONE), device="cpu", offline=True)
    say = [].append if said is None else said.append
    by = None if runner == "threads" else runner_named(runner, say=say)
    with Store.nowhere() as nothing:
        return extract.run(table_of(room), built, nothing, runner=by)


@pytest.fixture(scope="module")
def by_threads(room: Path) -> Extraction:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_CACHE", str(room / "cache"))
        return passed(room, "threads")


def same(one: Extraction, other: Extraction) -> None:
    assert one.X.tobytes() == other.X.tobytes()
    assert one.facts == other.facts
    assert one.table.paths.tolist() == other.table.paths.tolist()
    assert one.table.rejected == other.table.rejected


@pytest.mark.parametrize("n", [1, 3])
def test_processes_give_the_bits_of_threads(room: Path, by_threads: Extraction, n: int) -> None:
    found = passed(room, f"processes:{n}")
    same(found, by_threads)
    assert found.report.n_images == 60
    assert children() == []


def test_a_worker_keeps_the_engines_of_its_last_passes_only(
    room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker of Ray or Dask lives through many; threads of one share an engine."""
    monkeypatch.setattr(work, "_RUNNING", {})
    one = engines.locate(catalog.resolve(BACKBONE), device="cpu", offline=True)
    others = [
        dataclasses.replace(one, info=dataclasses.replace(one.info, weights_digest=f"{n:064x}"))
        for n in range(3)
    ]
    monkeypatch.setattr(work, "_is_of_this_machine", lambda built: True)
    assert work._engine_of(one) is one
    assert work._engine_of(others[0]) is others[0]
    assert work._engine_of(dataclasses.replace(one)) is one  # it is the last one used
    work._engine_of(others[1])
    assert list(work._RUNNING.values()) == [one, others[1]]
    work._engine_of(others[2])
    assert list(work._RUNNING.values()) == [others[1], others[2]]


def children() -> list[int]:
    """Workers of this process that are alive."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            status = (entry / "stat").read_text().rpartition(")")[2].split()
            command = (entry / "cmdline").read_bytes()
            if int(status[1]) == os.getpid() and b"runners.worker" in command:
                found.append(int(entry.name))
    return found


def test_killed_workers_cost_no_image(room: Path, by_threads: Extraction) -> None:
    said: list[str] = []
    over = threading.Event()
    n_killed = 0

    def kill() -> None:
        nonlocal n_killed
        while n_killed < 3 and not over.is_set():
            time.sleep(0.7)
            for child in children()[:1]:
                os.kill(child, signal.SIGKILL)
                n_killed += 1

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        found = passed(room, "processes:2", said)
    finally:
        over.set()
        killer.join()
    same(found, by_threads)
    if n_killed:
        assert all("killed by SIGKILL: too little memory?" in text for text in said)


DEADLY = """
import os, signal
from regraft.features import one_pass
_content_of = one_pass.content_of
def content_of(path):
    if os.path.basename(path) == "squares_all_007.jpg":
        os.kill(os.getpid(), signal.SIGSEGV)
    return _content_of(path)
one_pass.content_of = content_of
"""


def test_a_picture_that_kills_its_workers_is_named(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(DEADLY)
    monkeypatch.syspath_prepend(str(tmp_path))
    built = engines.locate(catalog.resolve(BACKBONE), device="cpu", offline=True)
    runner = runner_named("processes:2")
    with (
        Store.open(tmp_path / "store", decoder=DECODER_VERSION) as store,
        pytest.raises(WorkerError, match=r"1 image killed 2 workers each .*SIGSEGV") as named,
    ):
        extract.run(table_of(room), built, store, runner=runner)
    assert os.path.basename(named.value.place) == "squares_all_007.jpg"
    with Store.open(tmp_path / "store", decoder=DECODER_VERSION) as store:
        assert store.counts()["features"] == 59, "all others are kept"


def test_a_worker_that_cannot_start_ends_with_its_words(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "broken" / "regraft"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemError('no such luck')")
    built = engines.locate(catalog.resolve(BACKBONE), device="cpu", offline=True)
    runner = runner_named("processes:2")
    monkeypatch.syspath_prepend(str(tmp_path / "broken"))
    with (
        Store.nowhere() as nothing,
        pytest.raises(WorkerError, match=r"a worker cannot be started: exit code 1.*no such luck"),
    ):
        extract.run(table_of(room), built, nothing, runner=runner)


def test_a_worker_of_another_recipe_is_refused(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = engines.locate(catalog.resolve(BACKBONE), device="cpu", offline=True)
    other = recipe_for(built.info).__class__(
        **{**vars(recipe_for(built.info)), "precision": "fp16"}
    )
    monkeypatch.setattr(one_pass, "recipe_for", lambda info: other)
    with Store.nowhere() as nothing, pytest.raises(Exception, match="here fp16"):
        extract.run(table_of(room), built, nothing, runner=runner_named("processes:1"))


@pytest.mark.slow  # a fresh process, stopped and started again
# Not SIGINT, which shells make their background processes ignore.
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_driver_that_is_stopped_leaves_no_worker_and_goes_on(
    room: Path,
    by_threads: Extraction,
    tmp_path: Path,
    make_photos: Callable[..., Path],
    how: signal.Signals,
) -> None:
    photos = make_photos(tmp_path / "photos", n=120, size_px=48)
    shutil.copytree(room / "cache" / "engines", tmp_path / "cache" / "engines")
    env = {**os.environ, "REGRAFT_CACHE": str(tmp_path / "cache"), "NO_COLOR": "1"}
    command = [
        sys.executable, "-m", "regraft", "train", str(photos), "--backbone", BACKBONE, "--runner",
        "processes:2", "--no-report", "--json",
    ]  # fmt: skip
    done = subprocess.run(
        [*command, "--out", "first"], env={**env, "REGRAFT_CACHE": str(room / "cache")},
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for _ in range(4):  # on a busy machine it may be done before it is stopped
        process = subprocess.Popen(
            command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while workers_of(process.pid) == [] and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.1)  # they start, or have begun
        workers = workers_of(process.pid)
        process.send_signal(how)
        process.communicate(timeout=60)
        if process.returncode != 0:
            break
        shutil.rmtree(tmp_path / "cache" / "features")
    assert process.returncode == (143 if how == signal.SIGTERM else -how)
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline, "a worker outlived its driver"
        time.sleep(0.1)
    again = subprocess.run(
        command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    one, other = (json.loads(text) for text in (done.stdout, again.stdout))
    assert Path(tmp_path, one["run"], "predictions.csv").read_text() == (
        Path(tmp_path, other["run"], "predictions.csv").read_text()
    )


def workers_of(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            status = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(status[1]) == parent and b"runners.worker" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


# ---- Ray and Dask, where they are installed -------------------------------------------------

WITH_DASK = """
import sys
from distributed import LocalCluster
from regraft.cli.main import main

if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        address = cluster.scheduler_address.removeprefix("tcp://")
        sys.argv += ["--runner", f"dask://{address}"]
        main()
"""
WITH_RAY = """
import os, sys
from regraft.cli.main import main

sys.argv += ["--runner", "ray"]
try:
    main()
finally:
    print("reports:", os.environ["RAY_USAGE_STATS_ENABLED"], file=sys.stderr)
"""


@pytest.mark.slow  # both take some ten seconds to start
@pytest.mark.parametrize(
    ("package", "program"), [("ray", WITH_RAY), ("distributed", WITH_DASK)], ids=["ray", "dask"]
)
def test_clusters_give_the_predictions_of_threads(
    room: Path, by_threads: Extraction, tmp_path: Path, package: str, program: str
) -> None:
    pytest.importorskip(package)
    (tmp_path / "program.py").write_text(program)

    def train(out: str, *start: str) -> tuple[dict[str, Any], str]:
        """Without the guard against the network: processes of a cluster meet on the loopback."""
        given = ["train", str(room / "photos"), "--backbone", BACKBONE, "--no-report", "--json"]
        shutil.copytree(room / "cache" / "engines", tmp_path / out / "engines")
        done = subprocess.run(
            [sys.executable, *start, *given, "-q", "--out", out], cwd=tmp_path, text=True,
            capture_output=True, timeout=200, start_new_session=True, check=False,
            env={**os.environ, "REGRAFT_CACHE": str(tmp_path / out), "NO_COLOR": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        metrics: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return metrics, done.stderr

    one, _ = train("alone", "-m", "regraft")
    other, said = train("cluster", "program.py")
    assert other["features"]["computed"] == 60
    assert (tmp_path / one["run"] / "predictions.csv").read_bytes() == (
        tmp_path / other["run"] / "predictions.csv"
    ).read_bytes()
    assert package != "ray" or said.strip().endswith("reports: 0")
