"""What libtiff says while we decode: heard by the thread that asked, and not printed.

libtiff writes its errors to the terminal by itself, and Pillow tells no more than "decoder error
-2". It has one handler for the whole process. Ours stands there while any of our threads decodes a
TIFF; what other threads cause goes to the handler that was there before.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from regraft.machine.held import Held

# libtiff's TIFFErrorHandler: the module that speaks, a format of printf, its values (va_list).
_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
_MOST_BYTES = 300

_heard: dict[int, list[str]] = {}  # by thread
_before: Any = None


def _hear(module: bytes | None, form: bytes | None, values: int | None) -> None:
    said = _heard.get(threading.get_ident())
    if said is not None:
        said.append(_printed(form, values))
    elif _before:
        _before(module, form, values)


def _printed(form: bytes | None, values: int | None) -> str:
    text = ctypes.create_string_buffer(_MOST_BYTES)
    ctypes.pythonapi.PyOS_vsnprintf(text, _MOST_BYTES, form, ctypes.c_void_p(values))
    return text.value.decode(errors="replace")


_hearing = _HANDLER(_hear)  # kept: libtiff calls it as long as it stands there


def _library() -> Any:
    """Pillow's libtiff; None where it cannot be reached, as it is part of Pillow's own file."""
    from PIL import _imaging

    try:
        library = ctypes.CDLL(_imaging.__file__)
        library.TIFFSetErrorHandler.argtypes = [ctypes.c_void_p]
        library.TIFFSetErrorHandler.restype = ctypes.c_void_p
        return library
    except (OSError, AttributeError):
        return None


@contextmanager
def _in_its_place() -> Iterator[None]:
    global _before
    library = _library()
    if library is None:
        yield
        return
    address = library.TIFFSetErrorHandler(ctypes.cast(_hearing, ctypes.c_void_p))
    _before = _HANDLER(address) if address else None
    try:
        yield
    finally:
        library.TIFFSetErrorHandler(address)


_listening = Held(_in_its_place)


@contextmanager
def heard() -> Iterator[list[str]]:
    """A list of what libtiff says of errors in this thread, none of which is printed.

    Examples
    --------
    >>> with heard() as said:
    ...     pass  # Pillow decodes a TIFF
    >>> said
    []
    """
    here, said = threading.get_ident(), list[str]()
    with _listening():
        _heard[here] = said
        try:
            yield said
        finally:
            del _heard[here]
