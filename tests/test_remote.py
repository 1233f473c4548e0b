"""Pictures elsewhere: read as files are, tried again a bounded number of times, no secret kept."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from object_server import serving
from regraft.backbones import catalog
from regraft.data import remote, stored
from regraft.data.sources import read_images, read_table
from regraft.data.table import ImageTable
from regraft.errors import DecodeError, RegraftError, TableError, UsageError
from regraft.features import engines, extract, one_pass
from regraft.features.parts import Parts
from regraft.features.shard import Shard
from regraft.features.store import Store
from regraft.record.configuration import RunConfig
from regraft.workflows import sharding

pytest.importorskip("obstore", reason="the extra cloud is not installed")

SECRET, KEY_ID = "s3cr3t-never-on-disk", "AKIANEVERONDISK"
BACKBONE = "random:test_efficientnet"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Waits are short, and each test has clients of its own."""
    backoff = {"init_backoff": timedelta(milliseconds=5), "max_backoff": timedelta(milliseconds=20)}
    monkeypatch.setattr(remote, "_RETRY", {**remote._RETRY, "max_retries": 6, "backoff": backoff})
    monkeypatch.setattr(remote, "_FIRST_WAIT_S", 0.01)
    for name in (remote.KEEP, remote.OFFLINE):
        monkeypatch.delenv(name, raising=False)
    remote.forget_hosts()
    yield
    remote.forget_hosts()


def as_s3(address: str, monkeypatch: pytest.MonkeyPatch | None = None) -> dict[str, str]:
    """The environment in which s3:// means this server."""
    env = {
        "AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": KEY_ID, "AWS_REGION": "us-east-1",
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }  # fmt: skip
    for name, value in env.items():
        if monkeypatch is not None:
            monkeypatch.setenv(name, value)
    return env


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    folder = tmp_path / "served" / "bucket"
    folder.mkdir(parents=True)
    for n in range(4):
        (folder / f"{n}.jpg").write_bytes(bytes([n]) * 1000)
    return folder


# ---- one object -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.jpg", "with blank.jpg", "käfer.jpg", "a+b=c.jpg", "a%20b.jpg"])
def test_an_object_is_read_whole_and_in_parts(
    bucket: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    data = bytes(range(256)) * 10
    (bucket / name).write_bytes(data)
    with serving(bucket.parent) as address:
        as_s3(address, monkeypatch)
        one = f"s3://bucket/{name}"
        assert remote.read(one) == data
        assert remote.read(one, 100, 50) == data[100:150]
        assert remote.size_of(one) == len(data)
        assert b"".join(remote.chunks(one)) == data


FAULTS = {
    "403": "permission denied", "404": "there is no such object",
    "500": "the server said 500", "503": "the server said 503",
    "reset": "no connection, or it was reset",
    "redirect": "too many redirects", "cut": "the connection ended before all of it came",
    "long": "the connection ended before all of it came",
}  # fmt: skip


@pytest.mark.parametrize(
    ("scheme", "fault"), [*(("s3", fault) for fault in FAULTS), ("http", "404"), ("http", "cut")]
)
def test_what_fails_for_good_is_named_soon(
    bucket: Path, monkeypatch: pytest.MonkeyPatch, fault: str, scheme: str
) -> None:
    with serving(bucket.parent, lambda path, n: fault) as address:
        as_s3(address, monkeypatch)
        start = time.monotonic()
        with pytest.raises(DecodeError) as failed:
            remote.read(f"{'s3:/' if scheme == 's3' else address}/bucket/1.jpg")
        assert time.monotonic() - start < 20
    assert FAULTS[fault] in failed.value.rule
    assert SECRET not in str(failed.value)
    assert KEY_ID not in str(failed.value)


@pytest.mark.parametrize("fault", ["500", "503", "reset", "cut", "long"])
def test_what_fails_for_a_moment_is_tried_again(
    bucket: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    with serving(bucket.parent, lambda path, n: fault if n <= 4 else "") as address:
        as_s3(address, monkeypatch)
        assert remote.read("s3://bucket/3.jpg") == bytes([3]) * 1000
        assert remote.read("s3://bucket/2.jpg", 10, 20) == bytes([2]) * 20


@pytest.mark.parametrize(("fault", "most"), [("drip", 3), ("silent", 10)])
def test_what_does_not_come_in_time_is_not_waited_for_again_and_again(
    bucket: Path, monkeypatch: pytest.MonkeyPatch, fault: str, most: int
) -> None:
    for name in ("_CLIENT", "_FIRST_CLIENT"):
        monkeypatch.setattr(remote, name, {**getattr(remote, name), "timeout": "300ms"})
    impatient = {**remote._RETRY, "retry_timeout": timedelta(milliseconds=300)}
    for name in ("_RETRY", "_FIRST_RETRY"):
        monkeypatch.setattr(remote, name, impatient)
    asked: list[str] = []
    with serving(bucket.parent, lambda path, n: asked.append(path) or fault) as address:
        as_s3(address, monkeypatch)
        with pytest.raises(DecodeError, match="did not come whole within a minute"):
            remote.read("s3://bucket/1.jpg")
    assert len(asked) <= most


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("https://no-such-host.invalid/1.jpg", "name of its host is not known"),
        ("http://127.0.0.1:9/1.jpg", "nobody answers"),
        ("s3://bucket/1.jpg", "nobody answers"),
    ],
)
def test_what_is_out_of_reach_is_given_up_at_once(
    address: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the patience of real commands, which a network that is not there would use up."""
    patient = {"max_retries": 8, "retry_timeout": timedelta(seconds=60)}
    monkeypatch.setattr(remote, "_RETRY", patient)
    as_s3("http://127.0.0.1:9", monkeypatch)
    start = time.monotonic()
    for _ in range(3):
        with pytest.raises(DecodeError, match=reason) as failed:
            remote.read(address)
    assert time.monotonic() - start < 3
    assert failed.value.cure


def test_a_host_at_which_nothing_works_is_given_up(
    bucket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fault(path: str, n: int) -> str:
        asked.append(path)
        return "403"

    with serving(bucket.parent, fault) as address:
        as_s3(address, monkeypatch)
        for n in range(remote.MOST_FAILURES + 30):
            with pytest.raises(DecodeError):
                remote.read(f"s3://bucket/{n}.jpg")
        assert len(asked) <= remote.MOST_FAILURES * remote.TRIES
        with pytest.raises(DecodeError, match=r"not tried: 40 reads of s3://bucket failed"):
            remote.read("s3://bucket/0.jpg")


def test_what_is_missing_does_not_give_a_host_up(
    bucket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(bucket.parent) as address:
        as_s3(address, monkeypatch)
        for n in range(100, 100 + remote.MOST_FAILURES + 5):
            with pytest.raises(DecodeError, match="no such object"):
                remote.read(f"s3://bucket/{n}.jpg")
        assert len(remote.read("s3://bucket/0.jpg")) == 1000


@pytest.mark.parametrize("value", ["", "host:9000"])
def test_an_endpoint_that_is_no_address_is_refused(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    as_s3(value, monkeypatch)
    with pytest.raises(UsageError, match="AWS_ENDPOINT_URL must be an address"):
        remote.read("s3://bucket/1.jpg")


def test_offline_fetches_nothing(bucket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    with serving(bucket.parent, lambda path, n: asked.append(path) or "") as address:
        as_s3(address, monkeypatch)
        monkeypatch.setenv(remote.OFFLINE, "1")
        with pytest.raises(DecodeError, match="not fetched: --offline was given"):
            remote.read("s3://bucket/1.jpg")
    assert asked == []


def test_kept_objects_are_not_fetched_again(
    bucket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fault(path: str, n: int) -> str:
        asked.append(path)
        return ""

    with serving(bucket.parent, fault) as address:
        as_s3(address, monkeypatch)
        remote.read("s3://bucket/1.jpg")
        assert not list(tmp_path.glob("kept/**/*")), "nothing is kept unless it is asked for"
        monkeypatch.setenv(remote.KEEP, str(tmp_path / "kept"))
        for _ in range(3):
            assert remote.read("s3://bucket/1.jpg") == bytes([1]) * 1000
        assert remote.read("s3://bucket/1.jpg", 5, 7) == bytes([1]) * 7
    assert len(asked) == 2
    kept = [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    assert len(kept) == 1


def test_what_cannot_be_kept_is_read_all_the_same(
    bucket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk: here a file stands where the folder should."""
    monkeypatch.setenv(remote.KEEP, str(tmp_path / "kept"))
    (tmp_path / "kept").write_text("no folder")
    shard(bucket, {"1": b"x" * 900})
    with serving(bucket.parent) as address:
        as_s3(address, monkeypatch)
        assert read_table("s3://bucket/0.tar").labels.tolist() == ["1"]
        assert remote.read("s3://bucket/1.jpg") == bytes([1]) * 1000


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="need the package obstore") as refused:
        remote.require_client()
    assert "pip install 'regraft[cloud]'" in refused.value.cure


# ---- tables ---------------------------------------------------------------------------------


def test_manifests_may_lie_elsewhere_and_so_may_their_pictures(
    bucket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bucket / "list.csv").write_text("path,label\n1.jpg,a\nsub/2.jpg,b\ns3://other/3.jpg,a\n")
    (tmp_path / "tables").mkdir()  # not above the bucket, whose pictures would then be read
    (tmp_path / "tables" / "local.csv").write_text(
        "path,label\ns3://bucket/1.jpg,a\ns3://bucket/2.jpg,b\n"
    )
    with serving(bucket.parent) as address:
        as_s3(address, monkeypatch)
        table = read_table("s3://bucket/list.csv")
        assert table.paths.tolist() == [
            "s3://bucket/1.jpg", "s3://bucket/sub/2.jpg", "s3://other/3.jpg"
        ]  # fmt: skip
        assert table.labels.tolist() == ["a", "b", "a"]
        assert table.source == "s3://bucket/list.csv"
        assert len(read_images("s3://bucket/list.csv")) == 3
    assert read_table(tmp_path / "tables" / "local.csv").paths.tolist() == [
        "s3://bucket/1.jpg", "s3://bucket/2.jpg"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("s3://bucket/folder", "folders elsewhere are not listed"),
        (
            "s3://bucket/none.csv",
            "the manifest cannot be read: the object cannot be read: there is",
        ),
        ("ftp://host/list.csv", "is an address of a kind that is not read"),
        ("https://me:geheim@host/list.csv", "carries a password"),
        ("https://host/list.csv?X-Amz-Signature=geheim", "carries a password"),
    ],
)
def test_what_cannot_be_read_is_refused(
    bucket: Path, monkeypatch: pytest.MonkeyPatch, source: str, words: str
) -> None:
    with serving(bucket.parent) as address:
        as_s3(address, monkeypatch)
        with pytest.raises(RegraftError, match=words) as refused:
            read_table(source)
    assert "geheim" not in str(refused.value).replace(repr(source), "")


def test_addresses_with_secrets_in_a_manifest_are_refused_without_repeating_them(
    tmp_path: Path,
) -> None:
    (tmp_path / "list.csv").write_text(f"path,label\nhttps://h/1.jpg?sig={SECRET},a\n")
    with pytest.raises(TableError, match="carries a password or a query") as refused:
        read_table(tmp_path / "list.csv")
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "address",
    [
        f"HTTPS://me:{SECRET}@host/1.jpg", f"ftp://me:{SECRET}@host/1.jpg",
        f"S3://KEY:{SECRET}@bucket/1.jpg", f"wasbs://c@account/1.jpg?sig={SECRET}",
        f"https://[me:{SECRET}@host/1.jpg", f"https://me:{SECRET}/x@host/1.jpg",
        f" https://me:{SECRET}@host/1.jpg",
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_listed", [True, False])
def test_no_address_of_any_kind_is_repeated_with_its_secret(
    tmp_path: Path, address: str, is_listed: bool
) -> None:
    source = tmp_path / "list.csv"
    source.write_text(f'path,label\n"{address}",a\n')
    with pytest.raises(RegraftError) as refused:
        read_table(source if is_listed else address)
    assert SECRET not in f"{refused.value} {refused.value.facts}"


def test_an_endpoint_that_is_no_address_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    as_s3(f"me:{SECRET}@host:9000", monkeypatch)
    with pytest.raises(UsageError, match="AWS_ENDPOINT_URL must be an address") as refused:
        remote.read("s3://bucket/1.jpg")
    assert SECRET not in str(refused.value)


def test_an_object_that_is_replaced_while_it_is_fetched_is_not_kept(
    bucket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(remote.KEEP, str(tmp_path / "kept"))
    monkeypatch.setattr(remote, "_CHUNK_BYTES", 400)

    def replaced(path: str, n: int) -> str:
        if n == 3:  # after its size and the first part
            (bucket / "1.jpg").write_bytes(bytes(1000))
        return ""

    with serving(bucket.parent, replaced) as address:
        as_s3(address, monkeypatch)
        with pytest.raises(DecodeError, match="was replaced while it was read"):
            remote.fetched("s3://bucket/1.jpg")
        assert not [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]
        assert Path(remote.fetched("s3://bucket/1.jpg")).read_bytes() == bytes(1000)


# ---- shards elsewhere -----------------------------------------------------------------------


def shard(bucket: Path, contents: dict[str, bytes]) -> Path:
    path = bucket / "0.tar"
    with tarfile.open(path, "w") as file:
        for name, content in contents.items():
            for entry, data in ((f"{name}.jpg", content), (f"{name}.cls", b"1")):
                info = tarfile.TarInfo(entry)
                info.size = len(data)
                file.addfile(info, io.BytesIO(data))
    return path


@contextmanager
def listed(
    bucket: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Sequence[Any], list[str]]]:
    """The members of the bucket's shard, and what is asked of its server from then on."""
    asked: list[str] = []

    def noted(path: str, n: int) -> str:
        asked.append(path)
        return ""

    with serving(bucket.parent, noted) as address:
        as_s3(address, monkeypatch)
        paths = read_table("s3://bucket/0.tar").paths
        asked.clear()
        yield paths, asked


def test_members_that_lie_near_each_other_come_by_one_request(
    bucket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = {f"{n:03}": bytes([n]) * (700 + n) for n in range(100)}
    contents["far"] = bytes(stored.STRETCH_BYTES + 1)
    contents["next"] = b"x" * 900
    shard(bucket, contents)
    with listed(bucket, monkeypatch) as (paths, asked):
        ahead = stored.Ahead(paths)
        found = {path.rpartition("/")[2][:-4]: ahead.take(path) for path in paths[::-1]}
        ahead.close()
    assert found == contents
    assert len(asked) == 3


def assert_the_first_come(paths: Sequence[str], n_good: int, others: str) -> None:
    """Of members with their number as content the first ones come; of the others it is said why
    not."""
    ahead = stored.Ahead(paths)
    for n, one in enumerate(paths):
        if n < n_good:
            assert ahead.take(one) == bytes([n]) * 900
        else:
            with pytest.raises(DecodeError, match=others):
                ahead.take(one)
    ahead.close()


def test_a_request_for_many_members_that_fails_loses_none_that_is_there(
    bucket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shard(bucket, {f"{n:03}": bytes([n]) * 900 for n in range(20)})
    with listed(bucket, monkeypatch) as (paths, _):
        path.write_bytes(path.read_bytes()[: paths[12].offset + 100])
        assert_the_first_come(paths, 12, "cannot be read")


def test_a_shard_that_is_replaced_after_it_was_listed_gives_no_other_picture(
    bucket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard(bucket, {f"{n:03}": bytes([n]) * 900 for n in range(20)})
    with listed(bucket, monkeypatch) as (paths, _):
        shard(bucket, {f"{n:03}": bytes([n]) * 900 for n in (*range(10), *range(50, 60))})
        assert_the_first_come(paths, 10, "was replaced after it was listed")


def test_labels_may_stand_in_a_table_beside_shards_elsewhere(
    bucket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tarfile.open(bucket / "0.tar", "w") as file:
        for n in range(2):
            file.add(bucket / f"{n}.jpg", f"{n}.jpg")
    with serving(bucket.parent) as address:
        as_s3(address, monkeypatch)
        assert read_table("s3://bucket/0.tar").labels.tolist() == [None, None]
        (bucket / "labels.csv").write_text("path,label\n0,ant\n1,bee\n")
        assert read_table("s3://bucket/0.tar").labels.tolist() == ["ant", "bee"]
        (bucket / "labels.csv").write_text("nothing\nof,use\n")
        with pytest.raises(TableError) as refused:
            read_table("s3://bucket/0.tar")
        assert "s3://bucket/labels.csv" in str(refused.value)
        assert "regraft-" not in str(refused.value)


def test_what_is_fetched_ahead_is_bounded(bucket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "AHEAD_BYTES", 20_000)
    monkeypatch.setattr(stored, "STRETCH_BYTES", 5_000)
    shard(bucket, {f"{n:03}": bytes([n]) * 1000 for n in range(100)})
    with listed(bucket, monkeypatch) as (paths, asked):
        ahead = stored.Ahead(paths)
        time.sleep(0.3)
        n_first = len(asked)
        assert [ahead.take(path)[0] for path in paths] == list(range(100))
        ahead.close()
    assert n_first == 10  # two members a stretch: a header and a label lie between them
    assert len(asked) == 50


@pytest.mark.numerics
def test_features_of_shards_elsewhere_are_those_of_the_files(
    bucket: Path, monkeypatch: pytest.MonkeyPatch, make_photos: Callable[..., Path]
) -> None:
    photos = sorted(make_photos(bucket / "photos", splits={"train": 6}, size_px=48).rglob("*.jpg"))
    shard(bucket, {path.stem: path.read_bytes() for path in photos})
    built = engines.locate(catalog.resolve(BACKBONE), device="cpu", offline=True)
    with serving(bucket.parent) as address, Store.nowhere() as nothing:
        as_s3(address, monkeypatch)
        here = extract.run(read_table(bucket / "photos"), built, nothing)
        there = extract.run(read_table("s3://bucket/{0..0}.tar"), built, nothing)
    rows = {
        Path(path).stem: row.tobytes() for path, row in zip(here.table.paths, here.X, strict=True)
    }
    assert len(rows) == len(photos)
    assert rows == {
        Path(path).stem: row.tobytes() for path, row in zip(there.table.paths, there.X, strict=True)
    }


# ---- through everything ---------------------------------------------------------------------


@pytest.mark.slow  # whole commands
def test_every_command_takes_addresses_and_no_secret_is_left(
    tmp_path: Path, make_photos: Callable[..., Path]
) -> None:
    import subprocess
    import sys

    served = tmp_path / "served"
    make_photos(served / "bucket", splits={"train": 6, "test": 3}, size_px=48)
    paths = sorted((served / "bucket").rglob("*.jpg"))
    rows = [(str(path.relative_to(served / "bucket")), *path.parts[-3:-1]) for path in paths]
    lines = [f"{name},{label},{split}" for name, split, label in rows]
    lines += ["train/discs/gone.jpg,discs,train", "train/discs/closed.jpg,discs,train"]
    (served / "bucket" / "list.csv").write_text("path,label,split\n" + "\n".join(lines) + "\n")

    def fault(path: str, n: int) -> str:
        if path.endswith("closed.jpg"):
            return "403"
        return "503" if n == 1 and "stripes" in path else ""

    home = tmp_path / "home"
    home.mkdir()
    with serving(served, fault) as address:
        env = {
            **os.environ, **as_s3(address), "NO_COLOR": "1", "HOME": str(home),
            "REGRAFT_CACHE": str(home / "cache"),
        }  # fmt: skip

        def run(*command: str) -> str:
            done = subprocess.run(
                [sys.executable, "-m", "regraft", *command, "--json"], env=env, cwd=home,
                capture_output=True, text=True, check=False, timeout=200,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            (home / f"{command[0]}.out").write_text(done.stdout + done.stderr)
            return done.stdout

        data = "s3://bucket/list.csv"
        metrics = json.loads(run("train", data, "--backbone", BACKBONE, "--keep-files", "kept"))
        assert metrics["data"]["splits"] == {"train": 18, "test": 9}
        assert metrics["data"]["rejected"] == 2
        checked = json.loads(run("check", data))
        reasons = {bad["path"].rpartition("/")[2]: bad["reason"] for bad in checked["rejected"]}
        assert "there is no such object" in reasons["gone.jpg"]
        assert "permission denied" in reasons["closed.jpg"]
        run("evaluate", metrics["model"], data)
        run("predict", metrics["model"], "s3://bucket/test/discs/discs_test_000.jpg")
        run("features", data, "--backbone", BACKBONE, "--shard", "1/2", "--out", "parts")
    assert len(list((home / "kept").rglob("*.jpg"))) == 27
    shutil.rmtree(home / "cache" / "engines")
    for path in home.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert SECRET.encode() not in data, path
            assert KEY_ID.encode() not in data, path


def test_large_objects_are_not_fetched_ahead(bucket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held before it is needed is bounded in bytes, however large the pictures are."""
    monkeypatch.setattr(stored, "LARGEST_AHEAD_BYTES", 1500)
    large = [f"large{n}.jpg" for n in range(4)]
    for name in large:
        (bucket / name).write_bytes(name.encode() * 1000)
    paths = [f"s3://bucket/{name}" for name in [*large, "1.jpg"]]
    with serving(bucket.parent) as address:
        as_s3(address, monkeypatch)
        ahead = stored.Ahead(paths)
        time.sleep(0.3)
        held = [future.exception() or future.result() for future in ahead._coming.values()]
        assert sum(len(one) for one in held if isinstance(one, bytes)) == 1000
        for path, name in zip(paths, large, strict=False):
            assert ahead.take(path) == name.encode() * 1000
        assert ahead.take(paths[-1]) == bytes([1]) * 1000
        ahead.close()


def test_many_that_knock_at_once_do_not_give_up_a_host_for_one_that_was_turned_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a server's full queue turns some away: here all but the first that asks."""
    monkeypatch.setattr(_Client, "n_asked", 0)
    monkeypatch.setattr(remote._Host, "_client", lambda self, is_first=False: _Client())
    host = remote._host_of("s3://bucket/1.jpg")
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(host.tried, "s3://bucket/1.jpg", _Client.ask) for _ in range(8)]
    assert not host._out_of_reach
    assert sum(future.exception() is None for future in futures) >= 1


class _Client:
    """Answers the first of many, slowly, and turns the others away at once."""

    n_asked = 0
    lock = threading.Lock()

    @classmethod
    def ask(cls, store: object, path: str) -> bytes:
        with cls.lock:
            cls.n_asked += 1
            number = cls.n_asked
        if number == 1:
            time.sleep(0.2)
            return b"a picture"
        raise ValueError("Generic S3 error ... HttpError { kind: Connect, source: refused }")


def test_a_server_without_ranges_is_named_with_what_helps(
    bucket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard(bucket, {"1": b"x" * 900})
    with serving(bucket.parent, lambda path, n: "whole") as address:
        with pytest.raises(TableError, match="whole objects only, and no parts") as refused:
            read_table(f"{address}/bucket/{{0..0}}.tar")
        assert "download the shards" in refused.value.cure


def test_parts_of_one_bucket_are_none_of_another_with_the_same_names(
    bucket: Path, tmp_path: Path, make_photos: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No stamp tells their pictures apart, so the whole address has to."""
    files = sorted(make_photos(tmp_path / "photos", n=2, size_px=48).rglob("*.jpg"))
    other = bucket.with_name("other")
    other.mkdir()
    for folder, some in ((bucket, files), (other, files[::-1])):
        for n, file in enumerate(some):
            shutil.copy(file, folder / f"{n}.jpg")
        (folder / "list.csv").write_text(
            "path,label\n" + "".join(f"{n}.jpg,{n % 2}\n" for n in range(len(files)))
        )
    with serving(bucket.parent) as address:
        as_s3(address, monkeypatch)
        config = RunConfig("s3://bucket/list.csv", backbone=BACKBONE)
        made = sharding.make_part(config, Shard(), tmp_path / "parts", uses_store=False)
        table = read_table("s3://other/list.csv")
        built = engines.locate(catalog.resolve(BACKBONE), device="auto", offline=True)
        parts = Parts([made.part], tmp_path)
        with Store.nowhere() as nothing:
            merged = extract.run(table, built, nothing, parts=parts)
            alone = extract.run(table, built, nothing)
    assert merged.X.tobytes() == alone.X.tobytes()
    assert merged.X.tobytes() != made.part.X.tobytes()


def test_who_stops_a_pass_does_not_wait_for_a_silent_server(
    bucket: Path, make_photos: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_pass, "LONGEST_WAIT_S", 0.1)
    (file,) = list(make_photos(bucket.parent / "photos", n=1, size_px=48).rglob("*.jpg"))[:1]
    shutil.copy(file, bucket / "1.jpg")
    silence = threading.Event()

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    def silent(path: str, n: int) -> str:
        if path.endswith("2.jpg"):
            silence.wait(20)
        return ""

    with serving(bucket.parent, silent) as address:
        as_s3(address, monkeypatch)
        table = ImageTable.from_paths(["s3://bucket/1.jpg", "s3://bucket/2.jpg"])
        built = engines.locate(catalog.resolve(BACKBONE), device="auto", offline=True)
        with Store.nowhere() as nothing, pytest.raises(KeyboardInterrupt):
            extract.run(table, built, nothing, progress=stop, n_threads=2)
        over = [t for t in threading.enumerate() if "_work" in t.name]
        silence.set()
    assert over, "it was left waiting"


def test_ctrl_c_does_not_wait_for_a_silent_server(
    bucket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence, answered, here = threading.Event(), list[str](), threading.get_ident()

    def silent(path: str, n: int) -> str:
        silence.wait(20)
        answered.append(path)
        return ""

    with serving(bucket.parent, silent) as address:
        as_s3(address, monkeypatch)
        threading.Timer(0.3, signal.pthread_kill, [here, signal.SIGINT]).start()
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # tests may ignore it
        try:
            with pytest.raises(KeyboardInterrupt):
                remote.read("s3://bucket/1.jpg")
        finally:
            signal.signal(signal.SIGINT, before)
        assert not answered
        silence.set()
        assert remote.read("s3://bucket/1.jpg") == bytes([1]) * 1000
