"""Objects of a store or the web: ``s3://``, ``gs://``, ``az://``, ``https://``, by obstore.

Credentials are those that each cloud's own environment has (AWS_..., GOOGLE_..., AZURE_...). None
goes into an address here: one that carries a password or a signature is refused before it could
get into a table, a log or a file. What fails for a moment is tried again, a bounded number of
times; a host at which nothing works any more is not asked again and again.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from regraft.data.client_errors import ABSENT, CUT, NO_PARTS, SLOW, in_words
from regraft.data.out_of_reach import why_out_of_reach
from regraft.errors import DecodeError, RegraftError, UsageError
from regraft.machine import atomic, daemons

SCHEMES = ("s3", "gs", "az", "https", "http")
_ADDRESS = re.compile(rf"(?:{'|'.join(SCHEMES)})://")
# Folder in which what was fetched is kept, `--keep-files DIR`; nothing is kept if it is not set.
KEEP = "REGRAFT_KEEP"
# Set by `--offline`: then nothing is fetched.
OFFLINE = "REGRAFT_OFFLINE"
# Requests under way at one host.
MOST_AT_ONCE = 24
# Times that a body is asked for that ends early; refused connections, 429 and 5xx the client tries
# again by itself, with backoff.
TRIES = 4
# The same of what does not come in time, which costs a minute each.
TRIES_IF_SLOW = 2
_FIRST_WAIT_S = 0.25
_CLIENT = {"timeout": "60s", "connect_timeout": "10s"}
_RETRY = {"max_retries": 8, "retry_timeout": timedelta(seconds=60)}
# Until a host has answered once, nobody waits long: without a network, no patience helps.
_FIRST_CLIENT = {"timeout": "60s", "connect_timeout": "4s"}
_FIRST_RETRY = {"max_retries": 1, "retry_timeout": timedelta(seconds=5)}
# Reads of one host that fail one after another until it is given up.
MOST_FAILURES = 40
MAX_BYTES = 2**30
_CHUNK_BYTES = 8 * 2**20
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_SKIP_SIGNATURE=true for a public "
    "bucket, AWS_ENDPOINT_URL for another store)",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS (GOOGLE_SKIP_SIGNATURE=true for a public bucket)",
    "az": "AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_KEY",
}


def is_address(path: str) -> bool:
    """Whether a path is that of an object elsewhere.

    Examples
    --------
    >>> is_address("s3://bucket/1.jpg"), is_address("photos/1.jpg")
    (True, False)
    """
    return _ADDRESS.match(path) is not None


def require_client() -> None:
    """Refuse addresses where obstore is not installed."""
    import importlib.util

    if importlib.util.find_spec("obstore") is None:
        raise UsageError(
            "addresses (s3://, gs://, az://, https://) need the package obstore, which is not "
            "installed",
            cure="pip install 'regraft[cloud]'",
        )


class TooLargeError(DecodeError):
    """An object has more bytes than are wanted; its body was not fetched."""


def read(
    address: str,
    start: int = 0,
    n_bytes: int | None = None,
    versions: set[str] | None = None,
    most: int = MAX_BYTES,
) -> bytes:
    """The content of an object of at most `most` bytes, or a part of one; `versions` hears of
    which one.

    Raises
    ------
    DecodeError
        It is not there, may not be read, or could not be read whole, and how often it was tried.
    """
    if (kept := _kept_at(address)) is not None:
        with suppress(OSError), kept.open("rb") as file:
            file.seek(start)
            return file.read(-1 if n_bytes is None else n_bytes)
    host = _host_of(address)
    with host.turn():
        data = _tried(host, address, start, n_bytes, versions, most)
    if kept is not None and n_bytes is None and not start:
        with suppress(OSError), atomic.file(kept, shared=True) as part:
            part.write_bytes(data)
    return data


def chunks(address: str) -> Iterator[bytes]:
    """An object from its beginning to its end, some megabytes at a time, each tried again.

    Raises
    ------
    DecodeError
        As :func:`read`.
    """
    start, size = 0, size_of(address)
    versions = set[str]()
    while start < size:
        data = read(address, start, min(_CHUNK_BYTES, size - start), versions)
        if len(versions) > 1:
            raise DecodeError(
                f"the object was replaced while it was read: {' and '.join(sorted(versions))}",
                cure="the same command reads it anew",
            )
        yield data
        start += len(data)


def size_of(address: str) -> int:
    """Bytes of an object; DecodeError as :func:`read`."""
    if (kept := _kept_at(address)) is not None:
        with suppress(OSError):
            return kept.stat().st_size
    return int(_head(address)["size"])


class State(NamedTuple):
    """What changes when an object does: its size, and its tag or its time."""

    n_bytes: int
    tag: str


def state_of(address: str) -> State | None:
    """The state of an object; None where the host tells neither tag nor time, and of what is kept
    here. DecodeError as :func:`read`."""
    if _kept_at(address) is not None:
        return None
    head = _head(address)
    tag = head.get("e_tag") or head.get("last_modified")
    return None if tag is None else State(int(head["size"]), str(tag))


def _head(address: str) -> dict[str, Any]:
    host = _host_of(address)

    def ask(store: Any, path: str) -> Any:
        import obstore

        return obstore.head(store, path)

    with host.turn():
        return dict(host.tried(address, ask))


def is_missing(error: DecodeError) -> bool:
    """Whether the host has answered that there is no such object."""
    return ABSENT in error.rule


def fetched(address: str) -> str:
    """A whole object as a file in the folder of `--keep-files`; the address itself without one,
    and where it cannot be kept there, as on a full disk."""
    kept = _kept_at(address)
    if kept is None:
        return address
    if not kept.is_file():
        try:
            with atomic.file(kept, shared=True) as part, part.open("wb") as file:
                for data in chunks(address):
                    file.write(data)
        except OSError:
            return address
    return str(kept)


class _Host:
    """A bucket, container or web server: its client, and how it behaves."""

    def __init__(self, scheme: str, root: str) -> None:
        self.scheme, self.root = scheme, root
        self._turns = threading.BoundedSemaphore(MOST_AT_ONCE)
        self._lock, self._meeting = threading.Lock(), threading.Lock()
        self._stores: dict[bool, Any] = {}
        self._has_answered = False
        self._out_of_reach = ""
        self._n_failed = 0
        self._last = ""

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Not more at once than a host should be asked."""
        with self._turns:
            yield

    def tried(self, address: str, ask: Any) -> Any:
        """What `ask(store, path)` gives, tried again where it may help."""
        if os.environ.get(OFFLINE):
            raise DecodeError("not fetched: --offline was given", cure="leave out --offline")
        if self._n_failed >= MOST_FAILURES:
            raise DecodeError(
                f"not tried: {self._n_failed} reads of {self.root} failed one after another, "
                f"the last: {self._last}",
                cure=self._cure(),
            )
        if self._out_of_reach:
            raise self._unreached(self._out_of_reach)
        path = _path_in(address, self.root)
        if not self._has_answered and (met := self._met(ask, path)) is not None:
            return met
        for n_tried in range(1, TRIES + 1):
            try:
                found = _interruptible(ask, self._client(), path)
            except RegraftError:
                raise
            except BaseException as error:
                _require_of_client(error)
                reason = in_words(error)
                if n_tried < {CUT: TRIES, SLOW: TRIES_IF_SLOW}.get(reason, 1):
                    time.sleep(_FIRST_WAIT_S * 2**n_tried * random.uniform(0.5, 1))
                    continue
                raise self._failed(reason, n_tried) from None  # its own text may be long and deep
            with self._lock:
                self._n_failed = 0
            return found
        raise AssertionError("the last try returns or raises")

    def _met(self, ask: Any, path: str) -> Any:
        """What is given when asked for the first time, without patience; None if that failed, and
        there is somebody who may answer. One asks for all: where many knock at once, one that is
        turned away says nothing of the host."""
        found = None
        with self._meeting:
            if self._has_answered:
                return None
            if self._out_of_reach:
                raise self._unreached(self._out_of_reach)
            try:
                found = _interruptible(ask, self._client(is_first=True), path)
            except TooLargeError:
                self._has_answered = True
                raise
            except RegraftError:
                raise
            except BaseException as error:
                _require_of_client(error)
                if reason := why_out_of_reach(error):
                    self._out_of_reach = reason
                    raise self._unreached(reason) from None
            self._has_answered = True
        return found

    def _unreached(self, reason: str) -> DecodeError:
        return DecodeError(f"{self.root} cannot be reached: {reason}", cure=self._cure())

    def _failed(self, reason: str, n_tried: int) -> DecodeError:
        is_absent = reason == ABSENT
        with self._lock:
            self._n_failed = 0 if is_absent else self._n_failed + 1
            self._last = reason
        times = f" (tried {n_tried} times)" if n_tried > 1 else ""
        cure = "correct the address, or leave it out" if is_absent else self._cure()
        if reason == NO_PARTS:
            cure = "download the shards; or put them where parts can be asked for (HTTP ranges)"
        return DecodeError(f"the object cannot be read: {reason}{times}", cure=cure)

    def _cure(self) -> str:
        name = _CREDENTIALS.get(self.scheme)
        return "the same command tries again" + (f"; credentials: {name}" if name else "")

    def _client(self, *, is_first: bool = False) -> Any:
        with self._lock:
            if is_first not in self._stores:
                require_client()
                _require_endpoints()
                from obstore.store import HTTPStore, from_url

                client, retry = (_FIRST_CLIENT, _FIRST_RETRY) if is_first else (_CLIENT, _RETRY)
                options: Any = {**client, "allow_http": self._allows_http()}
                is_web = self.scheme in ("http", "https")
                make: Any = HTTPStore.from_url if is_web else from_url
                self._stores[is_first] = make(self.root, client_options=options, retry_config=retry)
            return self._stores[is_first]

    def _allows_http(self) -> bool:
        named = " ".join(value for key, value in os.environ.items() if "ENDPOINT" in key)
        return self.scheme == "http" or "http://" in named


def _interruptible(ask: Any, store: Any, path: str) -> Any:
    """What `ask` gives; in the main thread by way of another one, for the client holds back Ctrl-C
    until the host answers, which may take a minute."""
    if threading.current_thread() is not threading.main_thread():
        return ask(store, path)
    (answer,) = daemons.in_order(lambda asked: ask(store, asked), [path], n_threads=1)
    return answer


def _require_of_client(error: BaseException) -> None:
    """Raise what is no error of the client; a panic of its Rust is one, and no Exception."""
    if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
        raise error


def _require_endpoints() -> None:
    """Refuse what the client would fall over."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AZURE_STORAGE_ENDPOINT"):
        value = os.environ.get(name)
        if value is not None and not value.startswith(("http://", "https://")):
            raise UsageError(
                f"{name} must be an address that begins with http:// or https://",
                place=f"environment variable {name}",
                cure=f"{name}=https://host:9000, or leave it unset",
            )


_HOSTS: dict[str, _Host] = {}
_hosts_lock = threading.Lock()


def _host_of(address: str) -> _Host:
    scheme, _, rest = address.partition("://")
    name = "/".join(rest.split("/")[: 2 if scheme == "az" else 1])
    root = f"{scheme}://{name}"
    with _hosts_lock:
        if root not in _HOSTS:
            _HOSTS[root] = _Host(scheme, root)
        return _HOSTS[root]


def forget_hosts() -> None:
    """Clients are made anew, with the credentials of the environment as it is then."""
    with _hosts_lock:
        _HOSTS.clear()


def _path_in(address: str, root: str) -> str:
    from urllib.parse import unquote

    path = address[len(root) :].lstrip("/")
    return unquote(path) if root.startswith("http") else path


def _tried(
    host: _Host,
    address: str,
    start: int,
    n_bytes: int | None,
    versions: set[str] | None,
    most: int,
) -> bytes:
    def ask(store: Any, path: str) -> bytes:
        import obstore

        if n_bytes is not None:
            answer = obstore.get(store, path, options={"range": (start, start + n_bytes)})
            data = bytes(answer.bytes())
            if versions is not None:
                versions.add(str(answer.meta["e_tag"] or answer.meta["last_modified"]))
            if len(data) != n_bytes:
                raise ValueError(f"incomplete: {len(data):,} of {n_bytes:,} bytes came")
            return data
        answer = obstore.get(store, path)
        size = int(answer.meta["size"])
        if size > most:
            raise TooLargeError(
                f"the object has {size:,} bytes; at most {most:,} are read",
                cure="make the picture smaller",
            )
        data = bytes(answer.bytes())
        if len(data) != size:
            raise ValueError(f"incomplete: {len(data):,} of {size:,} bytes came")
        return data

    return bytes(host.tried(address, ask))


def _kept_at(address: str) -> Path | None:
    """Where an object is kept, by its address; None if nothing is."""
    folder = os.environ.get(KEEP, "")
    if not folder:
        return None
    scheme, _, rest = address.partition("://")
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", rest.rpartition("/")[2])[-80:]
    digest = hashlib.sha256(address.encode("utf-8", "surrogatepass")).hexdigest()[:24]
    bucket = re.sub(r"[^A-Za-z0-9._-]+", "_", rest.partition("/")[0])[:80]
    return Path(folder) / f"{scheme}-{bucket}" / digest[:2] / f"{digest}-{name}"
