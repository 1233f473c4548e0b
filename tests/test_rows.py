"""What a row costs a driver: bytes of columns, not objects of Python; and the columns are right."""

from __future__ import annotations

import pickle
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regraft.checks import near_copies
from regraft.checks.duplicates import compare
from regraft.checks.placeholder_names import hints_of_names
from regraft.data import manifests, splits, table, texts
from regraft.data.digests import Digests
from regraft.data.manifests import read_manifest
from regraft.data.table import ImageTable
from regraft.data.texts import Texts
from regraft.images.facts import FileFacts
from regraft.images.facts_table import FactsTable
from regraft.machine import arrays, mapped
from regraft.workflows.preparation import _first_copies
from regraft.workflows.units import consecutive

FEW, MANY = 20_000, 60_000


def bytes_a_row(call: Callable[[int], Any]) -> tuple[float, float]:
    """Of memory while it works on so many rows, and of what it leaves, for each row more."""
    (few_peak, few_held), (peak, held) = memory_of(call, FEW), memory_of(call, MANY)
    return (peak - few_peak) / (MANY - FEW), (held - few_held) / (MANY - FEW)


def memory_of(call: Callable[[int], Any], n_rows: int) -> tuple[int, int]:
    tracemalloc.start()
    try:
        kept = call(n_rows)
        held, peak = tracemalloc.get_traced_memory()
        del kept
        return peak, held
    finally:
        tracemalloc.stop()


# ---- texts ----------------------------------------------------------------------------------

NAMES = ["a/1.jpg", "ü/2.jpg", "caf\udce9/3.jpg", "", "\ud800", "日本/4.png", "z" * 300]


@pytest.mark.parametrize("at_once", [1, 3, 16_384])
@pytest.mark.parametrize("in_memory", [0, 2**26])
def test_texts_read_like_an_array_of_them(
    at_once: int, in_memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "_AT_ONCE", at_once)
    monkeypatch.setattr(texts, "MAX_BYTES_IN_MEMORY", in_memory)
    some, array = Texts.of(NAMES), table.column(NAMES)
    assert len(some) == len(array)
    assert list(some) == some.tolist() == NAMES
    assert [some[row] for row in range(-7, 7)] == [array[row] for row in range(-7, 7)]
    mask = np.array([True, False, True, True, False, False, True])
    for rows in (slice(None), slice(1, 5, 2), slice(None, None, -1), mask, np.array([6, 0, -2])):
        assert some[rows].tolist() == some.take(np.arange(7)[rows]).tolist() == array[rows].tolist()
    assert some[np.array([], np.intp)].shape == (0,)
    assert np.asarray(some).tolist() == list(reversed(list(reversed(some)))) == NAMES
    for short in (some, Texts.of(NAMES[:-1])):  # with a long one, and without
        assert [NAMES[row] for row in short.order()] == sorted(NAMES[: len(short)])
    assert list(pickle.loads(pickle.dumps(some))) == NAMES
    with pytest.raises(IndexError):
        some[7]
    with pytest.raises(IndexError):
        some[mask[:3]]


def test_texts_can_be_put_at_the_end_of_those_that_were_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(texts, "_AT_ONCE", 2)
    monkeypatch.setattr(texts, "MAX_BYTES_IN_MEMORY", 20)
    some, given = Texts(), list[str]()
    for name in [*NAMES, *NAMES]:
        some.append(name)
        given.append(name)
        assert some[-1] == name
        assert list(some) == given


def test_a_large_table_is_the_small_one_with_other_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unsorted, with repeats, blanks and other letters."""
    lines = [f"{name},c{len(name) % 3}" for name in ("b.jpg", "ü.jpg", " a.jpg ", "b.jpg", "A.jpg")]
    file = tmp_path / "list.csv"
    file.write_text("path,label\n" + "\n".join(lines) + "\n", encoding="utf-8")
    small = read_manifest(file, check_files=False)
    for module in (texts, manifests):
        monkeypatch.setattr(module, "MANY", 0)
    large = read_manifest(file, check_files=False)
    assert isinstance(large.paths, Texts)
    assert isinstance(large.select(large.labels == "c2").paths, Texts)
    for one, other in ((small, large), (small.select([2, 0]), large.select([2, 0]))):
        assert one.paths.tolist() == other.paths.tolist()
        assert one.labels.tolist() == other.labels.tolist()
        assert one.skipped == other.skipped


def test_what_knows_more_than_its_text_stays_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    from regraft.data.members import Member

    monkeypatch.setattr(texts, "MANY", 0)
    members = table.column([Member("0.tar", "1.jpg", 512, 9, 0)])
    nothing = table.column([None])
    assert ImageTable(members, nothing, nothing).paths[0].offset == 512


# ---- digests --------------------------------------------------------------------------------


def by_dictionary(digests: list[bytes]) -> list[int]:
    number_of: dict[bytes, int] = {}
    return [number_of.setdefault(digest, len(number_of)) for digest in digests]


@pytest.mark.parametrize("shared", [0, 8, 31])
@pytest.mark.parametrize("n_contents", [1, 3, 400])
def test_contents_are_numbered_by_their_first_rows(shared: int, n_contents: int) -> None:
    """Also where digests begin alike, which chance does once in ten million rows squared."""
    rng = np.random.default_rng(n_contents)
    contents = [bytes(shared) + rng.bytes(32 - shared) for _ in range(n_contents)]
    given = [contents[k] for k in rng.integers(0, n_contents, 300)]
    numbers, firsts = Digests.of(given).numbered()
    assert numbers.tolist() == by_dictionary(given)
    assert firsts.tolist() == [given.index(one) for one in dict.fromkeys(given)]


def test_no_digest_and_one() -> None:
    assert [part.tolist() for part in Digests.of([]).numbered()] == [[], []]
    assert [part.tolist() for part in Digests.of([bytes(32)]).numbered()] == [[0], [0]]


def test_digests_of_facts_are_a_view_and_read_like_a_list() -> None:
    rng = np.random.default_rng(0)
    given = [rng.bytes(32) for _ in range(5)]
    facts = FactsTable.of(FileFacts(digest, 1, "PNG", "L") for digest in given)
    assert facts.digests == given
    assert facts.digests[1:3] == given[1:3]
    assert facts.digests.take(np.array([4, 0])) == [given[4], given[0]]
    assert FactsTable(0).digests == []


def test_copies_are_divided_by_the_smallest_digest_among_them() -> None:
    digests = Digests.of([b"d", b"c", b"b", b"a", b"e"])
    assert _first_copies(digests, np.array([0, 1, 0, 1, 2])).tolist() == [2, 3, 2, 3, 4]


def test_numbers_become_consecutive_as_by_numpy() -> None:
    numbers = np.random.default_rng(0).integers(0, 90, 50)
    assert consecutive(numbers).tolist() == np.unique(numbers, return_inverse=True)[1].tolist()
    assert consecutive(np.zeros(0, np.intp)).tolist() == []


# ---- copies ---------------------------------------------------------------------------------


def pictures_with_copies(n: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth thumbnails, of which a fifth are copies of others with noise, some mirrored."""
    k, x = np.arange(8), np.arange(16)
    waves = np.cos(np.pi * k[:, None] * (2 * x + 1) / 32)
    made = rng.standard_normal((n, 8, 8)) / (1 + k[:, None] + k)
    thumbs = np.einsum("nab,ay,bx->nyx", made, waves, waves)
    thumbs = 128 + 40 * thumbs / thumbs.std(axis=(1, 2), keepdims=True)
    m = n // 5
    thumbs[:m] = thumbs[m : 2 * m] + rng.normal(0, 1, (m, 16, 16)) * rng.integers(0, 4, (m, 1, 1))
    thumbs[: m // 4] = thumbs[: m // 4, :, ::-1]
    return np.clip(thumbs, 0, 255).astype(np.uint8).reshape(n, 256)


@pytest.mark.parametrize("at_once", [7, 500])
def test_copies_do_not_depend_on_how_many_pairs_are_judged_at_once(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near_copies, "MAX_ALL_PAIRS", 10)
    rng = np.random.default_rng(0)
    thumbs, digests = pictures_with_copies(2_000, rng), [rng.bytes(32) for _ in range(2_000)]
    whole = compare(digests, thumbs).copies()
    assert len(whole.pairs) > 300
    monkeypatch.setattr(near_copies, "PAIRS_AT_ONCE", at_once)
    assert compare(digests, thumbs).copies().pairs == whole.pairs


def test_signs_cost_no_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs that share a key by chance are told by their signs; copies are not lost with them."""
    monkeypatch.setattr(near_copies, "MAX_ALL_PAIRS", 10)
    rng = np.random.default_rng(1)
    thumbs, digests = pictures_with_copies(2_000, rng), [rng.bytes(32) for _ in range(2_000)]
    found = compare(digests, thumbs).copies().pairs
    monkeypatch.setattr(near_copies, "MAX_OTHER_SIGNS", 64)
    assert found == compare(digests, thumbs).copies().pairs


@pytest.mark.parametrize("n_rows", [1, 50, 9_000])
def test_the_mean_in_parts_has_the_bits_of_the_whole(n_rows: int) -> None:
    rows = np.random.default_rng(n_rows).standard_normal((n_rows, 63), np.float32)
    parts = [rows[at : at + 4_096] for at in range(0, n_rows, 4_096)]
    assert near_copies._mean(iter(parts)).tobytes() == rows.mean(axis=0).tobytes()


# ---- bytes a row ----------------------------------------------------------------------------


@pytest.fixture
def all_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows are treated as millions are."""
    for module in (texts, manifests):
        monkeypatch.setattr(module, "MANY", 1_000)
    for module in (texts, arrays):
        monkeypatch.setattr(module, "MAX_BYTES_IN_MEMORY", 2**12)


@pytest.mark.usefixtures("all_on_disk")
def test_bytes_a_row_of_a_table(tmp_path: Path) -> None:
    """Its labels, its splits, where each path ends; not the paths, which take 80 each as text."""
    for n in (FEW, MANY):
        names = (f"s3://bucket/pictures/{row:08}.jpg,class{row % 10}" for row in range(n))
        (tmp_path / f"{n}.csv").write_text("path,label\n" + "\n".join(names) + "\n")
    peak, kept = bytes_a_row(lambda n: read_manifest(tmp_path / f"{n}.csv"))
    assert kept < 30  # 24 by columns; 105 with a text for each path
    assert peak < 90


@pytest.mark.usefixtures("all_on_disk")
@pytest.mark.parametrize("looks", ["copies", "division", "names"])
def test_bytes_a_row_of_copies_division_and_names(looks: str) -> None:
    """A few columns of numbers; digests in lists and in dictionaries took some hundred."""
    given = {n: (made_up_facts(n), table.column(["ant", "bee"] * (n // 2))) for n in (FEW, MANY)}
    paths = {n: Texts.of(f"pictures/{row:08}.jpg" for row in range(n)) for n in given}

    def look(n: int) -> Any:
        facts, labels = given[n]
        if looks == "copies":
            return compare(facts.digests, facts.thumbs).copies()
        if looks == "division":
            return splits.assign(labels, facts.digests)
        return hints_of_names(paths[n])

    assert paths[FEW][0] == paths[MANY][0]  # whatever is made once, is made by it
    peak, kept = bytes_a_row(look)
    assert kept < 20
    assert peak < 150


def made_up_facts(n: int) -> FactsTable:
    """Thumbnails and digests by chance."""
    rng, facts = np.random.default_rng(0), FactsTable(n)
    facts._rows["digest"] = np.frombuffer(rng.bytes(32 * n), "V32")
    facts._rows["thumb"] = rng.integers(0, 256, (n, 256), np.uint8)
    return facts


# ---- pages ----------------------------------------------------------------------------------


@pytest.mark.skipif(not mapped.resident_bytes(), reason="the system does not say what is resident")
def test_pages_of_large_arrays_are_let_go_and_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = mapped.resident_bytes()
    monkeypatch.setattr(mapped, "MOST_RESIDENT", before + 2**23)
    large = arrays.zeros((2**24 + 1,), np.float32)
    large[:] = 7.0
    deadline = time.monotonic() + 60
    while mapped.resident_bytes() > before + 2**24 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert mapped.resident_bytes() <= before + 2**24
    assert (large[::4096] == 7.0).all()
