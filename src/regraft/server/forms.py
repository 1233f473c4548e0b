"""Files in a form (multipart/form-data, RFC 7578), taken apart in memory while they come in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from regraft.server.limits import Limits
from regraft.server.refusals import Refusal
from regraft.server.upload import FIELDS, HOW_TO_SEND, Upload

_LONGEST_NAME = 1000
_MOST_HEADERS = 8


class Form:
    """Takes pieces of a body and gives the files in it.

    Starlette's own reader spools files to disk from 1 MB on; here nothing touches it. A file
    that is too large is an error of its own and takes no memory; the others are read.

    Parameters
    ----------
    content_type : str
        With the boundary.
    limits : Limits

    Raises
    ------
    Refusal
        400: damaged, or a field that is no file; 413: too many files.

    Examples
    --------
    >>> form = Form("multipart/form-data; boundary=b", Limits())
    >>> head = b'Content-Disposition: form-data; name="images"; filename="a.jpg"'
    >>> form.write(b"--b" + b"\\r\\n" + head + b"\\r\\n\\r\\n" + b"abc" + b"\\r\\n--b--")
    >>> form.close()
    [Upload(name='a.jpg', data=b'abc', problem='')]
    """

    def __init__(self, content_type: str, limits: Limits) -> None:
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if not boundary:
            raise Refusal(400, "a form without a boundary in its Content-Type", cure=HOW_TO_SEND)
        self._limits, self._found = limits, list[Upload]()
        self._headers: dict[bytes, bytes] = {}
        self._field, self._value = bytearray(), bytearray()
        self._name, self._data, self._is_over, self._has_ended = "", bytearray(), False, False
        callbacks: dict[str, Callable[..., Any]] = {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._field.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._take,
            "on_part_end": self._end,
            "on_end": self._finish,
        }
        try:
            self._parser = MultipartParser(
                boundary, cast(Any, callbacks), max_header_count=_MOST_HEADERS
            )
        except FormParserError as error:
            raise _damaged(error) from error

    def write(self, data: bytes) -> None:
        """The next piece."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise _damaged(error) from error

    def close(self) -> list[Upload]:
        """All files, once the body is over."""
        if not self._has_ended:
            raise Refusal(
                400, "the form ends early: its last boundary is missing", cure="send it again"
            )
        if not self._found:
            raise Refusal(400, "the form holds no file", cure=HOW_TO_SEND)
        return self._found

    def _begin(self) -> None:
        if len(self._found) == self._limits.items:
            raise Refusal(
                413,
                f"more than {self._limits.items} pictures in one request",
                cure="send the others in a request of their own",
            )
        self._headers, self._data, self._is_over = {}, bytearray(), False

    def _end_header(self) -> None:
        self._headers[bytes(self._field).lower()] = bytes(self._value)
        self._field, self._value = bytearray(), bytearray()

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        field = options.get(b"name", b"").decode("utf-8", "replace")
        file = options.get(b"filename")
        if file is None and field not in FIELDS:
            raise Refusal(
                400,
                f"the form has a field {field[:80]!r} that is no file",
                cure="options stand in the address: /predict?top=5",
            )
        unnamed = f"image {len(self._found) + 1} (bytes)"
        self._name = (file or b"").decode("utf-8", "replace")[:_LONGEST_NAME] or unnamed

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._is_over:
            return
        self._data += memoryview(data)[start:end]
        if len(self._data) > self._limits.picture_bytes:
            self._data, self._is_over = bytearray(), True

    def _end(self) -> None:
        if self._is_over:
            self._found.append(Upload.over_limit(self._name, self._limits))
        else:
            self._found.append(Upload(self._name, bytes(self._data)))
        self._data = bytearray()

    def _finish(self) -> None:
        self._has_ended = True


def _damaged(error: Exception) -> Refusal:
    return Refusal(400, f"the form cannot be read: {str(error)[:200]}", cure=HOW_TO_SEND)
