"""`ray` and `ray://HOST:PORT`: a task a shard; names of images go out, parts come back.

Not Ray Data: pictures never enter the object store, only what the pass makes of them, some
kilobytes each. Tasks are not retried by Ray but by our queue, which names what kills workers.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from regraft.errors import UsageError
from regraft.features.engines import BuiltEngine
from regraft.features.part import Part
from regraft.features.runners.shards import LostError, Queue
from regraft.features.runners.work import Job
from regraft.machine.processor import available_cores

# Parts wait here for a moment only.
_OBJECT_STORE_BYTES = 200 * 2**20
# Of a folder for Ray's sockets, whose whole path may have 107.
_MOST_LETTERS = 30


class OnRay:
    """Ray on this machine, or a cluster; a :class:`regraft.features.one_pass.Runner`.

    Parameters
    ----------
    address : str
        'ray://HOST:PORT'; empty for this machine, or the cluster that RAY_ADDRESS names.
    """

    def __init__(
        self, address: str = "", *, say: Callable[[str], None] = lambda text: None
    ) -> None:
        self.address, self.say = address, say
        self.n_cores = available_cores()

    def parts(self, paths: Sequence[str], built: BuiltEngine) -> Iterator[tuple[range, Part]]:
        """See :class:`regraft.features.one_pass.Runner`."""
        with _running(self.address) as ray:
            self.n_cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
            task = ray.remote(num_cpus=1, max_retries=0)(_do)
            job = ray.put(Job(built, n_threads=1))
            hands = [Task(ray, task, job) for _ in range(min(self.n_cores, len(paths)))]
            yield from Queue(paths, hands, say=self.say).parts()


class Task:
    """One task of Ray at a time."""

    def __init__(self, ray: Any, task: Any, job: Any) -> None:
        self._ray, self._task, self._job = ray, task, job
        self._under_way: Any = None

    def do(self, paths: Sequence[str]) -> Part:
        """The part of these images; LostError if the worker or its machine dies."""
        errors = self._ray.exceptions
        try:
            self._under_way = self._task.remote(self._job, list(paths))
            part: Part = self._ray.get(self._under_way)
            return part
        except errors.RayTaskError as error:  # raised by our own code there
            raise error.cause if isinstance(error.cause, Exception) else error from error
        except errors.RayError as error:
            raise LostError(_first_line(error)) from error

    def stop(self) -> None:
        """Cancel what is under way."""
        if self._under_way is not None:
            with contextlib.suppress(Exception):
                self._ray.cancel(self._under_way, force=True)


def _do(job: Job, paths: list[str]) -> Part:
    return job.do(paths)


@contextlib.contextmanager
def _running(address: str) -> Iterator[Any]:
    """Ray, connected or started; ended after the block if it was started for it."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is reported to its makers
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    if ray.is_initialized():  # the user's own
        yield ray
        return
    folder = ""
    address = address or os.environ.get("RAY_ADDRESS", "")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if not address:
        folder = _folder_for_sockets()
        options |= {
            "num_cpus": available_cores(), "include_dashboard": False, "_temp_dir": folder,
            "object_store_memory": _OBJECT_STORE_BYTES, "_node_ip_address": "127.0.0.1",
        }  # fmt: skip
    try:
        ray.init(address=address or "local", **options)
    except Exception as error:  # Ray raises bare Exceptions where it does not start
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
        raise UsageError(
            f"Ray at {address or 'this machine'} cannot be reached: {_first_line(error)}",
            cure="ray status says whether it runs; --runner ray starts one on this machine; "
            "ray:// needs pip install 'regraft[ray]'",
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def _folder_for_sockets() -> str:
    usual = tempfile.gettempdir()
    return tempfile.mkdtemp(prefix="rr-", dir=usual if len(usual) <= _MOST_LETTERS else "/tmp")


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200] if lines else ''}"
