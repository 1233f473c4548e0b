"""Shards elsewhere are listed once: kept here and beside parts, listed anew where they changed."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from object_server import serving
from regraft.backbones import catalog
from regraft.data import remote
from regraft.data.listings import Listings
from regraft.data.shards import read_shards
from regraft.errors import TableError
from regraft.features import engines, extract
from regraft.features.elsewhere import Elsewhere
from regraft.features.shard import Shard
from regraft.features.store import Store
from regraft.record.configuration import RunConfig
from regraft.workflows import sharding
from regraft.workflows.preparation import prepare

pytest.importorskip("obstore", reason="the extra cloud is not installed")

BACKBONE = "random:test_efficientnet"
Reads = list[tuple[str, int]]


@pytest.fixture
def bucket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_photos: Callable[..., Path]
) -> Iterator[Path]:
    """Four shards of photographs of two classes, served as s3://bucket."""
    folder = tmp_path / "served" / "bucket"
    photos = sorted(make_photos(tmp_path / "photos", n=12, size_px=48).rglob("*.jpg"))
    for n in range(4):
        content = {f"{path.stem}.jpg": path.read_bytes() for path in photos[n::4]}
        content |= {f"{path.stem}.cls": path.parent.name.encode() for path in photos[n::4]}
        tar(folder / f"{n}.tar", content)
    monkeypatch.delenv(remote.KEEP, raising=False)
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "cache"))
    with serving(folder.parent) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
            monkeypatch.setenv(name, "x")
        remote.forget_hosts()
        yield folder
    remote.forget_hosts()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    """What is read of which object from now on: its name, and how many bytes."""
    done: Reads = []
    read = remote.read

    def noted(address: str, start: int = 0, n_bytes: int | None = None) -> bytes:
        data = read(address, start, n_bytes)
        done.append((address.rpartition("/")[2], len(data)))
        return data

    monkeypatch.setattr(remote, "read", noted)
    return done


def tar(path: Path, content: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as file:
        for name in sorted(content):
            info = tarfile.TarInfo(name)
            info.size = len(content[name])
            file.addfile(info, io.BytesIO(content[name]))


def test_a_shard_is_listed_once_and_anew_when_it_changed(bucket: Path, reads: Reads) -> None:
    source = "s3://bucket/{0..3}.tar"
    first = read_shards(source)
    assert {name for name, _ in reads} == {"0.tar", "1.tar", "2.tar", "3.tar"}
    reads.clear()
    again = read_shards(source)
    assert reads == []
    assert again.paths.tolist() == first.paths.tolist()
    assert [(one.shard, one.offset, one.n_bytes) for one in again.paths] == [
        (one.shard, one.offset, one.n_bytes) for one in first.paths
    ]
    assert again.labels.tolist() == first.labels.tolist()
    tar(bucket / "2.tar", {"new.jpg": b"\xff\xd8 another", "new.cls": b"discs"})
    changed = read_shards(source)
    assert {name for name, _ in reads} == {"2.tar"}
    assert [path for path in changed.paths if "2.tar" in path] == ["s3://bucket/2.tar/new.jpg"]


def test_what_was_wrong_is_kept_too_and_what_could_not_be_read_is_not(
    bucket: Path, reads: Reads
) -> None:
    path = bucket / "1.tar"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    first = read_shards("s3://bucket/{0..4}.tar")
    assert [bad.path for bad in first.rejected] == ["s3://bucket/1.tar", "s3://bucket/4.tar"]
    reads.clear()
    assert read_shards("s3://bucket/{0..4}.tar").rejected == first.rejected
    assert reads == []
    tar(bucket / "4.tar", {"late.jpg": b"\xff\xd8 come late", "late.cls": b"discs"})
    found = read_shards("s3://bucket/{0..4}.tar")
    assert [bad.path for bad in found.rejected] == ["s3://bucket/1.tar"]
    assert "s3://bucket/4.tar/late.jpg" in found.paths.tolist()


def test_a_listing_that_is_damaged_is_made_again(
    bucket: Path, tmp_path: Path, reads: Reads
) -> None:
    first = read_shards("s3://bucket/0.tar", listings=Listings(tmp_path / "kept"))
    (kept,) = (tmp_path / "kept").iterdir()
    whole = kept.read_bytes()
    for damaged in (b"", whole[:20], whole[:-4], b"{}"):
        kept.write_bytes(damaged)
        found = read_shards("s3://bucket/0.tar", listings=Listings(tmp_path / "kept"))
        assert found.paths.tolist() == first.paths.tolist()
        assert kept.read_bytes() == whole


def test_what_was_found_elsewhere_is_kept_in_the_first_folder(
    bucket: Path, tmp_path: Path, reads: Reads
) -> None:
    read_shards("s3://bucket/0.tar", listings=Listings(tmp_path / "cache"))
    reads.clear()
    both = Listings(tmp_path / "parts", tmp_path / "cache")
    first = read_shards("s3://bucket/0.tar", listings=both)
    found = read_shards("s3://bucket/0.tar", listings=Listings(tmp_path / "parts"))
    assert reads == []
    assert found.paths.tolist() == first.paths.tolist()


def test_large_pictures_are_passed_over(bucket: Path, reads: Reads) -> None:
    content = {f"{n:02}.jpg": bytes(5 * 2**20) for n in range(6)}
    tar(bucket / "large.tar", content | {f"{n:02}.cls": b"ant" for n in range(6)})
    assert len(read_shards("s3://bucket/large.tar")) == 6
    assert sum(n_bytes for _, n_bytes in reads) < 10 * 2**20


def test_who_stops_while_shards_are_listed_does_not_wait_for_them(
    bucket: Path, tmp_path: Path, reads: Reads
) -> None:
    for n in range(20):
        tar(bucket / "many" / f"{n:02}.tar", {f"{m}.jpg": bytes(900_000) for m in range(40)})
    reads.clear()

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_shards(
            "s3://bucket/many/{00..19}.tar", listings=Listings(tmp_path / "none", progress=stop)
        )
    assert len(reads) < 100  # of 180


def test_a_part_lists_its_own_shards_and_who_trains_lists_none(
    bucket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: Reads
) -> None:
    config = RunConfig("s3://bucket/{0..3}.tar", backbone=BACKBONE)
    for number in (1, 2):
        monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / f"machine{number}"))
        reads.clear()
        sharding.make_part(config, Shard(number, 2), tmp_path / "parts", uses_store=False)
        own = {1: {"0.tar", "1.tar"}, 2: {"2.tar", "3.tar"}}[number]
        assert {name for name, _ in reads} == own
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "driver"))
    reads.clear()
    prepared = prepare(config, elsewhere=Elsewhere(parts=str(tmp_path / "parts")))
    assert len(reads) <= 8  # pictures by which an engine is told from another
    assert prepared.extraction.computed == 0
    assert set(prepared.table.labels) == {"discs", "squares", "stripes"}
    built = engines.locate(catalog.resolve(BACKBONE), device="cpu", offline=True)
    with Store.nowhere() as nothing:
        whole = extract.run(read_shards(config.data), built, nothing)
    assert whole.table.paths.tolist() == prepared.extraction.table.paths.tolist()
    assert np.array_equal(whole.X, prepared.X)


def test_more_parts_than_shards_divide_the_images(bucket: Path, tmp_path: Path) -> None:
    config = RunConfig("s3://bucket/{0..3}.tar", backbone=BACKBONE)
    made = [
        sharding.make_part(config, Shard(number, 5), tmp_path / "parts", uses_store=False)
        for number in range(1, 6)
    ]
    names = [name for one in made for name in one.part.names]
    assert len(names) == len(set(names)) == len(read_shards(config.data))


def test_a_shard_that_a_part_lacks_is_named(bucket: Path, tmp_path: Path) -> None:
    (bucket / "3.tar").unlink()
    (bucket / "0.tar").unlink()
    config = RunConfig("s3://bucket/{0..3}.tar", backbone=BACKBONE)
    made = sharding.make_part(config, Shard(2, 2), tmp_path / "parts", uses_store=False)
    assert [name for name, _ in made.rejected] == ["s3://bucket/3.tar"]
    assert "there is no such object" in made.rejected[0][1]


def test_a_part_whose_shards_are_all_missing_names_them(bucket: Path, tmp_path: Path) -> None:
    for n in (2, 3):
        (bucket / f"{n}.tar").unlink()
    config = RunConfig("s3://bucket/{0..3}.tar", backbone=BACKBONE)
    with pytest.raises(TableError, match=r"2 shards.*3\.tar|2 shards.*2\.tar"):
        sharding.make_part(config, Shard(2, 2), tmp_path / "parts", uses_store=False)
