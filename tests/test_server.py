"""The server over real connections: answers, refusals, limits, who may ask, an orderly end."""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bad_files import make_battery
from regraft.model import predicting, tested_promises
from regraft.probe.doubts import Levels
from regraft.server import app, models, openapi
from regraft.server.guard import Doors
from regraft.server.limits import MIB, Limits
from regraft.server.logs import Log
from regraft.server.models import Models
from served import LIMITS, Running, form, serving, wait_until


@pytest.fixture(scope="module")
def room(served_room: Path) -> Path:
    return served_room


@pytest.fixture(autouse=True)
def in_room(room: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache is the room's."""
    monkeypatch.setenv("REGRAFT_CACHE", str(room / "cache"))


@pytest.fixture(scope="module")
def served(room: Path) -> Iterator[Models]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_CACHE", str(room / "cache"))
        yield models.opened([room / "runs" / "r" / "model"])


@pytest.fixture(scope="module")
def server(served: Models) -> Iterator[Running]:
    with serving(served) as found:
        yield found


@pytest.fixture(scope="module")
def photos(room: Path) -> list[Path]:
    return sorted((room / "photos" / "val").rglob("*.jpg"))


def test_an_answer_is_the_object_that_predict_prints(
    server: Running, room: Path, photos: list[Path]
) -> None:
    model = room / "runs" / "r" / "model"
    body, kind = form([(path.name, path.read_bytes()) for path in photos])
    reply = server.ask("/predict", body, Content_Type=kind)
    assert (reply.status, reply.json["model"]) == (200, "r")
    for path, row in zip(photos, reply.json["predictions"], strict=True):
        (wanted,) = predicting.predict(model, str(path)).rows()
        assert row == {**wanted, "path": path.name}
        alone = server.ask("/predict", path.read_bytes(), Content_Type="image/jpeg")
        assert alone.json["predictions"] == [{**row, "path": "image 1 (bytes)"}]
    # Among others, NumPy's product of matrices rounds otherwise than that of one row.
    together = predicting.predict(model, list(map(str, photos)))
    for one, row in zip(together.rows(), reply.json["predictions"], strict=True):
        assert row["label"] == one["label"]
        assert row["probability"] == pytest.approx(one["probability"], abs=1.1e-6)


def test_one_bad_of_sixteen_leaves_fifteen_answers(server: Running, photos: list[Path]) -> None:
    files = [(f"{number}.jpg", photos[number % 12].read_bytes()) for number in range(16)]
    files[7] = ("broken.jpg", files[7][1][:200])
    body, kind = form(files)
    reply = server.ask("/predict?top=1", body, Content_Type=kind)
    rows = reply.json["predictions"]
    assert reply.status == 200
    assert [row["path"] for row in rows] == [name for name, _ in files]
    assert [number for number, row in enumerate(rows) if "error" in row] == [7]
    assert rows[7]["mend"]


def test_no_bad_file_is_a_fault_of_the_server(server: Running, tmp_path: Path) -> None:
    cases = [case for case in make_battery(tmp_path) if case.path.is_file()]
    assert len(cases) > 50
    for case in cases:
        data = case.path.read_bytes()
        alone = server.ask("/predict", data, Content_Type="application/octet-stream")
        wanted = 200 if case.outcome == "ok" else 400 if not data else 422
        assert alone.status == wanted, (case.name, alone.body)
        body, kind = form([(case.name, data)])
        among = server.ask("/predict", body, Content_Type=kind)
        assert among.status == (200 if case.outcome == "ok" else 422), case.name
        (row,) = among.json["predictions"]
        assert ("error" in row) == (case.outcome == "rejected"), case.name
        if case.reason_contains:
            assert case.reason_contains.lower() in row["error"].lower()
    assert server.ask("/health").status == 200


@pytest.mark.parametrize(
    ("path", "body", "kind", "status", "says"),
    [
        ("/predict", b"", "image/jpeg", 400, "no body"),
        ("/predict", b"{}", "application/json", 415, "no picture"),
        ("/predict", b"a=b", "application/x-www-form-urlencoded", 422, "text file"),
        ("/predict?top=0", b"x", "image/jpeg", 400, "1 to"),
        ("/predict?top=99999999999999999999", b"x", "image/jpeg", 400, "1 to"),
        ("/predict?top=1&top=2", b"x", "image/jpeg", 400, "twice"),
        ("/predict?tpo=1", b"x", "image/jpeg", 400, "no option"),
        ("/predict?heatmap=maybe", b"x", "image/jpeg", 400, "1 or 0"),
        ("/predict?model=q", b"x", "image/jpeg", 404, "no model"),
        ("/predict", b"--b--", "multipart/form-data; boundary=b", 400, "no file"),
        ("/predict", b"--b\r\n", "multipart/form-data; boundary=b", 400, "ends early"),
        ("/predict", b"nonsense", "multipart/form-data; boundary=b", 400, "cannot be read"),
        ("/predict", b"x", "multipart/form-data", 400, "boundary"),
        ("/predict", b"x" * (MIB + 1), "image/jpeg", 413, "1 MiB"),
        ("/nothing", None, "image/jpeg", 404, "nothing"),
        ("/predict", None, "image/jpeg", 405, "GET"),
        ("/health", b"x", "image/jpeg", 405, "POST"),
        ("/page/..%2f..%2fapp.py", None, "image/jpeg", 404, ""),
        ("/page/%2e%2e/app.py", None, "image/jpeg", 404, ""),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(
    server: Running, path: str, body: bytes | None, kind: str, status: int, says: str
) -> None:
    reply = server.ask(path, body, Content_Type=kind)
    assert reply.status == status
    assert says in reply.json["error"]
    assert reply.json["request_id"] == reply.headers["x-request-id"]


def test_a_form_may_hold_files_alone_and_not_too_many(server: Running, photos: list[Path]) -> None:
    photo = photos[0].read_bytes()
    body, kind = form([(f"{n}.jpg", photo) for n in range(17)])
    assert server.ask("/predict", body, Content_Type=kind).status == 413
    mark = 'form-data; name="top"'
    body = f"--b\r\nContent-Disposition: {mark}\r\n\r\n5\r\n--b--".encode()
    reply = server.ask("/predict", body, Content_Type="multipart/form-data; boundary=b")
    assert (reply.status, reply.json["cure"]) == (
        400,
        "options stand in the address: /predict?top=5",
    )
    body, kind = form([("large.jpg", bytes(MIB + 1)), ("a.jpg", photo)])
    rows = server.ask("/predict", body, Content_Type=kind).json["predictions"]
    assert rows[0]["error"] == "the file has more than 1 MiB"
    assert rows[1]["label"]


def test_names_are_taken_as_they_come_and_never_logged(server: Running, photos: list[Path]) -> None:
    names = ["<img src=x onerror=alert(1)>.jpg", "../../etc/passwd", "wiese ü \U0001f41d.jpg"]
    body, kind = form([(name, photos[0].read_bytes()) for name in names])
    rows = server.ask("/predict", body, Content_Type=kind).json["predictions"]
    assert [row["path"] for row in rows] == names
    time.sleep(0.2)
    assert "passwd" not in server.log.getvalue()
    assert "onerror" not in server.log.getvalue()


def test_a_heat_map_comes_on_request(server: Running, photos: list[Path]) -> None:
    from PIL import Image

    reply = server.ask("/predict?heatmap=1", photos[0].read_bytes(), Content_Type="image/jpeg")
    (row,) = reply.json["predictions"]
    assert (row["heatmap"]["label"], row["heatmap"]["method"]) == (row["label"], "cam")
    drawn = Image.open(io.BytesIO(base64.b64decode(row["heatmap"]["png"])))
    assert drawn.size == (224, 224)
    assert np.asarray(drawn).std() > 0


def test_sets_and_none_of_these_are_those_of_predict(
    server: Running, room: Path, photos: list[Path]
) -> None:
    model = room / "runs" / "r" / "model"
    for path in photos[:4]:
        (wanted,) = predicting.predict(model, str(path), coverage="60%", reject="20%").rows()
        reply = server.ask("/predict?coverage=60%25&reject=0.2", path.read_bytes())
        (row,) = reply.json["predictions"]
        assert {**row, "path": str(path)} == wanted
        assert {"set", "typical", "none_of_these"} <= set(row)
    for query, says in (
        ("coverage=2", "coverage"),
        ("reject=none", "reject"),
        ("reject=1e-9", "needs at least"),
        ("per_class=1", "per class"),
    ):
        refused = server.ask(f"/predict?{query}", photos[0].read_bytes())
        assert refused.status == 400
        assert says in refused.json["error"]
        assert "--" not in refused.json["cure"]


# -- Who may ask --


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "a@127.0.0.1"])
def test_another_name_is_refused(server: Running, host: str) -> None:
    assert server.ask("/health", Host=host).status == 421
    assert server.ask("/predict", b"x", Host=host).status == 421


def test_pages_of_other_sites_may_not_ask(server: Running, photos: list[Path]) -> None:
    photo, own = photos[0].read_bytes(), f"http://127.0.0.1:{server.port}"
    assert server.ask("/predict", photo, Origin=own).status == 200
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        assert server.ask("/predict", photo, Origin=origin).status == 403
        assert server.ask("/models", Origin=origin).status == 403
    assert server.ask("/predict", photo, Sec_Fetch_Site="cross-site").status == 403
    assert server.ask("/predict", photo, Sec_Fetch_Site="same-site").status == 403
    assert server.ask("/", Sec_Fetch_Site="cross-site").status == 200


def test_a_token_is_asked_for(served: Models, photos: list[Path]) -> None:
    doors = Doors(token="s3cret", open_paths=app.OPEN_PATHS)
    photo = photos[0].read_bytes()
    with serving(served, doors=doors) as server:
        for path in app.OPEN_PATHS:
            assert server.ask(path if path != "/page/" else "/page/app.js").status == 200
        for path in ("/models", "/metrics", "/openapi.json", "/v2", "/v2/models/r"):
            assert server.ask(path).status == 401
            assert server.ask(path, Authorization="Bearer s3cret").status == 200
        for wrong in ("s3cret", "Bearer", "Bearer s3crets", "Basic s3cret", "Bearer ü"):
            refused = server.ask("/predict", photo, Authorization=wrong.encode().decode("latin-1"))
            assert refused.status == 401
            assert refused.headers["www-authenticate"].startswith("Bearer")
        assert server.ask("/predict", photo, Authorization="Bearer s3cret").status == 200


def test_beyond_this_machine_names_cannot_be_rebound() -> None:
    everywhere = Doors("0.0.0.0")
    assert everywhere.knows("10.0.0.3:8000")
    assert everywhere.knows(socket.gethostname())
    assert not everywhere.knows("evil.example")
    assert Doors("0.0.0.0", names=frozenset({"ants.example"})).knows("ants.example")
    assert Doors("0.0.0.0", token="t").knows("any.example")
    assert not Doors("127.0.0.1", token="t").knows("evil.example")


# -- Limits --


def test_a_body_that_is_too_long_is_refused_before_it_is_read(server: Running) -> None:
    with server.open() as connection:
        head = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000000\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413")
    with server.open() as connection:  # and one that does not say how long it is
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        piece, sent = bytes(65536), 0
        connection.settimeout(5)
        with contextlib.suppress(OSError):
            while sent < 64 * MIB:
                connection.sendall(b"10000\r\n" + piece + b"\r\n")
                sent += len(piece)
        assert connection.recv(100).startswith(b"HTTP/1.1 413")
    assert server.service.held.n_bytes == 0
    assert server.ask("/health").status == 200


def test_slow_senders_are_let_go(server: Running) -> None:
    heads = {
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc": b"408",
        b"POST /predict HTTP/1.1\r\nHo": b"408",
        b"": b"408",
    }
    opened = [(server.open(), head, status) for head, status in heads.items() for _ in range(20)]
    for connection, head, _ in opened:
        connection.sendall(head)
    start = time.monotonic()
    for connection, _, status in opened:
        with connection:
            assert connection.recv(100).startswith(b"HTTP/1.1 " + status)
    assert time.monotonic() - start < 5
    assert server.ask("/health").status == 200


@pytest.mark.parametrize(
    "start",
    [
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nA: ",
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"1\r\nx\r\n0\r\n",  # lines after the last chunk
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1;",
    ],
)
def test_lines_without_end_are_refused(server: Running, start: bytes) -> None:
    piece = b"b" * 4000 if start.endswith((b": ", b";")) else b"A: " + b"b" * 4000 + b"\r\n"
    with server.open() as connection:
        sent = 0
        with contextlib.suppress(OSError):
            connection.sendall(start)
            while sent < 8 * MIB:
                connection.sendall(piece)
                sent += len(piece)
        assert sent < 8 * MIB
    assert server.ask("/health").status == 200


def test_what_is_no_http_is_refused(server: Running) -> None:
    for nonsense in (b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"\0" * 100):
        with server.open() as connection:
            connection.sendall(nonsense + b"\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 400")


def test_disconnects_free_their_places(server: Running, photos: list[Path]) -> None:
    photo = photos[0].read_bytes()
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(photo)}\r\n\r\n"
    for number in range(60):
        with server.open() as connection:
            connection.sendall(head.encode() + photo[: len(photo) if number % 2 else 50])
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert wait_until(lambda: server.service.queue.taken == 0 and not server.service.held.n_bytes)
    assert server.ask("/predict", photo).status == 200


def test_a_full_queue_says_when_to_come_back(served: Models, photos: list[Path]) -> None:
    photo = photos[0].read_bytes()
    with serving(served, Limits(places=2, items=2, answer_s=20)) as server:
        gate = threading.Event()
        for _ in range(server.service.queue.n_threads):
            server.service.queue._threads.submit(gate.wait)
        with ThreadPoolExecutor(3) as pool:
            first = [pool.submit(server.ask, "/predict", photo) for _ in range(2)]
            assert wait_until(lambda: server.service.queue.taken == 2)
            third = server.ask("/predict", photo)
            gate.set()
            assert [one.result().status for one in first] == [200, 200]
        assert (third.status, int(third.headers["retry-after"])) == (503, 1)
        assert "2 places" in third.json["error"]


def test_what_takes_too_long_is_given_up(served: Models, photos: list[Path]) -> None:
    with serving(served, Limits(answer_s=0.2)) as server:
        gate = threading.Event()
        for _ in range(server.service.queue.n_threads):
            server.service.queue._threads.submit(gate.wait)
        reply = server.ask("/predict", photos[0].read_bytes())
        gate.set()
        assert (reply.status, reply.headers["retry-after"]) == (503, "1")
        assert wait_until(lambda: server.service.queue.taken == 0)


def test_a_bug_of_ours_is_an_error_of_its_own(
    server: Running, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(served: Any, upload: Any, wanted: Any, real: Any = app.answers.answer) -> Any:
        if upload.name == "b.jpg":
            raise RuntimeError("broken by the test")
        return real(served, upload, wanted)

    monkeypatch.setattr(app.answers, "answer", answer)
    photo = photos[0].read_bytes()
    body, kind = form([("a.jpg", photo), ("b.jpg", photo)])
    reply = server.ask("/predict", body, Content_Type=kind)
    assert reply.status == 200
    assert [("error" in row) for row in reply.json["predictions"]] == [False, True]
    body, kind = form([("b.jpg", photo)])
    assert server.ask("/predict", body, Content_Type=kind).status == 500
    assert wait_until(lambda: '"bug"' in server.log.getvalue())


# -- The protocol, the log, numbers --


def test_the_open_inference_protocol(server: Running, photos: list[Path]) -> None:
    assert server.ask("/v2/health/live").json["live"] is True
    assert server.ask("/v2/models/r/versions/1/ready").json == {"name": "r", "ready": True}
    assert server.ask("/v2/models/r/versions/2").status == 404
    tensors = {t["name"]: t for t in server.ask("/v2/models/r").json["outputs"]}
    assert tensors["probabilities"] == {
        "name": "probabilities",
        "datatype": "FP64",
        "shape": [-1, 3],
    }
    files = [photos[0].read_bytes(), b"none", photos[5].read_bytes()]
    data = [base64.b64encode(one).decode() for one in files]
    request = {"id": "42", "inputs": [
        {"name": "image", "shape": [3], "datatype": "BYTES", "data": data}
    ]}  # fmt: skip
    reply = server.ask("/v2/models/r/infer", json.dumps(request).encode())
    assert (reply.status, reply.json["id"], reply.json["model_name"]) == (200, "42", "r")
    label, proba, error = (one["data"] for one in reply.json["outputs"])
    rows = [server.ask("/predict", one).json["predictions"][0] for one in files]
    assert label == [rows[0]["label"], "", rows[2]["label"]]
    assert error == ["", rows[1]["error"], ""]
    assert round(max(proba[:3]), 6) == rows[0]["probability"]

    tail = b"".join(struct.pack("<I", len(one)) + one for one in files)
    parameters = {"binary_data_size": len(tail)}
    request["inputs"] = [
        {"name": "image", "shape": [3, 1], "datatype": "BYTES", "parameters": parameters}
    ]
    request["outputs"] = [{"name": "probabilities", "parameters": {"binary_data": True}}]
    head = json.dumps(request).encode()
    reply = server.ask(
        "/v2/models/r/infer", head + tail, Inference_Header_Content_Length=str(len(head))
    )
    length = int(reply.headers["inference-header-content-length"])
    (output,) = json.loads(reply.body[:length])["outputs"]
    assert output["parameters"]["binary_data_size"] == len(reply.body) - length == 8 * 9
    assert np.frombuffer(reply.body[length:], "<f8").tolist() == proba


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"{}", b'{"inputs": []}', b'{"inputs": 3}', b"[" * 100_000,
        b'{"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": ["a"]}]}',
        b'{"inputs": [{"name": "image", "shape": [1], "datatype": "FP32", "data": [1]}]}',
        b'{"inputs": [{"name": "image", "shape": [1], "datatype": "FP32"}]}',
        b'{"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES"}]}',
        b'{"inputs": [{"name": "image", "shape": [2], "datatype": "BYTES", "data": ["aa=="]}]}',
        b'{"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": ["&"]}]}',
        b'{"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": ["aaaa"]}]}',
        b'{"inputs": [{"name": "image", "shape": [-1], "datatype": "BYTES", "data": []}]}',
        b'{"inputs": [{"name": "image", "shape": [0], "datatype": "BYTES", "data": []}]}',
        b'{"inputs": [{"name": "image", "shape": [], "datatype": "BYTES", "data": []}]}',
        b'{"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", '
        b'"parameters": {"binary_data_size": 9}}]}',
        b'{"inputs": [{"name": "image", "shape": [99999], "datatype": "BYTES", "data": []}]}',
        b'{"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": ["aaaa"]}], '
        b'"outputs": [{"name": "nothing"}]}',
        b"\xff\xfe", b"null", b'{"inputs": [' + b"1," * 1000 + b"1]}",
    ],
)  # fmt: skip
def test_what_is_no_inference_request_is_refused(server: Running, body: bytes) -> None:
    for headers in ({}, {"Inference_Header_Content_Length": str(len(body))}):
        reply = server.ask("/v2/models/r/infer", body, **headers)
        assert 400 <= reply.status < 500
        assert isinstance(reply.json["error"], str)


def test_lengths_of_binary_tensors_are_checked(server: Running) -> None:
    image = {"name": "image", "shape": [1], "datatype": "BYTES", "parameters": {}}
    for tail in (b"", b"\1", b"\xff\xff\xff\xff", b"\5\0\0\0abc", b"\1\0\0\0abc"):
        image["parameters"] = {"binary_data_size": len(tail)}
        head = json.dumps({"inputs": [image]}).encode()
        for length in (str(len(head)), "-1", "x", "", str(10**9), "9" * 400):
            reply = server.ask(
                "/v2/models/r/infer", head + tail, Inference_Header_Content_Length=length
            )
            assert reply.status == 400


def test_numbers_and_the_log_say_what_was_done(served: Models, photos: list[Path]) -> None:
    with serving(served) as server:
        reply = server.ask("/predict", photos[0].read_bytes(), X_Request_ID="mine-1")
        assert reply.headers["x-request-id"] == "mine-1"
        assert server.ask("/predict", b"no", X_Request_ID="a b").headers["x-request-id"] != "a b"
        server.ask("/secret/name.jpg")
        text = server.ask("/metrics").body.decode()
        assert 'regraft_requests_total{route="/predict",status="200"} 1.0' in text
        assert 'regraft_pictures_total{model="r",outcome="rejected"} 1.0' in text
        assert wait_until(lambda: server.log.getvalue().count("\n") >= 4)
        lines = [json.loads(line) for line in server.log.getvalue().splitlines()]
        assert "name.jpg" not in server.log.getvalue()
    first = lines[0]
    assert (first["event"], first["request"], first["status"]) == ("request", "mine-1", 200)
    assert (first["pictures"], first["bytes"]) == (1, photos[0].stat().st_size)


def test_a_log_that_nobody_reads_stops_nothing() -> None:
    read, write = os.pipe()
    lost: list[int] = []
    with os.fdopen(write, "w") as stream:
        log = Log(stream, lambda: lost.append(1))
        start = time.monotonic()
        for _ in range(30_000):
            log.say("request", status=200)
        assert time.monotonic() - start < 5
        assert lost
        os.close(read)
        assert wait_until(lambda: not log._writer.is_alive())
        with contextlib.suppress(BrokenPipeError):
            stream.close()


def test_every_route_is_described(server: Running) -> None:
    described = openapi.document(LIMITS)["paths"]
    known = {route.path for route in server.service.routes()} - {"/v2/"}
    assert set(described) == known
    assert server.ask("/openapi.json").json["info"]["title"] == "regraft serve"


def test_nothing_is_written(server: Running, photos: list[Path], tmp_path: Path) -> None:
    import tempfile

    before = set(os.listdir(tempfile.gettempdir()))
    body, kind = form([(f"{n}.jpg", photos[0].read_bytes() + bytes(900_000)) for n in range(4)])
    assert server.ask("/predict", body, Content_Type=kind).status in (200, 422)
    assert set(os.listdir(tempfile.gettempdir())) - before == set()


# -- Several models, names --


def test_several_models_answer_by_name(room: Path, photos: list[Path], served: Models) -> None:
    both = Models(
        [served.first, models.Served("other", served.first.classifier, served.first.heat)]
    )
    with serving(both) as server:
        unnamed = server.ask("/predict", photos[0].read_bytes())
        assert (unnamed.status, "other" in unnamed.json["cure"]) == (400, True)
        for name in ("r", "other"):
            reply = server.ask(f"/predict?model={name}", photos[0].read_bytes())
            assert reply.json["model"] == name
        assert "did you mean other?" in server.ask("/predict?model=othr", b"x").json["cure"]
        assert [m["name"] for m in server.ask("/models").json["models"]] == ["r", "other"]


# -- The end --


def test_what_was_asked_is_answered_before_the_end(served: Models, photos: list[Path]) -> None:
    photo = photos[0].read_bytes()
    with serving(served) as server:
        gate = threading.Event()
        for _ in range(server.service.queue.n_threads):
            server.service.queue._threads.submit(gate.wait)
        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(server.ask, "/predict", photo) for _ in range(8)]
            assert wait_until(lambda: server.service.queue.taken == 8)
            server.service.drain.ask()
            assert wait_until(lambda: server.service.drain.is_on)
            time.sleep(0.5)
            with pytest.raises(ConnectionError):
                server.ask("/health")
            gate.set()
            replies = [one.result() for one in asked]
        assert [reply.status for reply in replies] == [200] * 8
        assert {reply.headers["connection"] for reply in replies} == {"close"}


def test_restarts_under_load_lose_nothing(served: Models, photos: list[Path]) -> None:
    """Clients keep their connections; a refused connection is tried again, a cut one is lost."""
    photo, load_on, lost, answered = photos[0].read_bytes(), threading.Event(), [], []
    port = 0

    def client() -> None:
        while not load_on.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            try:
                connection.connect()
            except OSError:
                time.sleep(0.01)
                continue
            with contextlib.closing(connection):
                try:
                    for _ in range(20):
                        connection.request("POST", "/predict", photo)
                        response = connection.getresponse()
                        response.read()
                        answered.append(response.status)
                        if response.getheader("connection") == "close":
                            break
                except (OSError, http.client.HTTPException) as error:
                    lost.append(error)

    with serving(served) as first:
        port = first.port
        threads = [threading.Thread(target=client) for _ in range(4)]
        for thread in threads:
            thread.start()
        assert wait_until(lambda: len(answered) > 10)
    for _ in range(int(os.environ.get("REGRAFT_TEST_RESTARTS", "3"))):
        n_before = len(answered)
        with serving(served, port=port):
            assert wait_until(lambda n=n_before: len(answered) > n + 10)
    load_on.set()
    for thread in threads:
        thread.join(20)
    assert set(answered) == {200}
    assert lost == []


def test_a_promise_that_the_test_missed_is_said_where_it_is_given_again(
    served: Models, photos: list[Path]
) -> None:
    """In the words of `predict`, at the level that was missed; and where the model is described."""
    told = {"coverage": {"0.5": "3 of 9 held", "0.9": ""}, "reject": {"0.2": "", "0.5": "all went"}}
    classifier = served.first.classifier
    card = {**classifier.card, "tested_promises": told}
    mine = Models([replace(served.first, classifier=replace(classifier, card=card))])
    picture = photos[0].read_bytes()

    def cautions(server: Running, **asked: str) -> list[str]:
        options = "&".join(f"{name}={level}" for name, level in asked.items())
        reply = server.ask(f"/predict?{options}", picture, Content_Type="image/jpeg")
        assert reply.status == 200, reply.json
        return list(reply.json.get("cautions", ()))

    with serving(mine) as server:
        missed = tested_promises.missed(card, Levels(coverage=0.5, reject=0.5))
        as_predict = list(tested_promises.cautions(missed))
        assert as_predict[0].startswith(
            "do not count on --coverage: when this model was tested, 3 "
        )
        both = cautions(server, coverage="50%", reject="50%")
        assert [one.replace("do not count on ", "do not count on --") for one in both] == as_predict
        assert len(cautions(server, coverage="50%", reject="25%")) == 1
        assert cautions(server, coverage="85%") == cautions(server, top="1") == []
        described = {"coverage": ["3 of 9 held"], "reject": ["all went"]}
        assert server.ask("/models").json["models"][0]["missed_promises"] == described
        assert server.ask("/v2/models/r").json["parameters"]["missed_promises"] == described
