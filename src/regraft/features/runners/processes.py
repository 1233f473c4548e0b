"""`processes:N`: workers on this machine, each a process that is started anew where one died.

They are fed by a pipe each, and read nothing else: a worker whose driver is gone, however it went,
finds its pipe closed and ends. What goes through the pipe is pickled, between a program and itself.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

from regraft.errors import WorkerError
from regraft.features.engines import BuiltEngine
from regraft.features.part import Part
from regraft.features.runners.shards import IMAGES_EACH, LostError, Queue
from regraft.features.runners.work import Job, threads_each

_LENGTH = 8
_LAST_WORDS_BYTES = 2_000


class Processes:
    """N processes; a :class:`regraft.features.one_pass.Runner`."""

    def __init__(self, n: int, *, say: Callable[[str], None] = lambda text: None) -> None:
        self.n, self.say = n, say
        self.n_cores = n * threads_each(n)

    def parts(self, paths: Sequence[str], built: BuiltEngine) -> Iterator[tuple[range, Part]]:
        """See :class:`regraft.features.one_pass.Runner`."""
        job = Job(built, threads_each(self.n))
        hands = [Worker(job) for _ in range(min(self.n, len(paths)))]
        each = IMAGES_EACH * job.n_threads
        yield from Queue(paths, hands, images_each=each, say=self.say).parts()


class Worker:
    """A process that does one shard after another; another one where it died."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._process: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None
        self._lock = threading.Lock()
        self._is_over = False

    def do(self, paths: Sequence[str]) -> Part:
        """The part of these images; LostError if the process dies."""
        answer = self._ask(list(paths))
        if isinstance(answer, BaseException):
            raise answer
        assert isinstance(answer, Part)
        return answer

    def stop(self) -> None:
        """End the process."""
        with self._lock:
            self._is_over = True
            process = self._process
        if process is not None:
            process.kill()
            process.wait()
            self._let_go(process)

    def _ask(self, paths: list[str]) -> Any:
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            send(process.stdin, paths)
            return receive(process.stdout)
        except (OSError, EOFError, ValueError) as error:
            raise LostError(self._how_it_ended(process)) from error

    def _running(self) -> subprocess.Popen[bytes]:
        """The process, started if there is none, and ready."""
        with self._lock:
            if self._is_over:
                raise LostError("stopped")
            if self._process is not None:
                return self._process
            self._said = tempfile.TemporaryFile()  # noqa: SIM115 - its last words, until it stops
            self._process = process = subprocess.Popen(
                [sys.executable, "-m", "regraft.features.runners.worker"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,  # Ctrl-C is for the driver, which stops all
            )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            send(process.stdin, self._job)
            started = receive(process.stdout)
        except (OSError, EOFError, ValueError) as error:
            why = self._how_it_ended(process)
            if process.returncode is not None and process.returncode > 0:
                raise WorkerError(
                    f"a worker cannot be started: {why}", cure="the same command without --runner"
                ) from error
            raise LostError(why) from error
        if isinstance(started, BaseException):
            raise started
        return process

    def _how_it_ended(self, process: subprocess.Popen[bytes]) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
        code = process.poll()
        if code is None:
            process.kill()
            process.wait()
        words = self._last_words()
        with self._lock:
            self._process = None
        self._let_go(process)
        if code is None:
            return "it closed its pipe"
        if code >= 0:
            return f"exit code {code}{words}"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        return f"killed by {name}{': too little memory?' if name == 'SIGKILL' else ''}"

    def _let_go(self, process: subprocess.Popen[bytes]) -> None:
        for stream in (process.stdin, process.stdout, self._said):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()

    def _last_words(self) -> str:
        if self._said is None or self._said.closed:
            return ""
        n_bytes = self._said.seek(0, os.SEEK_END)
        self._said.seek(max(0, n_bytes - _LAST_WORDS_BYTES))
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return f": {lines[-1]}" if lines else ""


def send(stream: IO[bytes], message: Any) -> None:
    """A message through a pipe, its length first."""
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(len(data).to_bytes(_LENGTH, "little") + data)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """The next message; EOFError where the other side is gone."""
    head = stream.read(_LENGTH)
    length = int.from_bytes(head, "little")
    data = stream.read(length) if len(head) == _LENGTH else b""
    if len(head) < _LENGTH or len(data) < length:
        raise EOFError("the other side of the pipe is gone")
    return pickle.loads(data)
