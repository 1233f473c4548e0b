"""Tensors of a file that `torch.save` wrote, read without PyTorch and without unpickling anything.

The packages with the default backbones' weights hold such files, in the form of before PyTorch 1.6:
five pickles (magic number, version, system, the tensors by name, the keys of the storages), then
the storages' bytes. Python's own `pickletools` takes the pickles apart; here the few instructions
that a dict of tensors is made of are followed, on names and numbers alone. All others are refused:
nothing that the file names is ever looked up or called.
"""

from __future__ import annotations

import math
import mmap
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from regraft.backbones.tensor_file import Stored, TensorFileError

_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
# PyTorch's storages: the format's word for the kind, and bytes of a number.
_STORAGES = {
    "torch DoubleStorage": ("F64", 8),
    "torch FloatStorage": ("F32", 4),
    "torch HalfStorage": ("F16", 2),
    "torch LongStorage": ("I64", 8),
    "torch IntStorage": ("I32", 4),
}
_DICT, _TENSOR = "collections OrderedDict", "torch._utils _rebuild_tensor_v2"
# Pickles of state dicts are a hundredth of this.
_MOST_INSTRUCTIONS = 1_000_000


class _Name(str):
    """A class or function that a pickle names; it stays a name."""


class _Storage(NamedTuple):
    kind: str
    itemsize: int
    key: str
    n: int


class _Tensor(NamedTuple):
    """Part of a storage; start and strides in numbers, not bytes."""

    storage: _Storage
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read(path: Path) -> dict[str, Stored]:
    """The tensors of a file, in its order; each a copy.

    Parameters
    ----------
    path : Path
        Of a state dict, saved by PyTorch before 1.6 or with its old format.

    Raises
    ------
    TensorFileError
        It is cut off, of another form, or holds anything but whole tensors by name.
    OSError
        It cannot be read.
    """
    with open(path, "rb") as file:
        try:
            tensors, keys = _pickles(file)
            start = file.tell()
        except TensorFileError:
            raise
        except Exception as error:  # pickletools raises whatever the damage suggests
            raise TensorFileError(f"no file of PyTorch's old form ({error})") from error
        content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    storages = _storages(content[start:], keys, tensors)
    return {name: _stored(name, tensor, storages) for name, tensor in tensors.items()}


def _pickles(file: BinaryIO) -> tuple[dict[str, _Tensor], list[str]]:
    magic, version, system = (_followed(file) for _ in range(3))
    if (magic, version) != (_MAGIC, _VERSION):
        raise TensorFileError("it does not begin as PyTorch's old files do")
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise TensorFileError("its numbers are not little-endian")
    tensors, keys = _followed(file), _followed(file)
    if not isinstance(tensors, dict) or not all(map(_is_entry, tensors.items())):
        raise TensorFileError("it holds something else than tensors by name")
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise TensorFileError("its storages have no keys")
    return tensors, keys


def _is_entry(entry: tuple[Any, Any]) -> bool:
    name, tensor = entry
    return type(name) is str and isinstance(tensor, _Tensor)


def _storages(
    content: memoryview, keys: list[str], tensors: dict[str, _Tensor]
) -> dict[str, memoryview]:
    """The bytes of each storage: its count of numbers, then the numbers."""
    known = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    found: dict[str, memoryview] = {}
    place = 0
    for key in keys:
        storage = known.get(key)
        n = int.from_bytes(content[place : place + 8], "little")
        if storage is None or n != storage.n:
            raise TensorFileError(f"storage {key[:40]!r} has {n} numbers, not what its tensor says")
        stop = place + 8 + n * storage.itemsize
        if stop > len(content):
            raise TensorFileError("it is cut off")
        found[key], place = content[place + 8 : stop], stop
    if place != len(content) or len(found) != len(known):
        raise TensorFileError("its storages are not those of its tensors")
    return found


def _stored(name: str, tensor: _Tensor, storages: dict[str, memoryview]) -> Stored:
    """Its bytes row by row: tensors that were turned are saved with other strides."""
    storage, start, shape, strides = tensor
    reached = start + sum((n - 1) * step for n, step in zip(shape, strides, strict=True)) + 1
    if math.prod(shape) and reached > storage.n:
        raise TensorFileError(f"tensor {name[:80]!r} is larger than its storage")
    numbers = np.frombuffer(storages[storage.key], f"<u{storage.itemsize}")[start:]
    in_bytes = [step * storage.itemsize for step in strides]
    values = np.ascontiguousarray(as_strided(numbers, shape, in_bytes, writeable=False))
    return Stored(storage.kind, shape, values.tobytes())


def _followed(file: BinaryIO) -> Any:
    """What one pickle describes, made of dicts, lists, tuples, text, numbers and `_Tensor`."""
    machine = _Machine()
    for number, (code, argument, _) in enumerate(pickletools.genops(file)):
        if number > _MOST_INSTRUCTIONS:
            raise TensorFileError("its description of the tensors does not end")
        if code.name == "STOP":
            break
        machine.do(code.name, argument)
    return machine.pop()


class _Machine:
    """The stack machine of pickle, without the power to import or to call."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def do(self, instruction: str, argument: Any) -> None:
        if instruction in _CONSTANTS:
            self.stack.append(argument)
        elif instruction in _STEPS:
            _STEPS[instruction](self, argument)
        else:
            raise TensorFileError(f"it holds more than tensors (pickle's {instruction})")

    def pop(self) -> Any:
        return self.stack.pop()

    def since_mark(self) -> list[Any]:
        place = self.marks.pop()
        taken = self.stack[place:]
        del self.stack[place:]
        return taken

    def last(self, n: int) -> tuple[Any, ...]:
        return tuple(reversed([self.pop() for _ in range(n)]))

    def set_items(self, pairs: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise TensorFileError("it fills what is no dict")
        target.update(zip(pairs[::2], pairs[1::2], strict=True))

    def append(self, taken: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise TensorFileError("it fills what is no list")
        target.extend(taken)

    def name(self, argument: str) -> None:
        if argument not in {_DICT, _TENSOR, *_STORAGES}:
            raise TensorFileError(f"it names {argument[:80]!r}, which is no part of a tensor")
        self.stack.append(_Name(argument))

    def reduce(self) -> None:
        what, given = self.last(2)
        if what == _DICT and given == ():
            self.stack.append({})
        elif what == _TENSOR:
            self.stack.append(_tensor(*given))
        else:
            raise TensorFileError(f"it calls {str(what)[:80]!r}")

    def storage(self) -> None:
        word, kind, key, _, n, view = self.pop()
        if word != "storage" or kind not in _STORAGES or view is not None or type(n) is not int:
            raise TensorFileError(f"it holds a storage of another kind ({str(kind)[:80]})")
        self.stack.append(_Storage(*_STORAGES[kind], str(key), n))

    def build(self) -> None:
        """Attributes of a dict: PyTorch keeps versions of its modules there."""
        attributes = self.pop()
        if not isinstance(attributes, dict) or not isinstance(self.stack[-1], dict):
            raise TensorFileError("it sets attributes of an object")


def _tensor(
    storage: _Storage, start: int, shape: tuple[int, ...], strides: tuple[int, ...], *rest: Any
) -> _Tensor:
    numbers = (start, *shape, *strides)
    is_part = isinstance(storage, _Storage) and len(shape) == len(strides)
    if not is_part or not all(type(n) is int and n >= 0 for n in numbers):
        raise TensorFileError("a tensor is no part of a storage")
    return _Tensor(storage, start, shape, strides)


_CONSTANTS = {"BINUNICODE", "SHORT_BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1"}
_Step = Callable[[_Machine, Any], object]
_STEPS: dict[str, _Step] = {
    "PROTO": lambda m, _: None,
    "MARK": lambda m, _: m.marks.append(len(m.stack)),
    "NONE": lambda m, _: m.stack.append(None),
    "NEWTRUE": lambda m, _: m.stack.append(True),
    "NEWFALSE": lambda m, _: m.stack.append(False),
    "EMPTY_DICT": lambda m, _: m.stack.append({}),
    "EMPTY_LIST": lambda m, _: m.stack.append([]),
    "EMPTY_TUPLE": lambda m, _: m.stack.append(()),
    "TUPLE": lambda m, _: m.stack.append(tuple(m.since_mark())),
    "TUPLE1": lambda m, _: m.stack.append(m.last(1)),
    "TUPLE2": lambda m, _: m.stack.append(m.last(2)),
    "TUPLE3": lambda m, _: m.stack.append(m.last(3)),
    "BINPUT": lambda m, place: m.memo.__setitem__(place, m.stack[-1]),
    "LONG_BINPUT": lambda m, place: m.memo.__setitem__(place, m.stack[-1]),
    "BINGET": lambda m, place: m.stack.append(m.memo[place]),
    "LONG_BINGET": lambda m, place: m.stack.append(m.memo[place]),
    "GLOBAL": lambda m, name: m.name(name),
    "BINPERSID": lambda m, _: m.storage(),
    "REDUCE": lambda m, _: m.reduce(),
    "BUILD": lambda m, _: m.build(),
    "SETITEM": lambda m, _: m.set_items(list(m.last(2))),
    "SETITEMS": lambda m, _: m.set_items(m.since_mark()),
    "APPEND": lambda m, _: m.append(list(m.last(1))),
    "APPENDS": lambda m, _: m.append(m.since_mark()),
}
