"""Parts of a pass: made in any order, merged to the bits of one pass, or refused."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regraft.backbones import catalog
from regraft.console.part import show_part
from regraft.data.table import ImageTable
from regraft.errors import ArtefactError, ConfigError, DecodeError, UsageError
from regraft.features import engines, extract, part_file
from regraft.features import one_pass as one_pass_of
from regraft.features.extraction import Extraction
from regraft.features.part import Part
from regraft.features.parts import Parts
from regraft.features.recipe import Recipe
from regraft.features.shard import Shard
from regraft.features.store import Store
from regraft.features.strips import recipe_for
from regraft.images.facts import rejected_facts
from regraft.images.facts_table import FactsTable
from regraft.record.configuration import RunConfig
from regraft.workflows import fitting, sharding
from regraft.workflows.preparation import read

pytestmark = pytest.mark.numerics

BACKBONE = "random:test_efficientnet"
LONG_AGO_NS = 10**18


@pytest.fixture(scope="module")
def room(make_room: Callable[[str], Path], make_photos: Callable[..., Path]) -> Path:
    """``photos`` of 18 pictures and two files that are none, and the cache with the engine."""
    folder = make_room("parts")
    make_photos(folder / "photos", n=6, size_px=48)
    (folder / "photos" / "discs" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    (folder / "photos" / "stripes" / "empty.jpg").touch()
    age(folder / "photos")
    return folder


@pytest.fixture(autouse=True)
def cache_of_room(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGRAFT_CACHE", str(room / "cache"))


def age(folder: Path) -> None:
    for path in folder.rglob("*"):
        os.utime(path, ns=(LONG_AGO_NS, LONG_AGO_NS), follow_symlinks=False)


def config(room: Path) -> RunConfig:
    return RunConfig(str(room / "photos"), backbone=BACKBONE)


def make(room: Path, out: Path, shard: str, **options: Any) -> sharding.Made:
    return sharding.make_part(
        config(room), Shard.parse(shard), out, uses_store=False, offline=True, **options
    )


def one_pass(room: Path, table: ImageTable | None = None, **options: Any) -> Extraction:
    built = engines.locate(catalog.resolve(BACKBONE), device="auto", offline=True)
    with Store.nowhere() as nothing:
        return extract.run(table or read(config(room)), built, nothing, **options)


def merged(room: Path, out: Path, table: ImageTable | None = None) -> tuple[Extraction, list[str]]:
    said: list[str] = []
    built = engines.locate(catalog.resolve(BACKBONE), device="auto", offline=True)
    parts = Parts.open(out, recipe_for(built.info), say=said.append)
    return one_pass(room, table, parts=parts), said


def same(one: Extraction, other: Extraction) -> None:
    assert one.X.tobytes() == other.X.tobytes()
    assert one.facts == other.facts
    assert one.table.paths.tolist() == other.table.paths.tolist()
    assert one.table.rejected == other.table.rejected


@pytest.fixture(scope="module")
def whole(room: Path) -> Extraction:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_CACHE", str(room / "cache"))
        return one_pass(room)


@pytest.mark.parametrize("order", [["1/1"], ["3/3", "1/3", "2/3"], ["2/7", *(
    f"{n}/7" for n in (7, 1, 3, 6, 5, 4)
)]])  # fmt: skip
def test_parts_in_any_order_are_the_bits_of_one_pass(
    room: Path, tmp_path: Path, whole: Extraction, order: list[str]
) -> None:
    for shard in order:
        make(room, tmp_path, shard)
    found, said = merged(room, tmp_path)
    same(found, whole)
    assert len(whole.table.rejected) == 2
    assert (found.computed, found.from_parts, found.from_store) == (0, 18, 0)
    assert said == [f"{tmp_path}: 20 images from {len(order)} part{'s' * (len(order) > 1)}"]


def test_a_part_that_is_there_is_not_made_again_and_of_other_files_it_is(
    room: Path, tmp_path: Path
) -> None:
    first = make(room, tmp_path, "1/2")
    assert not first.was_there
    again = make(room, tmp_path, "1/2")
    assert (again.was_there, again.path) == (True, first.path)
    path = next(iter(sorted((room / "photos" / "discs").glob("*.jpg"))))
    os.utime(path, ns=(LONG_AGO_NS + 10**9, LONG_AGO_NS))
    try:
        assert not make(room, tmp_path, "1/2").was_there or os.stat(path).st_mtime_ns == LONG_AGO_NS
    finally:
        os.utime(path, ns=(LONG_AGO_NS, LONG_AGO_NS))
    assert len(list(tmp_path.glob("part-*"))) == 1


def test_a_file_of_another_time_is_told_by_its_content_and_of_other_content_is_computed(
    room: Path, tmp_path: Path, whole: Extraction, make_photos: Callable[..., Path]
) -> None:
    photos = make_photos(tmp_path / "photos", n=3, size_px=48)
    age(photos)
    of = RunConfig(str(photos), backbone=BACKBONE)
    out = tmp_path / "parts"
    sharding.make_part(of, Shard(), out, uses_store=False, offline=True)
    files = sorted(photos.rglob("*.jpg"))
    os.utime(files[0])
    os.replace(files[2], files[1])
    files[2].with_name("new.jpg").write_bytes(files[0].read_bytes() + b"\0")
    found, said = merged(room, out, read(of))
    same(found, one_pass(room, read(of)))
    # Moved onto another's name and touched: read, told by their content. New bytes: computed.
    assert (found.computed, found.known, found.from_parts) == (1, 2, 6)
    assert said == [
        f"{out}: 6 images from 1 part; 3 are read here (2 with another size or time); "
        "1 image of the parts is not among the data"
    ]


def test_data_that_are_mounted_elsewhere_are_the_same_data(
    room: Path, tmp_path: Path, whole: Extraction
) -> None:
    make(room, tmp_path / "parts", "1/1")
    os.symlink(room / "photos", tmp_path / "mounted")
    table = read(RunConfig(str(tmp_path / "mounted"), backbone=BACKBONE))
    found, _ = merged(room, tmp_path / "parts", table)
    assert found.X.tobytes() == whole.X.tobytes()
    assert found.from_parts == 18


def test_what_could_not_be_read_when_a_part_was_made_is_read_another_time(
    room: Path, tmp_path: Path, whole: Extraction, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that does not answer for a minute costs no image for good, and no second pass."""
    silent = str(whole.table.paths[4])
    asked: list[str] = []
    reading = one_pass_of.content_of

    def failing(path: Any) -> Any:
        asked.append(path)
        if path == silent:
            raise DecodeError("the object cannot be read: the server said 503")
        return reading(path)

    with monkeypatch.context() as patch:
        patch.setattr(one_pass_of, "content_of", failing)
        assert len(make(room, tmp_path, "1/1").part.unread) == 1
        asked.clear()
        assert make(room, tmp_path, "1/1").was_there
        assert asked == [silent]
        assert silent in [entry.path for entry in merged(room, tmp_path)[0].table.rejected]
    found, said = merged(room, tmp_path)
    same(found, whole)
    assert said == [f"{tmp_path}: 19 images from 1 part; 1 are read here"]
    mended = make(room, tmp_path, "1/1")
    assert (mended.was_there, mended.part.unread) == (False, [])
    assert merged(room, tmp_path)[0].computed == 0
    assert len(list(tmp_path.glob("part-*"))) == 1


def test_a_full_disk_is_said_in_words_and_leaves_nothing(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, tensors: Any) -> None:
        path.write_bytes(bytes(100))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(part_file.tensor_file, "write", full)
    with pytest.raises(ArtefactError, match="cannot be written: No space left") as refused:
        make(room, tmp_path, "1/1")
    assert "make room" in refused.value.cure
    assert not list(tmp_path.iterdir())


def test_of_many_images_that_cannot_be_read_some_are_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bad = {place: rejected_facts(0, b"", DecodeError("no answer")) for place in range(1000)}
    part = Part(
        Recipe(weights_digest="ab", taps=("final",), pooling=("mean",), preprocess={},
               precision="fp32", engine="none", decoder="1"),
        [f"{place}.jpg" for place in bad], np.zeros((1000, 2), np.int64), FactsTable(0),
        np.ones((0, 4), np.float32), bad, Shard(1, 2),
    )  # fmt: skip
    show_part(sharding.Made(part, Path("p.safetensors"), RunConfig("photos")), as_json=False)
    said = capsys.readouterr()
    assert said.out.count("not read:") == 10
    assert "… and 990 more (--json lists all)" in said.out
    assert "asks again for 1,000 images that could not be read" in said.err


# ---- refusals -------------------------------------------------------------------------------


def test_a_missing_shard_is_refused_with_the_command_that_makes_it(
    room: Path, tmp_path: Path
) -> None:
    make(room, tmp_path, "2/3")
    with pytest.raises(ArtefactError, match=r"2 shards of 3 are missing: 1/3, 3/3") as refused:
        merged(room, tmp_path)
    assert f"regraft features DATA --shard 1/3 --out {tmp_path}" in refused.value.cure
    assert refused.value.missing == [1, 3]


def test_a_division_that_is_whole_counts_whatever_lies_beside_it(
    room: Path, tmp_path: Path, whole: Extraction
) -> None:
    for shard in ("1/2", "2/2", "1/5", "2/5", "4/5"):
        make(room, tmp_path, shard)
    same(merged(room, tmp_path)[0], whole)


def test_no_parts_are_refused(room: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there are no parts in"):
        merged(room, tmp_path)


CHANGES = {
    "precision": "bf17", "engine": "openvino 1999.1", "weights_digest": "00" * 32, "decoder": "0",
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_part_of_another_recipe_is_refused_with_both(
    room: Path, tmp_path: Path, name: str
) -> None:
    made = make(room, tmp_path, "1/1")
    made.path.unlink()
    other = dataclasses.replace(made.part.recipe, **{name: CHANGES[name]})
    path = part_file.write(dataclasses.replace(made.part, recipe=other), tmp_path)
    with pytest.raises(ArtefactError) as refused:
        merged(room, tmp_path)
    here = getattr(made.part.recipe, name)
    shown = lambda text: text if len(text) <= 60 else text[:57]  # noqa: E731
    assert f"{name} {shown(CHANGES[name])}" in refused.value.rule
    assert f"here {shown(here)}" in refused.value.rule
    assert refused.value.place == str(path)


def test_every_flipped_byte_and_every_cut_is_found(room: Path, tmp_path: Path) -> None:
    made = make(room, tmp_path, "1/4")
    data = made.path.read_bytes()
    random, n_found = np.random.default_rng(0), 0
    for at in [0, 7, 9, len(data) - 1, *random.integers(0, len(data), 60).tolist()]:
        changed = bytearray(data)
        changed[at] ^= 1 << int(random.integers(8))
        made.path.write_bytes(changed)
        try:
            found = part_file.read(made.path)
        except ArtefactError as error:
            assert error.rule.startswith("the part cannot be used")  # noqa: PT017
            n_found += 1
        else:  # a blank of the header, or its word for PyTorch
            assert found.X.tobytes() == made.part.X.tobytes()
            assert list(found.facts) == list(made.part.facts)
    assert n_found >= 60
    for length in [0, 4, 100, len(data) // 2, len(data) - 1]:
        made.path.write_bytes(data[:length])
        with pytest.raises(ArtefactError, match="the part cannot be used") as refused:
            part_file.read(made.path)
        assert f"--shard 1/4 --out {tmp_path}" in refused.value.cure
    made.path.write_bytes(data)
    assert len(part_file.read(made.path)) == 5


def test_a_part_is_whole_or_not_there(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(path: Path, tensors: Any) -> str:
        path.write_bytes(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(part_file.tensor_file, "write", dies)
    with pytest.raises(KeyboardInterrupt):
        make(room, tmp_path, "1/2")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("head", ["ridge", "ncm", "logistic", "svm", "knn"])
def test_heads_that_cannot_go_over_rows_in_parts_are_refused_where_these_fill_the_memory(
    room: Path, head: str
) -> None:
    built = engines.locate(catalog.resolve(BACKBONE), device="auto", offline=True)
    of = RunConfig(str(room / "photos"), backbone=BACKBONE, head=head)
    X = np.zeros((1000, built.info.n_features), np.float32)
    fitting.require_room_for_head(of, X, built.info, memory=2**30)
    if head in ("ridge", "ncm"):
        fitting.require_room_for_head(of, X, built.info, memory=2**20)
        return
    with pytest.raises(ConfigError, match=f"head '{head}' holds the features of all 1,000") as no:
        fitting.require_room_for_head(of, X, built.info, memory=2**20)
    assert "--head ridge" in no.value.cure


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/0", "-1/4", "1/4/2", ""])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="a shard is i/n"):
        Shard.parse(text)


def test_more_shards_than_images_and_a_measured_scale_are_refused(
    room: Path, tmp_path: Path
) -> None:
    with pytest.raises(Exception, match="shard 1/50 has no image: there are 20"):
        make(room, tmp_path, "1/50")
    measured = dataclasses.replace(config(room), scale="auto-per-set")
    with pytest.raises(UsageError, match="a shard sees its own only"):
        sharding.make_part(measured, Shard(), tmp_path)


@given(n_rows=st.integers(0, 500), of=st.integers(1, 80))
def test_shards_have_every_row_once_in_order(n_rows: int, of: int) -> None:
    shards = [Shard(n, of).rows(n_rows) for n in range(1, of + 1)]
    assert [row for rows in shards for row in rows] == list(range(n_rows))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


# ---- the command line -----------------------------------------------------------------------


def test_shards_by_hand_give_the_predictions_of_one_train(
    room: Path, tmp_path: Path, run_warm: Callable[..., Any]
) -> None:
    given = [room / "photos", "--backbone", BACKBONE, "--no-report", "--json"]
    env = {"REGRAFT_CACHE": str(room / "cache")}
    alone = run_warm("train", *given, "--out", "alone", env=env)
    assert alone.returncode == 0, alone.stderr
    for shard in ("2/2", "1/2"):
        done = run_warm(
            "features", room / "photos", "--backbone", BACKBONE, "--shard", shard, "--out",
            "parts", "--no-store", "--json", env=env,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["images"] == 9
    again = run_warm(
        "features", room / "photos", "--backbone", BACKBONE, "--shard", "2/2", "--out", "parts",
        "--no-store", env=env,
    )  # fmt: skip
    line = f"regraft train {room}/photos --backbone {BACKBONE} --features parts"
    assert f"with all parts: {line}" in again.stderr, "what was given here is needed there too"
    env = {"REGRAFT_CACHE": str(tmp_path / "cold")}
    merged = run_warm("train", *given, "--out", "merged", "--features", "parts", env=env)
    assert merged.returncode == 0, merged.stderr
    one, other = (json.loads(done.stdout) for done in (alone, merged))
    assert other["features"]["from_parts"] == 18
    assert other["features"]["computed"] == 0
    for name in ("predictions.csv",):
        assert (tmp_path / one["run"] / name).read_bytes() == (
            tmp_path / other["run"] / name
        ).read_bytes()
    assert (tmp_path / one["model"] / "regraft.safetensors").read_bytes() == (
        tmp_path / other["model"] / "regraft.safetensors"
    ).read_bytes()
    (tmp_path / "parts").joinpath(sorted(os.listdir(tmp_path / "parts"))[0]).unlink()
    refused = run_warm("train", *given, "--features", "parts", env=env)
    assert refused.returncode == 5
    assert "1 shard of 2 is missing: 1/2" in refused.stderr


def test_names_that_are_no_text_come_back(tmp_path: Path) -> None:
    recipe = Recipe(
        weights_digest="ab", taps=("final",), pooling=("mean",), preprocess={"size": 2},
        precision="fp32", engine="none", decoder="1",
    )  # fmt: skip
    names = [os.fsdecode(b"caf\xe9/1.jpg"), "a\nb.jpg", 'quote".jpg', "\U0001f41d.jpg"]
    bad = {n: rejected_facts(0, bytes(32), ArtefactError("no")) for n in range(4)}  # type: ignore[arg-type]
    empty = np.zeros((0, 3), np.float32)
    made = Part(recipe, names, np.zeros((4, 2), np.int64), FactsTable(0), empty, bad)
    assert part_file.read(part_file.write(made, tmp_path)).names == names
