"""`regraft serve` as people start and stop it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse

from regraft.cli.serve import require_extra
from regraft.errors import UsageError
from regraft.server import models, running
from regraft.server.address import address_of, bound
from regraft.server.limits import Limits
from regraft.server.logs import Log
from regraft.server.running import Drain

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def room(served_room: Path) -> Path:
    return served_room


@pytest.fixture
def start(room: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """``start("--name", "ants")``: the command in a process of its own, at a free port."""
    begun: list[subprocess.Popen[str]] = []

    def begin(*args: str, **environment: str) -> subprocess.Popen[str]:
        regraft = Path(sys.executable).with_name("regraft")
        process = subprocess.Popen(
            [regraft, "serve", room / "runs" / "r" / "model", "--port", "0", *args],
            env={**os.environ, "REGRAFT_CACHE": str(room / "cache"), **environment},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        begun.append(process)
        return process

    yield begin
    for process in begun:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ready(process: subprocess.Popen[str]) -> tuple[list[str], int]:
    """What was said until it was ready, and the port."""
    assert process.stderr is not None
    said: list[str] = []
    while not said or "ready at" not in said[-1]:
        line = process.stderr.readline()
        assert line, said
        said.append(line.rstrip())
    return said, int(said[-1].split("ready at http://")[1].split("/")[0].split(":")[1])


def ask(port: int, path: str, **options: Any) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        connection.request(options.pop("method", "GET"), path, **options)
        response = connection.getresponse()
        return response.status, response.read()


def test_it_says_what_is_served_and_ends_in_order(
    start: Callable[..., subprocess.Popen[str]], room: Path
) -> None:
    process = start("--name", "shapes")
    said, port = ready(process)
    assert said[0].startswith("regraft: shapes: 'discs', 'squares', 'stripes'")
    photo = next((room / "photos" / "val").rglob("*.jpg")).read_bytes()
    assert ask(port, "/predict", method="POST", body=photo)[0] == 200
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    (line,) = [json.loads(line) for line in out.splitlines()]
    assert (line["route"], line["status"], line["pictures"]) == ("/predict", 200, 1)


def test_beyond_this_machine_a_token_is_made(start: Callable[..., subprocess.Popen[str]]) -> None:
    process = start("--host", "0.0.0.0", "-q")
    said, port = ready(process)
    assert [line for line in said if "ready at" not in line] == [], "quiet: the address alone"
    token = said[-1].split("#token=")[1].split(" ")[0]
    assert len(token) > 20
    assert ask(port, "/models")[0] == 401
    assert ask(port, "/models", headers={"Authorization": f"Bearer {token}"})[0] == 200
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0


def test_nothing_heavy_is_imported(run_python: Run, room: Path) -> None:
    program = (
        "import sys\n"
        "from regraft.server import app, models, serving\n"
        f"served = models.opened([{str(room / 'runs' / 'r' / 'model')!r}])\n"
        "heavy = {'torch', 'timm', 'sklearn', 'torchvision', 'matplotlib', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = run_python("-c", program, env={"REGRAFT_CACHE": str(room / "cache")})
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["nothing"], 5, "nothing"),
        (["MODEL", "--name", "a b"], 2, "stands in addresses"),
        (["MODEL", "--name", "a", "--name", "b"], 2, "2 names for 1 models"),
        (["MODEL", "MODEL"], 2, "two models are called"),
        (["MODEL", "--host", "203.0.113.7"], 2, "--host 127.0.0.1"),
        (["MODEL", "--port", "99999"], 2, "65,535"),
        ([], 2, "MODEL"),
    ],
)
def test_what_cannot_be_served_is_refused(
    run_cli: Run, room: Path, args: list[str], code: int, says: str
) -> None:
    model = str(room / "runs" / "r" / "model")
    given = [model if arg == "MODEL" else arg for arg in args]
    given += [] if "--port" in args else ["--port", "0"]
    done = run_cli("serve", *given, env={"REGRAFT_CACHE": str(room / "cache")}, timeout_s=30)
    assert done.returncode == code
    assert says in done.stderr


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"127.0.0.1:{port}.*in use") as caught:
            bound("127.0.0.1", port)
        assert f"--port {port + 1}" in caught.value.cure


def test_of_two_that_start_at_once_one_is_refused() -> None:
    with bound("127.0.0.1", 0) as first:
        second = bound("127.0.0.1", first.getsockname()[1])
        first.listen()
        log, limits = Log(None), Limits()
        with pytest.raises(UsageError, match="meanwhile"):
            running.run(JSONResponse({}), second, limits=limits, log=log, drain=Drain())


def test_no_answer_waits_for_an_acknowledgement() -> None:
    """asyncio switches Nagle's algorithm off only for sockets that say that they are of TCP: else
    each request on a connection that is kept waits 40 ms for its answer."""

    async def accepted() -> int:
        told: asyncio.Queue[int] = asyncio.Queue()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            own = writer.get_extra_info("socket")
            told.put_nowait(own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        with bound("127.0.0.1", 0) as listener:
            async with await asyncio.start_server(connected, sock=listener):
                _, writer = await asyncio.open_connection(*listener.getsockname())
                found = await told.get()
                writer.close()
                return found

    assert asyncio.run(accepted()) != 0


def test_the_address_is_one_that_a_browser_opens() -> None:
    with bound("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert address_of(listener, "0.0.0.0") == f"http://127.0.0.1:{port}"
        assert address_of(listener, "::1") == f"http://[::1]:{port}"


def test_a_missing_extra_is_named_with_the_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "uvicorn" else real(name)
    )
    with pytest.raises(UsageError, match="uvicorn") as caught:
        require_extra()
    assert caught.value.cure == "pip install 'regraft[serve]'"


def test_names_come_from_runs(tmp_path: Path) -> None:
    folders = [tmp_path / "ants" / "model", tmp_path / "my model", Path("/")]
    assert models._names(folders, []) == ["ants", "my-model", "model"]
