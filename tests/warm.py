"""Commands in copies of a process that has imported PyTorch, and has done nothing else.

What a training imports takes 4 s of processor, most of a training of a few pictures. A copy (fork)
goes on from there: it has the environment, the folder, the files and the signals of a new process,
but for what packages read of the environment while they are imported (HF_HOME, trackers, OpenMP).
Tests of that, of starting itself, of imports and of torchrun start real ones.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

SERVER = """
import gc, json, os, signal, socket, struct, sys
import accelerate, openvino, timm, torch
import regraft.cli.train, regraft.features.engine_builder, regraft.training.learning
import regraft.workflows.experiment, regraft.workflows.reporting
from regraft.cli.main import main

gc.collect()
gc.freeze()  # no copy looks through what was imported
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("ready", flush=True)
while True:
    line, _ = listener.accept()
    if os.fork() == 0:
        break
    line.close()
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
listener.close()
size, fds, *_ = socket.recv_fds(line, 4, 3)
text = line.recv(struct.unpack("i", size)[0], socket.MSG_WAITALL)
if child := os.fork():
    line.sendall(struct.pack("i", child))
    line.sendall(struct.pack("i", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
    os._exit(0)
line.close()
for number, fd in enumerate(fds):
    os.dup2(fd, number)
    os.close(fd)
given = json.loads(text)
os.environ.clear()
os.environ.update(given["env"])
os.chdir(given["cwd"])
sys.stdin, sys.stdout, sys.stderr = (open(n, "wr"[n == 0], encoding="utf-8") for n in range(3))
sys.argv = ["regraft", *given["args"]]
sys.path[:0] = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""
_NUMBER = struct.Struct("i")


class Copy:
    """A command that runs: what tests use of `subprocess.Popen`."""

    def __init__(self, line: socket.socket, stdout: IO[str], stderr: IO[str]) -> None:
        self._line, self.stdout, self.stderr = line, stdout, stderr
        (self.pid,) = _NUMBER.unpack(line.recv(4, socket.MSG_WAITALL))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        with contextlib.suppress(TimeoutError):
            self.wait(0.001)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """TimeoutError if it does not end within `timeout` seconds."""
        if self.returncode is None:
            self._line.settimeout(timeout)
            (self.returncode,) = _NUMBER.unpack(self._line.recv(4))
            self._line.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it has written to stdout and stderr, at its end."""
        try:
            self.wait(timeout)
        except TimeoutError:
            self.kill()
            raise
        said = []
        for file in (self.stdout, self.stderr):
            file.seek(0)
            said.append(file.read())
            file.close()
        return said[0], said[1]

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _file() -> IO[str]:
    return tempfile.TemporaryFile("w+", encoding="utf-8", errors="backslashreplace")


class Warm:
    """Starts commands: ``warm.start("train", photos, cwd=room, env=os.environ)``."""

    def __init__(self, address: Path) -> None:
        self._address = address

    def start(self, *args: object, cwd: Path, env: Mapping[str, str]) -> Copy:
        line = socket.socket(socket.AF_UNIX)
        line.connect(str(self._address))
        stdout, stderr = _file(), _file()
        given: dict[str, Any] = {"args": [*map(str, args)], "cwd": str(cwd), "env": dict(env)}
        text = json.dumps(given).encode()
        with open(os.devnull) as nothing:
            fds = [nothing.fileno(), stdout.fileno(), stderr.fileno()]
            socket.send_fds(line, [_NUMBER.pack(len(text))], fds)
            line.sendall(text)
            return Copy(line, stdout, stderr)


@contextlib.contextmanager
def process(env: Mapping[str, str]) -> Iterator[Warm]:
    """A process to copy, for a while; what it reads of `env` while it imports is all copies'."""
    with tempfile.TemporaryDirectory() as folder:  # a short name: addresses have 107 letters
        address = Path(folder, "a")
        server = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", SERVER, str(address)],
            env=dict(env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            yield Warm(address)
        finally:
            server.kill()
            server.communicate()
