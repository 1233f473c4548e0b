"""The cache can be looked at, freed, and made to prove that it tells the truth."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from regraft.backbones import catalog
from regraft.data.table import ImageTable
from regraft.errors import UsageError
from regraft.features import engines, extract, upkeep
from regraft.features.extraction import Extraction
from regraft.features.store import Store
from regraft.images import DECODER_VERSION
from regraft.machine import cache as caches

pytestmark = pytest.mark.numerics

Write = Callable[..., Path]


@pytest.fixture
def stored(engine_cache: Path, tmp_path: Path, make_photos: Write) -> Extraction:
    """Six pictures in the store, with names that it remembers."""
    photos = make_photos(tmp_path / "photos", n=2, size_px=64)
    paths = sorted(photos.rglob("*.jpg"))
    for path in paths:
        os.utime(path, ns=(10**18, 10**18))
    built = engines.locate(catalog.resolve("default"), offline=True)
    with Store.open(decoder=DECODER_VERSION) as store:
        return extract.run(ImageTable.from_paths(list(map(str, paths))), built, store)


def test_a_store_that_tells_the_truth_passes(stored: Extraction) -> None:
    report = upkeep.verify(100)
    assert report.is_good
    assert (report.n_compared, report.n_gone) == (6, 0)
    assert report.worst <= upkeep.TOLERANCE[stored.info.precision]


def test_a_planted_wrong_row_is_found(stored: Extraction) -> None:
    """With a right checksum: only computing it again can tell."""
    wrong = stored.X[2:3] * 1.05
    with Store.open(decoder=DECODER_VERSION) as store:
        store.put_features([stored.digests[2]], stored.recipe.digest, wrong)
    report = upkeep.verify(100)
    assert not report.is_good
    (problem,) = report.problems
    assert stored.table.paths[2] in problem
    assert report.worst == pytest.approx(0.05, rel=0.05)


def test_swapped_rows_are_found(stored: Extraction) -> None:
    with Store.open(decoder=DECODER_VERSION) as store:
        store.put_features(stored.digests[:2], stored.recipe.digest, stored.X[[1, 0]])
    assert len(upkeep.verify(100).problems) == 2


def test_a_flipped_byte_is_found_and_removed(stored: Extraction, cache: Path) -> None:
    with sqlite3.connect(cache / "features" / "store.sqlite") as connection:
        (vector,) = connection.execute("SELECT vector FROM features LIMIT 1").fetchone()
        spoilt = bytes([vector[0] ^ 1]) + vector[1:]
        connection.execute(
            "UPDATE features SET vector = ? WHERE id = (SELECT min(id) FROM features)", (spoilt,)
        )
    connection.close()
    report = upkeep.verify(100)
    assert any("checksum" in problem for problem in report.problems)
    assert report.n_compared == 5
    assert upkeep.verify(100).is_good


def test_images_and_engines_that_are_gone_are_counted(stored: Extraction) -> None:
    os.remove(stored.table.paths[0])
    Path(stored.table.paths[1]).write_bytes(Path(stored.table.paths[2]).read_bytes())
    report = upkeep.verify(100)
    assert report.is_good
    assert (report.n_compared, report.n_gone) == (4, 2)
    caches.clear(["engines"])
    assert upkeep.verify(100).n_gone == 6


def test_the_sample_is_as_large_as_asked(stored: Extraction) -> None:
    assert upkeep.verify(0).n_compared == 0
    assert upkeep.verify(2, seed=1).n_compared == 2
    with pytest.raises(UsageError, match="got -1"):
        upkeep.verify(-1)


def test_contents_count_what_is_there(stored: Extraction) -> None:
    found = upkeep.contents()
    assert [info.name for _, info in found.engines] == ["default"]
    (recipe,) = found.recipes
    assert (recipe.n_rows, recipe.n_bytes) == (6, stored.X.nbytes)
    assert recipe.recipe is not None
    assert recipe.recipe["weights_digest"] == stored.info.weights_digest
    assert found.counts["facts"] == 6


def test_pruning_frees_and_the_next_pass_computes_again(
    stored: Extraction, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGRAFT_CACHE_LIMIT", "10G")
    assert upkeep.prune(None) == 0
    assert upkeep.contents().recipes[0].n_rows == 6
    assert upkeep.prune("1K") > 0
    assert upkeep.contents().recipes[0].n_rows == 0
    built = engines.locate(catalog.resolve("default"), offline=True)
    with Store.open(decoder=DECODER_VERSION) as store:
        again = extract.run(stored.table, built, store)
    assert again.computed == 6
    assert np.array_equal(again.X, stored.X)


def test_a_limit_is_for_one_pruning_only(
    stored: Extraction, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REGRAFT_CACHE_LIMIT", raising=False)
    upkeep.prune("5G")
    assert caches.size_limit() == caches.DEFAULT_LIMIT


def test_a_limit_that_is_no_size_is_refused(cache: Path) -> None:
    with pytest.raises(UsageError, match="'lots'"):
        upkeep.prune("lots")


def test_clearing_takes_only_what_was_named(stored: Extraction, cache: Path) -> None:
    sizes = {kind: n for kind, _, n, _ in caches.sizes()}
    assert sizes["features"] > stored.X.nbytes
    assert caches.clear(["features"]) >= stored.X.nbytes
    sizes = {kind: n for kind, _, n, _ in caches.sizes()}
    assert sizes["features"] == 0
    assert sizes["engines"] > 0
    caches.clear()
    assert sum(n for _, _, n, _ in caches.sizes()) == 0
    assert upkeep.contents().engines == []
