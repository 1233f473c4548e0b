"""`regraft teach` over HTTP: what comes in, is done, told and taken away, and who may."""

from __future__ import annotations

import csv
import http.client
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regraft.errors import UsageError
from regraft.model import scoring
from regraft.server import teach
from regraft.server.guard import COOKIE, Doors
from regraft.server.teach_app import OPEN_PATHS
from served import Reply, Running, form, wait_until
from taught import room_of, teaching

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def drawn(make_room: Callable[[str], Path], make_photos: Callable[..., Path]) -> Path:
    """Thirty pictures of each of two shapes, in class folders."""
    return make_photos(make_room("drawn"), classes=("discs", "stripes"), n=30, size_px=64)


@pytest.fixture
def server(engine_cache: Path, tmp_path: Path) -> Iterator[Running]:
    with teaching(tmp_path / "taught") as found:
        yield found


def add(server: Running, files: list[tuple[str, bytes]], query: str = "") -> dict[str, Any]:
    body, kind = form(files)
    reply = server.ask(f"/api/pictures?{query}", body, Content_Type=kind)
    assert reply.status == 200, reply.body
    found: dict[str, Any] = reply.json
    return found


def do(server: Running, deed: str, **given: Any) -> Reply:
    return server.ask(f"/api/{deed}", json.dumps(given).encode(), Content_Type="application/json")


def fill(server: Running, drawn: Path, *, n: int = 30) -> dict[str, Any]:
    """The two classes, as a folder that is dropped; taught."""
    files = [
        (f"drawn/{path.parent.name}/{path.name}", path.read_bytes())
        for name in ("discs", "stripes")
        for path in sorted((drawn / name).iterdir())[:n]
    ]
    found = add(server, files)
    room_of(server).wait_until_taught()
    return found


def pictures(server: Running, since: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = server.ask(f"/api/pictures?since={since}").json
    return found


@pytest.mark.parametrize("waiting", [None, 0, 1], ids=["all", "an_empty_class", "one_of_a_class"])
def test_a_dropped_folder_becomes_a_scored_model_that_evaluate_scores_alike(
    server: Running, drawn: Path, waiting: int | None
) -> None:
    assert len(fill(server, drawn)["added"]) == 60
    if waiting is not None:
        do(server, "class/add", name="moths")
        room_of(server).changed()
        if waiting:
            picture = min((drawn / "discs").iterdir()).read_bytes() + b"a byte more"
            add(server, [("moth.jpg", picture)], "label=moths")
        room_of(server).wait_until_taught()
    told = server.ask("/api/lesson").json
    assert told["waiting"] == ([] if waiting is None else ["moths"])
    score = told["score"]["accuracy"]
    assert told["missing"] == ""
    assert 0 <= score["low"] <= score["value"] <= score["high"] <= 1
    assert told["n_teaching"] + told["score"]["n"] == 60
    kept = do(server, "keep").json
    table = server.ask("/out/pictures.csv").body.decode()
    project = room_of(server).project
    (project.folder / "pictures.csv").write_text(table)
    scored = scoring.evaluate_model(kept["model"], str(project.folder / "pictures.csv"))
    assert scored.evaluation.split == "test"
    assert scored.evaluation.accuracy.to_dict() == pytest.approx(score)
    assert scored.evaluation.n == told["score"]["n"]


def test_what_is_told_since_a_version_is_what_has_changed(server: Running, drawn: Path) -> None:
    fill(server, drawn, n=6)
    before = pictures(server)
    assert before["is_all"]
    number = before["pictures"][0][0]
    assert do(server, "label", pictures=[number], label="stripes").status == 200
    told = pictures(server, before["version"])
    assert [row[0] for row in told["pictures"]] == [number]
    assert told["pictures"][0][1].startswith("stripes/")
    assert told["undo"] == "label 1 picture as stripes"
    do(server, "undo")
    assert pictures(server)["pictures"][0][1].startswith("discs/")
    do(server, "redo")
    do(server, "remove", pictures=[number])
    assert pictures(server, told["version"])["removed"] == [number]
    trash = room_of(server).project.folder / ".regraft" / "trash"
    assert len(list(trash.iterdir())) == 1


def test_bad_files_and_those_there_already_are_named_and_the_others_kept(
    server: Running, drawn: Path
) -> None:
    good = next((drawn / "discs").iterdir()).read_bytes()
    files = [("a.jpg", good), ("b.jpg", good[:200]), ("c.heic", b"\0\0\0\x18ftypheic"),
             ("again.jpg", good)]  # fmt: skip
    told = add(server, files, "label=discs")
    assert len(told["added"]) == 1
    assert [one["name"] for one in told["refused"]] == ["b.jpg", "c.heic", "again.jpg"]
    assert "ends early" in told["refused"][0]["reason"]
    assert "HEIC" in told["refused"][1]["reason"]
    assert "there already" in told["refused"][2]["reason"]


def test_a_zip_keeps_its_classes_and_leads_nowhere_else(server: Running, drawn: Path) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for path in sorted(drawn.rglob("*.jpg"))[::6]:
            archive.write(path, f"x/{path.parent.name}/{path.name}")
        archive.writestr("x/__MACOSX/discs/._a.jpg", b"no picture")
    told = server.ask("/api/archive", data.getvalue(), Content_Type="application/zip").json
    assert len(told["added"]) == 10
    assert told["refused"] == []
    assert pictures(server)["classes"] == ["discs", "stripes"]
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("../../evil.jpg", b"x")
    refused = server.ask("/api/archive", data.getvalue(), Content_Type="application/zip")
    assert refused.status == 409
    assert "outside" in refused.json["error"]
    own = room_of(server).project.folder / ".regraft"
    assert sorted(path.name for path in own.iterdir()) == ["journal.jsonl", "lock"]


def test_next_says_nothing_of_what_is_set_aside_and_nothing_of_it_is_accepted(
    server: Running, drawn: Path
) -> None:
    files = [(path.name, path.read_bytes()) for path in sorted((drawn / "discs").iterdir())]
    add(server, files[:20], "label=discs")
    add(server, [(p.name, p.read_bytes()) for p in sorted((drawn / "stripes").iterdir())[:20]],
        "label=stripes")  # fmt: skip
    add(server, files[20:])
    room = room_of(server)
    room.wait_until_taught()
    asked = server.ask("/api/next?n=20").json["pictures"]
    held = {one.number for one in room.project.shown() if one.is_held}
    assert {row["number"] for row in asked if row["held"]} == held & {r["number"] for r in asked}
    assert all(bool(row["top"]) != row["held"] for row in asked)
    assert held.isdisjoint(server.ask("/api/lesson").json["guesses"]["numbers"])
    assert do(server, "accept", above=0.5).status == 200
    left = [one for one in room.project.shown() if one.label is None]
    assert {one.number for one in left} == {
        one.number for one in room.project.shown() if one.is_held and one.label is None
    }


def test_news_reaches_two_listeners(server: Running, drawn: Path) -> None:
    tabs = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=20) for _ in range(2)]
    streams = []
    for tab in tabs:
        tab.request("GET", "/api/events")
        streams.append(tab.getresponse())
    assert all(stream.readline() == b"event: hello\n" for stream in streams)
    do(server, "class/add", name="ants")
    for stream in streams:
        lines: list[bytes] = []
        while b"event: changed\n" not in lines:
            lines.append(stream.readline())
        assert json.loads(stream.readline().removeprefix(b"data: "))["version"] == 1
    for tab in tabs:
        tab.close()


def test_a_change_on_disk_is_noticed(
    server: Running, drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regraft.teaching.classroom.DISK_S", 0.05)
    fill(server, drawn, n=4)
    folder = room_of(server).project.folder
    room_of(server).changed()
    (folder / "crosses").mkdir()
    one = next((folder / "discs").iterdir())
    one.rename(folder / "crosses" / one.name)
    assert wait_until(lambda: "crosses" in pictures(server)["classes"])
    assert wait_until(lambda: f"crosses/{one.name}" in {r[1] for r in pictures(server)["pictures"]})
    (folder / "crosses" / one.name).write_bytes(b"\xff\xd8\xffbroken")
    assert wait_until(lambda: bool(pictures(server)["bad"]))
    (folder / "crosses" / one.name).unlink()
    assert wait_until(lambda: len(pictures(server)["pictures"]) == 7)
    assert wait_until(lambda: not pictures(server)["bad"])


def test_pictures_are_shown_small_and_heat_and_nearest_are_found(
    server: Running, drawn: Path
) -> None:
    number = fill(server, drawn, n=8)["added"][0]
    small = server.ask(f"/small/{number}?d=1")
    assert small.headers["content-type"] == "image/jpeg"
    assert "immutable" in small.headers["cache-control"]
    heat = server.ask(f"/api/heat/{number}?label=stripes")
    assert heat.body.startswith(b"\x89PNG")
    near = server.ask(f"/api/near/{number}").json["near"]
    assert len(near) == 6
    assert number not in {one["number"] for one in near}
    assert server.ask("/small/999").status == 404


def test_a_picture_is_tried_and_not_kept(server: Running, drawn: Path) -> None:
    before = do(server, "keep")
    assert before.status == 409
    assert before.json["cure"] == "add a first class"
    fill(server, drawn, n=20)
    data = sorted((drawn / "stripes").iterdir())[-1].read_bytes()
    told = server.ask("/api/try", data).json
    assert told["label"] == "stripes"
    assert {"top", "set", "typical", "heatmap", "near"} <= set(told)
    assert len(pictures(server)["pictures"]) == 40
    assert server.ask("/api/try", b"GIF89a").status == 422


@pytest.mark.parametrize(("n", "can_tell"), [(9, False), (30, True)])
def test_none_of_these_is_said_where_enough_was_learnt_and_else_why_not(
    server: Running, drawn: Path, n: int, can_tell: bool
) -> None:
    """2 % takes 49 pictures; with fewer it was never said, without a word."""
    fill(server, drawn, n=n)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    add(server, [("noise.png", _png(noise))])
    told = server.ask("/api/try", _png(noise)).json
    odd = server.ask("/api/odd").json
    assert told["none_of_these"] is can_tell
    assert ("why_never_none" in told) is ("why_none" in odd) is not can_tell
    assert len(odd["pictures"]) == int(can_tell)
    if not can_tell:
        assert "needs 19 pictures" in told["why_never_none"]
        assert odd["why_none"] == told["why_never_none"]


def _png(pixels: np.ndarray) -> bytes:
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "PNG")
    return written.getvalue()


def test_a_copy_in_another_class_is_listed(server: Running, drawn: Path) -> None:
    fill(server, drawn, n=4)
    picture, copied = min((drawn / "discs").iterdir()), io.BytesIO()
    Image.open(picture).save(copied, "PNG")
    (number,) = add(server, [("copy.png", copied.getvalue())], "label=stripes")["added"]
    room_of(server).wait_until_taught()
    (group,) = server.ask("/api/copies").json["groups"]
    assert number in group
    assert len(group) == 2
    assert len({one.is_held for one in room_of(server).project.shown() if one.number in group}) == 1


def test_the_labels_leave_as_table_tasks_and_zip(server: Running, drawn: Path) -> None:
    fill(server, drawn, n=5)
    rows = list(csv.DictReader(io.StringIO(server.ask("/out/pictures.csv").body.decode())))
    assert {row["label"] for row in rows} == {"discs", "stripes"}
    tasks = server.ask("/out/label-studio.json").json
    assert tasks[0]["annotations"][0]["result"][0]["value"] == {"choices": ["discs"]}
    with zipfile.ZipFile(io.BytesIO(server.ask("/out/folder.zip").body)) as archive:
        assert archive.testzip() is None
        names = [name for name in archive.namelist() if name.endswith(".jpg")]
    assert sorted(names) == sorted(f"{row['split']}/{row['path']}" for row in rows)


def test_a_model_that_was_kept_leaves_as_a_zip_that_answers(
    server: Running, drawn: Path, tmp_path: Path
) -> None:
    fill(server, drawn)
    name = do(server, "keep").json["name"]
    reply = server.ask(f"/out/{name}/model.zip")
    assert f'filename="{name}-model.zip"' in reply.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(reply.body)) as archive:
        archive.extractall(tmp_path / "elsewhere")
    for part, status in (("export-onnx", 409), ("..%2f..", 404), ("journal.jsonl", 409)):
        assert server.ask(f"/out/{name}/{part}.zip").status == status
    table = room_of(server).project.folder / "table.csv"
    table.write_bytes(server.ask("/out/pictures.csv").body)
    scored = scoring.evaluate_model(str(tmp_path / "elsewhere" / "model"), str(table))
    shown = server.ask("/api/lesson").json["score"]["accuracy"]["value"]
    assert scored.evaluation.accuracy.value == pytest.approx(shown)


@pytest.mark.slow  # trains in a process of its own, as the button does
def test_a_button_trains_and_the_report_may_do_nothing_here(server: Running, drawn: Path) -> None:
    fill(server, drawn)
    begun = do(server, "train", way="probe").json
    table = room_of(server).project.folder / ".regraft" / "pictures.csv"
    assert begun["command"].startswith(f"regraft train {table} --out ")  # as typed from anywhere
    assert do(server, "train", way="probe").status == 409
    assert wait_until(lambda: not server.ask("/api/use").json["job"]["is_running"], 120)
    told = server.ask("/api/use").json
    assert told["job"]["code"] == 0, told["job"]["lines"]
    (run,) = told["runs"]
    assert run["accuracy"]["value"] <= 1
    report = server.ask(f"/report/{run['name']}")
    assert "sandbox" in report.headers["content-security-policy"]
    assert server.ask("/report/..%2f..%2fx").status in (404, 409)


def test_a_page_of_another_site_and_another_name_are_refused(server: Running) -> None:
    body = json.dumps({"name": "evil"}).encode()
    for headers in (
        {"Origin": "http://evil.example"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Host": "evil.example"},
    ):
        assert server.ask("/api/class/add", body, **headers).status in (403, 421)
    assert pictures(server)["classes"] == []


def test_a_token_opens_and_its_cookie_shows_pictures(
    engine_cache: Path, tmp_path: Path, drawn: Path
) -> None:
    doors = Doors(token="s3cret", open_paths=OPEN_PATHS)
    with teaching(tmp_path / "taught", doors) as server:
        assert server.ask("/").status == 200
        assert server.ask("/api/pictures").status == 401
        assert server.ask("/api/session", b"{}").status == 401
        opened = server.ask("/api/session", b"{}", Authorization="Bearer s3cret")
        cookie = opened.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert "s3cret" not in cookie
        assert server.ask("/api/pictures", Cookie=cookie.split(";")[0]).status == 200
        assert server.ask("/api/pictures", Cookie=f"{COOKIE}=x").status == 401


@pytest.mark.parametrize(
    ("deed", "given", "says"),
    [
        ("label", {"pictures": "all", "label": "a"}, "numbers of pictures"),
        ("label", {"pictures": [9], "label": "a"}, "not there any more"),
        ("class/add", {"name": "a/b"}, "becomes a folder"),
        ("class/add", {}, "'name' was expected"),
        ("class/remove", {"name": "x"}, "no class 'x'"),
        ("accept", {"above": 0.1}, "from 0.5 to 1"),
        ("train", {"way": "rm -rf"}, "no way"),
        ("export", {"run": "../..", "to": "onnx"}, "no run"),
        ("undo", {}, "nothing to undo"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(
    server: Running, deed: str, given: dict[str, Any], says: str
) -> None:
    reply = do(server, deed, **given)
    assert reply.status == 409
    assert says in reply.json["error"]


def test_a_folder_of_splits_is_refused_with_the_line_to_type(
    run_cli: Run, engine_cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "photos" / "train" / "ants").mkdir(parents=True)
    refused = run_cli("teach", "photos", "--port", "0", "--no-browser")
    assert refused.returncode == 2
    assert "regraft teach photos/train" in refused.stderr


@pytest.mark.parametrize("file", ["run.json", "unfinished.json", "config.json"])
def test_a_run_or_a_model_is_no_folder_to_teach(file: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text("{}")
    with pytest.raises(UsageError, match=r"is a (run|model) of Regraft, no folder of photographs"):
        teach.teach(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [file]
