"""`dask://HOST:PORT`: the tasks of a Dask cluster; names of images go out, parts come back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from regraft.errors import UsageError
from regraft.features.engines import BuiltEngine
from regraft.features.part import Part
from regraft.features.runners.shards import LostError, Queue
from regraft.features.runners.work import Job

_LONGEST_WAIT_S = 20


class OnDask:
    """A Dask scheduler and its workers; a :class:`regraft.features.one_pass.Runner`.

    Parameters
    ----------
    address : str
        'tcp://HOST:PORT' of the scheduler.
    """

    def __init__(self, address: str, *, say: Callable[[str], None] = lambda text: None) -> None:
        self.address, self.say = address, say
        self.n_cores = 1

    def parts(self, paths: Sequence[str], built: BuiltEngine) -> Iterator[tuple[range, Part]]:
        """See :class:`regraft.features.one_pass.Runner`."""
        with _connected(self.address) as client:
            self.n_cores = max(1, sum(client.nthreads().values()))
            job = Job(built, n_threads=1)
            hands = [Task(client, job) for _ in range(min(self.n_cores, len(paths)))]
            yield from Queue(paths, hands, say=self.say).parts()


class Task:
    """One task of Dask at a time."""

    def __init__(self, client: Any, job: Job) -> None:
        self._client, self._job = client, job
        self._under_way: Any = None

    def do(self, paths: Sequence[str]) -> Part:
        """The part of these images; LostError if the worker dies."""
        from distributed import CancelledError, KilledWorker

        try:
            # pure=False: the same images after a death are another task, not the dead one.
            self._under_way = self._client.submit(
                _do, self._job, list(paths), pure=False, retries=0
            )
            part: Part = self._under_way.result()
            return part
        except (KilledWorker, CancelledError, OSError) as error:
            raise LostError(f"{type(error).__name__}: {str(error)[:200]}") from error
        finally:
            self._under_way = None  # what nobody holds, the cluster forgets

    def stop(self) -> None:
        """Cancel what is under way."""
        if self._under_way is not None:
            with contextlib.suppress(Exception):
                self._under_way.cancel()


def _do(job: Job, paths: list[str]) -> Part:
    return job.do(paths)


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Any]:
    from distributed import Client

    try:
        client = Client(address, timeout=_LONGEST_WAIT_S, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise UsageError(
            f"no Dask scheduler answers at {address} within {_LONGEST_WAIT_S} s",
            cure="dask scheduler on that host says its address; dask worker joins it",
        ) from error
    try:
        if not client.nthreads():
            raise UsageError(
                f"the Dask scheduler at {address} has no worker", cure=f"dask worker {address}"
            )
        yield client
    finally:
        client.close()
