"""Kills at random points, several processes at once, and a full disk: rows are right or missing.

The processes run outside pytest: a small parent forks its children, so that each starts within
milliseconds, and kills them itself.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from regraft.features.store import Store

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks and kill -9 are POSIX")

COMMON = """
import hashlib, os, random, signal, sys, time
from pathlib import Path
import numpy as np
from regraft.features.store import Store
from regraft.images.facts import FileFacts

folder, D = Path(sys.argv[1]), 700
DIGESTS = [hashlib.sha256(b"%d" % i).digest() for i in range(400)]
RECIPES = ("a" * 64, "b" * 64)

def vectors(digests, recipe):
    shake = lambda d: hashlib.shake_128(d + recipe.encode()).digest(D)
    return np.array([np.frombuffer(shake(d), np.uint8) for d in digests], np.float32) / 7

TRUTH = {recipe: vectors(DIGESTS, recipe) for recipe in RECIPES}

def check(store):
    n_found = 0
    for recipe in RECIPES:
        found, X = store.features(DIGESTS, recipe, D)
        assert np.array_equal(X[found], TRUTH[recipe][found]), "a wrong feature"
        n_found += int(found.sum())
    for digest, fact in store.facts(DIGESTS).items():
        assert fact == FileFacts(digest, digest[0], thumb=digest * 8), "a wrong fact"
    return n_found

def put(store, rng):
    rows = rng.sample(range(len(DIGESTS)), rng.randrange(1, 60))
    digests, recipe = [DIGESTS[i] for i in rows], rng.choice(RECIPES)
    store.put_features(digests, recipe, TRUTH[recipe][rows])
    store.put_facts([FileFacts(d, d[0], thumb=d * 8) for d in digests])

def child(work):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            import traceback; traceback.print_exc()
        finally:
            os._exit(status)
    return pid
"""

KILLS = """
def write(seed):
    rng = random.Random(seed)
    while True:
        with Store.open(folder, limit_bytes=2_000_000) as store:
            for _ in range(rng.randrange(1, 8)):
                put(store, rng)
            if rng.random() < 0.2:
                store.clear()

rng, n_found = random.Random(1), []
for seed in range(50):
    pid = child(lambda: write(seed))
    time.sleep(rng.random() * 0.06)
    os.kill(pid, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    with Store.open(folder) as store:
        n_found.append(check(store))
        assert store.integrity_check() == [], store.integrity_check()
        assert (store.notes, store.n_healed) == ([], 0), store.notes
print(sum(map(bool, n_found)))
"""

TOGETHER = """
def use(seed):
    rng, until = random.Random(seed), time.monotonic() + 1
    while time.monotonic() < until:
        with Store.open(folder, limit_bytes=3_000_000) as store:
            for _ in range(4):
                put(store, rng)
                check(store)
            assert store.notes == [] and store.n_healed == 0, store.notes

pids = [child(lambda: use(seed)) for seed in range(4)]
assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 4
with Store.open(folder) as store:
    print(check(store))
    assert store.integrity_check() == []
"""

VANDAL = """
def use(seed):
    rng, until = random.Random(seed), time.monotonic() + 2
    while time.monotonic() < until:
        with Store.open(folder) as store:
            for _ in range(4):
                put(store, rng)
                check(store)

def destroy():
    rng, until = random.Random(9), time.monotonic() + 1.7
    while time.monotonic() < until:
        time.sleep(0.1)
        name = rng.choice(["store.sqlite", "store.sqlite", "store.sqlite-wal", "store.sqlite-shm"])
        try:
            with (folder / name).open("r+b") as file:
                size = file.seek(0, 2)
                for _ in range(rng.choice([1, 30])):
                    file.seek(rng.randrange(size))
                    file.write(rng.randbytes(rng.choice([1, 8])))
        except (FileNotFoundError, ValueError):
            continue

pids = [child(lambda: use(seed)) for seed in range(3)] + [child(destroy)]
assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 4
for last in range(2):
    with Store.open(folder) as store:
        check(store)
        store.put_features(DIGESTS, RECIPES[0], TRUTH[RECIPES[0]])
with Store.open(folder) as store:
    print(check(store))
"""

FULL = """
rng = random.Random(3)
for turn in range(3):
    with Store.open(folder) as store:
        for k in range(20):
            recipe = f"{turn} {k}"
            store.put_features(DIGESTS, recipe, vectors(DIGESTS, recipe))
            found, X = store.features(DIGESTS, recipe, D)
            assert np.array_equal(X[found], vectors(DIGESTS, recipe)[found])
        assert not store.is_writable
        assert len(store.notes) == 1, store.notes
        assert "full" in store.notes[0], store.notes
        assert store.n_healed == 0
with Store.open(folder) as store:
    assert store.integrity_check() == [], store.integrity_check()
    n_rows = store.counts()["features"]
    assert sum(recipe.n_rows for recipe in store.recipes()) == n_rows
    store.clear()
    print(n_rows)
"""

LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (6_000_000, 6_000_000))
"""


def run(program: str, folder: Path) -> int:
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", COMMON + program, str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert child.returncode == 0, child.stderr
    assert child.stderr == ""
    return int(child.stdout)


def test_fifty_kills_leave_no_wrong_row(tmp_path: Path) -> None:
    assert run(KILLS, tmp_path / "features") > 25  # and mostly something to read


def test_four_processes_may_write_and_read_at_once(tmp_path: Path) -> None:
    assert run(TOGETHER, tmp_path / "features") > 0


@pytest.mark.slow
def test_damage_under_running_processes_is_healed(tmp_path: Path) -> None:
    assert run(VANDAL, tmp_path / "features") >= 400


def test_a_full_disk_keeps_what_it_has(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a tmpfs is not permitted")
    try:
        assert run(FULL, disk / "features") > 1000
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_file_at_its_largest_size_keeps_what_it_has(tmp_path: Path) -> None:
    assert run(LIMITED + FULL, tmp_path / "features") > 1000


def test_a_store_written_by_one_process_is_read_by_another(tmp_path: Path) -> None:
    program = "with Store.open(folder) as s: s.put_features(DIGESTS, 'a', TRUTH[RECIPES[0]])"
    run(program + "\nprint(0)", tmp_path)
    with Store.open(tmp_path) as store:
        assert store.counts()["features"] == 400
        assert np.isfinite(store.sample(1)[0].vector).all()
