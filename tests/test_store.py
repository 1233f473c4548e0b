"""The store gives back what was put or nothing, whatever happens to its file, and never raises.

Kills, several processes and a full disk are in test_store_kills.py.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from regraft.errors import UsageError
from regraft.features import database, least_used
from regraft.features.recipe import Recipe
from regraft.features.store import Store
from regraft.images.facts import FileFacts
from regraft.machine import cache

DAY_S = 86400
LONG_AGO_NS = 10**18
D = 24
DIGESTS = [hashlib.sha256(b"%d" % i).digest() for i in range(60)]
RECIPES = ("a" * 64, "b" * 64)


def vectors(digests: list[bytes], recipe: str, n_features: int = D) -> np.ndarray:
    """What the network would compute: a function of image and recipe alone."""
    rows = [
        np.frombuffer(hashlib.shake_128(digest + recipe.encode()).digest(n_features), np.uint8)
        for digest in digests
    ]
    return np.array(rows, np.float32).reshape(len(digests), n_features) / 7


def facts_of(digest: bytes) -> FileFacts:
    if digest[0] % 3 == 0:
        return FileFacts(digest, 17, rejected=f"ends early {digest[1]}", mend="copy it again")
    return FileFacts(
        digest, 1000 + digest[0], "JPEG", "RGB", 640, 480, 6, 1, digest[1] / 3, 50.5, digest * 8
    )


def fill(folder: Path, n_batches: int = 3) -> dict[str, bytes]:
    """A store with files, facts, and two recipes; gives the digest of each path."""
    images = folder.parent / "images"
    images.mkdir(exist_ok=True)
    paths = {}
    with Store.open(folder) as s:
        seen = []
        for i, digest in enumerate(DIGESTS):
            path = images / f"{i}.jpg"
            if not path.exists():
                path.write_bytes(b"%d" % i)
                os.utime(path, ns=(LONG_AGO_NS, LONG_AGO_NS))
            paths[str(path)] = digest
            seen.append((str(path), path.stat(), digest))
        s.remember_files(seen)
        s.put_facts(map(facts_of, DIGESTS))
        for recipe in RECIPES:
            for part in np.array_split(np.arange(len(DIGESTS)), n_batches):
                digests = [DIGESTS[i] for i in part]
                s.put_features(digests, recipe, vectors(digests, recipe))
    return paths


def assert_right_or_missing(s: Store, paths: dict[str, bytes]) -> int:
    """Ask for everything; gives the number of features found."""
    n_found = 0
    for digest, given_digest in zip(paths.values(), s.digests_of(list(paths)), strict=True):
        assert given_digest in (None, digest)
    for digest, fact in s.facts(DIGESTS).items():
        assert fact == facts_of(digest)
    for recipe in RECIPES:
        found, X = s.features(DIGESTS, recipe, D)
        assert np.array_equal(X[found], vectors(DIGESTS, recipe)[found])
        assert np.isnan(X[~found]).all()
        n_found += int(found.sum())
    for sample in s.sample(20):
        assert np.array_equal(sample.vector, vectors([sample.digest], sample.recipe_digest)[0])
    return n_found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "features"


@pytest.fixture(scope="module")
def filled(make_room: Callable[[str], Path]) -> tuple[Path, dict[str, bytes]]:
    """A store that tests may copy and must not change."""
    folder = make_room("filled") / "features"
    return folder, fill(folder)


# Round trips


@settings(max_examples=40, deadline=None)
@given(
    X=hnp.arrays(
        st.sampled_from([np.dtype(np.float32), np.dtype(np.float16)]),
        st.tuples(st.integers(0, 6), st.integers(1, 40)),
        elements=st.floats(width=16),
    ),
    seed=st.integers(0, 2**16),
)
def test_features_come_back_bit_by_bit_in_any_order(X: np.ndarray, seed: int) -> None:
    digests = DIGESTS[: len(X)]
    order = random.Random(seed).choices(range(len(X)), k=2 * len(X)) if len(X) else []
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder)) as s:
        s.put_features(digests, "r", X)
        found, again = s.features([digests[i] for i in order], "r", X.shape[1], X.dtype)
    assert found.all()
    assert np.array_equal(again, X[order].astype(np.float32), equal_nan=True)


fact_texts = st.text(max_size=20)
fact_floats = st.floats(0, 255)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.builds(
            FileFacts,
            digest=st.binary(min_size=32, max_size=32),
            n_bytes=st.integers(0, 2**50),
            format=fact_texts,
            mode=fact_texts,
            width=st.integers(0, 70000),
            height=st.integers(0, 70000),
            orientation=st.integers(1, 8),
            n_frames=st.integers(1, 99),
            brightness=fact_floats,
            contrast=fact_floats,
            thumb=st.sampled_from([b"", bytes(256), bytes(range(256))]),
            rejected=st.none() | st.text(st.characters(), max_size=20),
            mend=fact_texts,
        ),
        max_size=5,
        unique_by=lambda fact: fact.digest,
    )
)
def test_facts_come_back_equal(facts: list[FileFacts]) -> None:
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder)) as s:
        s.put_facts(facts)
        known = s.facts([*(fact.digest for fact in facts), None, bytes(32)[:31]])
    assert known == {fact.digest: fact for fact in facts}


def test_numpy_numbers_in_facts_are_taken(folder: Path) -> None:
    fact = FileFacts(DIGESTS[0], 5, brightness=np.float32(0.5), width=np.int64(7))  # type: ignore[arg-type]
    with Store.open(folder) as s:
        s.put_facts([fact])
        assert s.facts([DIGESTS[0]])[DIGESTS[0]] == FileFacts(
            DIGESTS[0], 5, brightness=0.5, width=7
        )


def test_everything_survives_closing(folder: Path) -> None:
    paths = fill(folder)
    with Store.open(folder) as s:
        assert s.digests_of(list(paths)) == list(paths.values())
        assert s.facts(DIGESTS) == {digest: facts_of(digest) for digest in DIGESTS}
        assert assert_right_or_missing(s, paths) == 2 * len(DIGESTS)
        assert (s.notes, s.n_healed, s.is_writable) == ([], 0, True)
        assert s.counts() == {
            "files": 60,
            "facts": 60,
            "recipes": 2,
            "batches": 6,
            "features": 120,
        }
        assert s.integrity_check() == []


def test_rows_not_found_are_nan_or_left_alone(folder: Path) -> None:
    with Store.open(folder) as s:
        s.put_features(DIGESTS[:1], "r", vectors(DIGESTS[:1], "r"))
        found, X = s.features([DIGESTS[0], DIGESTS[1], None], "r", D)
        out = np.full((2, D), 5, np.float32)
        s.features([DIGESTS[1], DIGESTS[0]], "r", D, out=out)
    assert found.tolist() == [True, False, False]
    assert np.isnan(X[1:]).all()
    assert (out[0] == 5).all()
    assert np.array_equal(out[1], X[0])


def test_out_may_be_memory_mapped(folder: Path, tmp_path: Path) -> None:
    out = np.memmap(tmp_path / "X", np.float32, "w+", shape=(2, D))
    with Store.open(folder) as s:
        s.put_features(DIGESTS[:2], "r", vectors(DIGESTS[:2], "r"))
        found, X = s.features(DIGESTS[:2], "r", D, out=out)
    assert found.all()
    assert X is out
    assert np.array_equal(out, vectors(DIGESTS[:2], "r"))


def test_another_recipe_is_a_miss_and_a_second_put_replaces(folder: Path) -> None:
    with Store.open(folder) as s:
        s.put_features(DIGESTS[:2], "r", np.zeros((2, D), np.float32))
        assert not s.features(DIGESTS[:2], "other", D)[0].any()
        s.put_features(DIGESTS[:2], "r", np.ones((2, D), np.float32))
        assert (s.features(DIGESTS[:2], "r", D)[1] == 1).all()
        assert s.counts()["features"] == 2


def test_what_is_known_is_what_would_be_found(folder: Path) -> None:
    """By keys alone: facts and features both, of this recipe and decoder."""
    with Store.open(folder, decoder="1") as store:
        store.put_facts(facts_of(digest) for digest in DIGESTS[:20])
        store.put_features(DIGESTS[10:30], RECIPES[0], vectors(DIGESTS[10:30], RECIPES[0]))
        assert store.known([*DIGESTS, None], RECIPES[0]) == set(DIGESTS[10:20])
        assert store.known(DIGESTS, RECIPES[1]) == set()
    with Store.open(folder, decoder="2") as store:
        assert store.known(DIGESTS, RECIPES[0]) == set()


def test_facts_of_another_decoder_are_a_miss(folder: Path) -> None:
    rejected = FileFacts(DIGESTS[0], 3, rejected="16-bit TIFF")
    with Store.open(folder, decoder="1") as s:
        s.put_facts([rejected])
    with Store.open(folder, decoder="2") as s:
        assert s.facts([DIGESTS[0]]) == {}
        s.put_facts([FileFacts(DIGESTS[0], 3, "TIFF")])
    with Store.open(folder, decoder="1") as s:
        assert s.facts([DIGESTS[0]]) == {DIGESTS[0]: rejected}


def test_recipes_tell_rows_bytes_and_ingredients(folder: Path) -> None:
    recipe = Recipe(
        weights_digest="00",
        taps=("final",),
        pooling=("mean",),
        preprocess={"size": 224},
        precision="fp32",
        engine="numpy 2",
        decoder="1",
    )
    with Store.open(folder) as s:
        s.put_features(DIGESTS[:4], recipe.digest, vectors(DIGESTS[:4], "x"))
        s.put_features(DIGESTS[4:5], recipe.digest, vectors(DIGESTS[4:5], "x"))
        s.put_features(DIGESTS[:1], "untold", np.zeros((1, D), np.float16))
        s.put_recipe(recipe)
        told, untold = s.recipes()
    assert (told.digest, told.n_rows, told.n_bytes) == (recipe.digest, 5, 5 * 4 * D)
    assert Recipe(**told.recipe or {}) == recipe
    assert (untold.n_rows, untold.n_bytes, untold.recipe) == (1, 2 * D, None)


def test_sample_is_seeded_and_knows_the_paths(folder: Path) -> None:
    paths = fill(folder)
    with Store.open(folder) as s:
        drawn = s.sample(10, seed=1)
        assert len(drawn) == 10
        assert [x.digest for x in drawn] == [x.digest for x in s.sample(10, seed=1)]
        assert [x.digest for x in drawn] != [x.digest for x in s.sample(10, seed=2)]
        everything = s.sample(1000)
    assert len(everything) == 2 * len(DIGESTS)
    for sample in everything:
        assert [paths[path] for path in sample.paths] == [sample.digest]


def test_clear_forgets_everything(folder: Path) -> None:
    paths = fill(folder)
    with Store.open(folder) as s:
        s.clear()
        assert set(s.counts().values()) == {0}
        assert assert_right_or_missing(s, paths) == 0
        assert s.size() < 200_000


def test_a_closed_store_finds_nothing_and_keeps_quiet(folder: Path) -> None:
    s = Store.open(folder)
    s.close()
    s.close()
    s.put_features(DIGESTS[:1], "r", vectors(DIGESTS[:1], "r"))
    assert not s.features(DIGESTS[:1], "r", D)[0].any()
    assert s.digests_of([__file__]) == [None]


@pytest.mark.parametrize(
    "X", [np.zeros((1, D), np.float64), np.zeros((2, D), np.float32), np.zeros(1, np.float32)]
)
def test_mistakes_of_the_caller_are_raised(folder: Path, X: np.ndarray) -> None:
    with Store.open(folder) as s:
        with pytest.raises(ValueError, match="X must be float32 or float16"):
            s.put_features(DIGESTS[:1], "r", X)
        with pytest.raises(ValueError, match="out must be float32"):
            s.features(DIGESTS[:1], "r", D, out=np.zeros((1, D - 1), np.float32))
        with pytest.raises(ValueError, match="dtype must be one of"):
            s.features(DIGESTS[:1], "r", D, np.float64)
        with pytest.raises(TypeError):
            s.put_features([None], "r", np.zeros((1, D), np.float32))  # type: ignore[list-item]
        assert (s.notes, s.counts()["features"]) == ([], 0)


# Files


def test_a_changed_file_is_unknown(folder: Path, tmp_path: Path) -> None:
    paths = fill(folder)
    same, grown, replaced, gone, touched = list(paths)[:5]
    Path(grown).write_bytes(b"longer than it was")
    Path(replaced).write_bytes(b"X")  # one byte, as before, and its time set back
    os.utime(replaced, ns=(LONG_AGO_NS, LONG_AGO_NS))
    Path(gone).unlink()
    os.utime(touched)
    with Store.open(folder) as s:
        answers = s.digests_of([same, grown, replaced, gone, touched])
        assert answers == [paths[same], None, None, None, None]
        assert s.digests_of([str(tmp_path / "never seen")]) == [None]


def test_a_file_changed_just_before_opening_is_not_trusted(folder: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh.jpg"
    with Store.open(folder) as s:
        fresh.write_bytes(b"1")
        s.remember_files([(str(fresh), fresh.stat(), DIGESTS[0])])
        assert s.digests_of([str(fresh)]) == [None]
        assert s.n_healed == 0
        # Yet it is known where it lies: what names pictures by their files needs that.
        assert s.paths_of(DIGESTS[:1]) == {DIGESTS[0]: [str(fresh)]}


def test_relative_odd_and_linked_paths(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["plain.jpg", "with space\n.jpg", "snow ☃.jpg", "not utf-8 \udcff.jpg", "-dash"]
    for name in names:
        Path(name).write_bytes(b"x")
        os.utime(name, ns=(LONG_AGO_NS, LONG_AGO_NS))
    Path("link").symlink_to("plain.jpg")
    names.append("link")
    with Store.open(folder) as s:
        s.remember_files([(n, os.stat(n), d) for n, d in zip(names, DIGESTS, strict=False)])
        assert s.digests_of(names) == DIGESTS[: len(names)]
        assert s.digests_of([str(tmp_path / "plain.jpg"), "./plain.jpg"]) == [DIGESTS[0]] * 2
        Path("plain.jpg").write_bytes(b"changed")
        assert s.digests_of(["link"]) == [None]
        assert s.digests_of(["nul\0", "lone \ud800", "", "."]) == [None] * 4


# Least recently used


def put_rows(s: Store, digests: list[bytes]) -> None:
    s.put_features(digests, "r", vectors(digests, "r", 2000))


def test_what_was_used_last_survives_the_limit(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = 100
    monkeypatch.setattr(least_used, "today", lambda: today)
    for start in (0, 20, 40):
        with Store.open(folder) as s:
            put_rows(s, DIGESTS[start : start + 20])
        today += 1
    with Store.open(folder) as s:
        s.features(DIGESTS[:1], "r", 2000)  # the oldest batch is used again
    with Store.open(folder, limit_bytes=450_000) as s:
        assert s.features(DIGESTS, "r", 2000)[0].all()
        s._used_batches.clear()
    with Store.open(folder) as s:
        found = s.features(DIGESTS, "r", 2000)[0]
        assert found.reshape(3, 20).all(axis=1).tolist() == [True, False, True]
        assert s.size() < 600_000
        assert s.notes == []


def test_what_was_used_while_the_clock_ran_ahead_is_not_kept_for_ever(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for today, start in ((10**6, 0), (100, 20)):
        monkeypatch.setattr(least_used, "today", lambda today=today: today)
        with Store.open(folder) as s:
            put_rows(s, DIGESTS[start : start + 20])
    monkeypatch.setattr(least_used, "today", lambda: 101)
    with Store.open(folder) as s:  # the clock is right again, and only the later ones are used
        s.features(DIGESTS[20:], "r", 2000)
    with Store.open(folder, limit_bytes=300_000) as s:
        pass
    with Store.open(folder) as s:
        found = s.features(DIGESTS[:40], "r", 2000)[0]
        assert found.reshape(2, 20).all(axis=1).tolist() == [False, True]


def test_a_limit_below_everything_empties_the_store(folder: Path) -> None:
    fill(folder)
    with Store.open(folder) as s:
        assert s.prune(1) > 0
        assert s.counts() == {"files": 0, "facts": 0, "recipes": 2, "batches": 0, "features": 0}
        assert s.prune() == 0


def test_a_second_reading_on_one_day_writes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = fill(folder)
    watcher = sqlite3.connect(folder / "store.sqlite")

    def state() -> int:
        return int(watcher.execute("PRAGMA data_version").fetchone()[0])

    def read() -> bool:
        before = state()
        with Store.open(folder) as s:
            assert_right_or_missing(s, paths)
        return state() != before

    assert not read()
    monkeypatch.setattr(least_used, "today", lambda: 10**6)
    assert [read(), read()] == [True, False]
    watcher.close()


# Damage


def flip(path: Path, offset: int, mask: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ mask]))


def copy_of(folder: Path, to: Path) -> Path:
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(folder, to)
    return to


def use_all(folder: Path, paths: dict[str, bytes]) -> tuple[int, Store]:
    with Store.open(folder) as s:
        n_found = assert_right_or_missing(s, paths)
        s.counts(), s.recipes(), s.integrity_check()
        s.put_facts(map(facts_of, DIGESTS))
        for recipe in RECIPES:
            s.put_features(DIGESTS, recipe, vectors(DIGESTS, recipe))
        assert_right_or_missing(s, paths)
        s.prune(100_000)
    return n_found, s


@pytest.mark.parametrize("seed", range(3))
def test_a_flipped_byte_in_the_database_never_gives_a_wrong_row(
    filled: tuple[Path, dict[str, bytes]], tmp_path: Path, seed: int
) -> None:
    folder, paths = filled
    rng = random.Random(seed)
    size = (folder / "store.sqlite").stat().st_size
    n_missing = 0
    for turn in range(25):
        damaged = copy_of(folder, tmp_path / "damaged")
        # Every other one among the headers of a page, where they do the most harm.
        offset = rng.randrange(size)
        offset = offset // 4096 * 4096 + rng.randrange(40) if turn % 2 else offset
        flip(damaged / "store.sqlite", offset, 1 << rng.randrange(8))
        n_found, _ = use_all(damaged, paths)
        n_missing += n_found < 2 * len(DIGESTS)
        with Store.open(damaged) as s:
            assert_right_or_missing(s, paths)
            assert s.is_writable
    assert n_missing  # else the flips hit nothing


def test_a_flipped_byte_in_the_log_never_gives_a_wrong_row(tmp_path: Path) -> None:
    folder = tmp_path / "features"
    paths = fill(folder)
    with Store.open(folder) as s:  # the log of an open store, as a kill would leave it
        for recipe in RECIPES:
            s.put_features(DIGESTS, recipe, vectors(DIGESTS, recipe))
        s.put_facts(map(facts_of, DIGESTS))
        killed = copy_of(folder, tmp_path / "killed")
    size = (killed / "store.sqlite-wal").stat().st_size
    rng = random.Random(5)
    for _ in range(40):
        damaged = copy_of(killed, tmp_path / "damaged")
        for name, n_bytes in (("store.sqlite-wal", size), ("store.sqlite-shm", 400)):
            flip(damaged / name, rng.randrange(n_bytes), 1 << rng.randrange(8))
        use_all(damaged, paths)


@pytest.mark.parametrize("table", ["features", "facts", "files"])
def test_swapped_rows_are_noticed(folder: Path, table: str) -> None:
    """What SQLite itself would call a sound database, with rows under the wrong key."""
    paths = fill(folder)
    column = {"features": "seal, vector", "facts": "seal, body", "files": "seal, digest"}[table]
    with contextlib.closing(sqlite3.connect(folder / "store.sqlite")) as c, c:
        key = "path" if table == "files" else "id"
        (one, *first), (two, *second) = c.execute(f"SELECT {key}, {column} FROM {table} LIMIT 2")
        names = [f"{name} = ?" for name in column.split(", ")]
        for row, values in ((one, second), (two, first)):
            c.execute(f"UPDATE {table} SET {', '.join(names)} WHERE {key} = ?", (*values, row))
    with Store.open(folder) as s:
        assert_right_or_missing(s, paths)
        assert s.n_healed == 2
        assert s.notes == []


def test_swapped_recipes_are_noticed(folder: Path) -> None:
    paths = fill(folder)
    with contextlib.closing(sqlite3.connect(folder / "store.sqlite")) as c, c:
        c.execute("UPDATE features SET recipe = -recipe")
        c.execute("UPDATE features SET recipe = 3 + recipe")
    with Store.open(folder) as s:
        assert assert_right_or_missing(s, paths) == 0
        assert s.n_healed == 2 * len(DIGESTS)
        assert s.counts()["features"] == 0


def test_integrity_check_finds_a_damaged_vector_and_removes_it(folder: Path) -> None:
    fill(folder)
    place = folder / "store.sqlite"
    needle = vectors(DIGESTS[7:8], RECIPES[0]).tobytes()
    flip(place, place.read_bytes().index(needle) + 11, 4)
    with Store.open(folder) as s:
        assert s.integrity_check() == ["1 stored features had a wrong checksum and were removed"]
        assert s.integrity_check() == []


@pytest.mark.parametrize(
    "content",
    [random.Random(1).randbytes(50_000), b"text " * 200, b"SQLite format 3\0" + bytes(5000)],
    ids=["random", "text", "only the first line"],
)
def test_a_file_that_is_no_database_is_moved_aside(folder: Path, content: bytes) -> None:
    folder.mkdir()
    (folder / "store.sqlite").write_bytes(content)
    with Store.open(folder) as s:
        (note,) = s.notes
        assert "was damaged" in note
        s.put_features(DIGESTS, "r", vectors(DIGESTS, "r"))
        assert s.features(DIGESTS, "r", D)[0].all()
    (aside,) = folder.glob("store.sqlite.damaged-*")
    assert str(aside) in note
    assert aside.read_bytes() == content


def test_a_schema_that_is_no_text_is_moved_aside(folder: Path) -> None:
    """SQLite quotes it in its message, which Python then cannot decode."""
    paths = fill(folder)
    place = folder / "store.sqlite"
    place.write_bytes(place.read_bytes().replace(b"path BLOB PRIM", b"path BLOB \xff\xfe(("))
    with as_nobody(folder) as copy, Store.open(copy) as s:
        assert assert_right_or_missing(s, paths) == 0
    with Store.open(folder) as s:
        assert assert_right_or_missing(s, paths) == 0
        assert s.is_writable
        assert "was damaged" in s.notes[0]


def test_another_layout_is_moved_aside(folder: Path) -> None:
    fill(folder)
    with contextlib.closing(sqlite3.connect(folder / "store.sqlite")) as c:
        c.execute("PRAGMA user_version = 99")
    with Store.open(folder) as s:
        assert "its layout is 99" in s.notes[0]
        assert s.counts()["features"] == 0
        assert s.is_writable


def test_damage_while_the_store_is_open_is_healed(folder: Path) -> None:
    paths = fill(folder)
    with Store.open(folder) as s:
        with (folder / "store.sqlite").open("r+b") as file:
            file.write(random.Random(2).randbytes(file.seek(0, 2) - file.seek(0)))
        assert assert_right_or_missing(s, paths) == 0
        assert s.is_writable
        assert "was damaged" in s.notes[0]
        s.put_features(DIGESTS, RECIPES[0], vectors(DIGESTS, RECIPES[0]))
        assert assert_right_or_missing(s, paths) == len(DIGESTS)


def test_a_truncated_database_is_healed(folder: Path) -> None:
    paths = fill(folder)
    size = (folder / "store.sqlite").stat().st_size
    for n_bytes in (0, 100, 4096, size // 2, size - 1):
        damaged = copy_of(folder, folder.parent / "damaged")
        os.truncate(damaged / "store.sqlite", n_bytes)
        use_all(damaged, paths)


# Places that cannot be written


@contextlib.contextmanager
def as_nobody(folder: Path) -> Iterator[Path]:
    """A copy of the folder that may be read and not written, even if tests run as root."""
    with tempfile.TemporaryDirectory() as parent:
        os.chmod(parent, 0o755)
        place = Path(shutil.copytree(folder, Path(parent) / "features"))
        for path in (*place.iterdir(), place):
            path.chmod(0o555 if path.is_dir() else 0o444)
        was_root = os.geteuid() == 0
        if was_root:
            os.seteuid(65534)
        try:
            yield place
        finally:
            if was_root:
                os.seteuid(0)
            place.chmod(0o755)


def test_a_read_only_folder_is_read(folder: Path) -> None:
    paths = fill(folder)
    with as_nobody(folder) as place:
        with Store.open(place) as s:
            assert assert_right_or_missing(s, paths) == 2 * len(DIGESTS)
            s.put_features(DIGESTS, "new", vectors(DIGESTS, "new"))
            assert not s.features(DIGESTS, "new", D)[0].any()
            assert not s.is_writable
            (note,) = s.notes
        assert "cannot be written" in note
        assert "what it holds is used" in note


def test_a_read_only_copy_of_an_open_store_is_read(folder: Path) -> None:
    """With a log beside it that cannot be worked off."""
    paths = fill(folder)
    with Store.open(folder) as s:
        s.put_features(DIGESTS[:5], "new", vectors(DIGESTS[:5], "new"))
        with as_nobody(folder) as place, Store.open(place) as reader:
            assert assert_right_or_missing(reader, paths) == 2 * len(DIGESTS)


def test_a_damaged_read_only_store_is_left_alone(folder: Path) -> None:
    paths = fill(folder)
    rng = random.Random(3)
    size = (folder / "store.sqlite").stat().st_size
    for _ in range(20):
        damaged = copy_of(folder, folder.parent / "damaged")
        for _ in range(20):
            flip(damaged / "store.sqlite", rng.randrange(size), 255)
        with as_nobody(damaged) as place, Store.open(place) as s:
            assert_right_or_missing(s, paths)
            assert s.notes


def test_a_read_only_folder_without_a_store_is_gone_without(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with as_nobody(tmp_path / "empty") as place, Store.open(place / "deeper") as s:
        s.put_facts([facts_of(DIGESTS[0])])
        assert s.facts(DIGESTS) == {}
        assert not s.is_writable
        assert "the run goes on without it" in s.notes[0]


@pytest.mark.parametrize("below", ["", "features"])
def test_a_file_in_the_folders_place_is_gone_without(tmp_path: Path, below: str) -> None:
    (tmp_path / "cache").write_text("a file")
    with Store.open(tmp_path / "cache" / below) as s:
        s.put_features(DIGESTS, "r", vectors(DIGESTS, "r"))
        assert not s.features(DIGESTS, "r", D)[0].any()
        assert s.digests_of([__file__]) == [None]
        assert (s.counts()["files"], s.recipes(), s.sample(3), s.size()) == (0, [], [], 0)
        (note,) = s.notes
        assert "the run goes on without it" in note


def test_a_folder_in_the_files_place_is_gone_without(folder: Path) -> None:
    (folder / "store.sqlite").mkdir(parents=True)
    with Store.open(folder) as s:
        s.put_features(DIGESTS, "r", vectors(DIGESTS, "r"))
        assert not s.is_writable
        assert len(s.notes) == 1


def test_a_full_database_keeps_what_it_has(folder: Path) -> None:
    paths = fill(folder)
    with Store.open(folder) as s:
        s._database.read(lambda c: c.execute("PRAGMA max_page_count = 1"), None)
        s.put_features(DIGESTS, "new", vectors(DIGESTS, "new", 4000))
        s.put_features(DIGESTS, "newer", vectors(DIGESTS, "newer", 4000))
        (note,) = s.notes
        assert "the disk is full" in note
        assert assert_right_or_missing(s, paths) == 2 * len(DIGESTS)
        assert not s.features(DIGESTS, "new", 4000)[0].any()


def test_a_store_locked_for_too_long_is_gone_without(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = fill(folder)
    monkeypatch.setattr(database, "_WAIT_S", 0.05)
    with contextlib.closing(sqlite3.connect(folder / "store.sqlite")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with Store.open(folder) as s:
            s.put_features(DIGESTS, "new", vectors(DIGESTS, "new"))
            assert assert_right_or_missing(s, paths) == 2 * len(DIGESTS)
            assert "another process held it" in s.notes[0]


def test_a_lock_that_is_never_released_ends_in_reading(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")
    paths = fill(folder)
    monkeypatch.setattr(database, "_WAIT_S", 0.05)
    with (folder / "store.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with Store.open(folder) as s:
            assert assert_right_or_missing(s, paths) == 2 * len(DIGESTS)
            assert not s.is_writable


def test_threads_may_share_a_store(folder: Path) -> None:
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        rng = random.Random(seed)
        try:
            for _ in range(30):
                digests = rng.sample(DIGESTS, 8)
                recipe = rng.choice(RECIPES)
                s.put_features(digests, recipe, vectors(digests, recipe))
                assert_right_or_missing(s, {})
        except BaseException as error:
            failures.append(error)

    with Store.open(folder) as s:
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert s.notes == []


# Where things are kept


def test_cache_makes_nothing_until_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "cache"))
    assert [entry[0] for entry in cache.sizes()] == list(cache.KINDS)
    assert all(entry[2:] == (0, 0) for entry in cache.sizes())
    assert cache.clear() == 0
    assert not (tmp_path / "cache").exists()


def test_cache_counts_and_clears_under_a_running_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "archives" / "deep").mkdir(parents=True)
    (tmp_path / "cache" / "archives" / "deep" / "w").write_bytes(bytes(1000))
    with Store.open() as s:
        s.put_features(DIGESTS, "r", vectors(DIGESTS, "r"))
        sizes = {kind: (n_bytes, n_entries) for kind, _, n_bytes, n_entries in cache.sizes()}
        assert sizes["archives"] == (1000, 1)
        assert sizes["features"][0] >= s.size() > 0
        assert cache.clear(["features"]) > 0
        assert s.features(DIGESTS, "r", D)[0].all()
        with Store.open() as fresh:
            fresh.put_features(DIGESTS[:1], "r", vectors(DIGESTS[:1], "r"))
            assert fresh.features(DIGESTS, "r", D)[0].sum() == 1
    with Store.open() as fresh:
        assert fresh.features(DIGESTS, "r", D)[0].sum() == 1
        assert fresh.integrity_check() == []
    assert cache.clear() > 1000
    assert os.listdir(tmp_path / "cache") == []


def test_what_a_killed_clearing_left_goes_with_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a process with our number, too: in a container all have the same."""
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "cache"))
    for name in ("features", f"features.cleared-{os.getpid()}"):
        (tmp_path / "cache" / name).mkdir(parents=True)
        (tmp_path / "cache" / name / "some").write_bytes(bytes(1000))
    assert cache.clear(["features"]) == 2000
    assert os.listdir(tmp_path / "cache") == []


def test_a_link_to_a_larger_disk_is_emptied_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "cache"))
    larger, link = tmp_path / "larger", tmp_path / "cache" / "features"
    larger.mkdir()
    (larger / "some").write_bytes(bytes(1000))
    link.parent.mkdir()
    link.symlink_to(larger)
    assert cache.clear(["features"]) == 1000
    assert link.is_symlink()
    assert os.listdir(link) == []
    assert sorted(os.listdir(tmp_path)) == ["cache", "larger"]


def test_two_may_clear_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "features"
    folder.mkdir(parents=True)
    rename = Path.rename

    def too_late(self: Path, target: Path) -> Path:
        rename(self, self.with_name("taken by another"))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", too_late)
    assert cache.clear(["features"]) == 0


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="no kind of cache is called 'feature'"):
        cache.clear(["feature"])


@pytest.mark.parametrize(
    ("text", "n_bytes"), [("1000", 1000), ("1.5 GiB", 3 * 2**29), ("20g", 20 * 2**30), ("0", 0)]
)
def test_size_limit_is_read_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, text: str, n_bytes: int
) -> None:
    monkeypatch.setenv("REGRAFT_CACHE_LIMIT", text)
    assert cache.size_limit() == n_bytes


@pytest.mark.parametrize("text", ["much", "-1", "1e9", "5 X", "1" * 400])
def test_a_size_limit_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("REGRAFT_CACHE_LIMIT", text)
    with pytest.raises(UsageError, match="REGRAFT_CACHE_LIMIT"):
        cache.size_limit()
