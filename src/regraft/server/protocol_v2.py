"""The Open Inference Protocol, version 2, over HTTP, with its extension for binary tensors.

As KServe, Triton and MLServer speak it: https://github.com/kserve/open-inference-protocol
(specification/protocol/inference_rest.md), and Triton's extension_binary_data.md.

One input, `image`, BYTES of shape (N,): the files' bytes; in JSON each is base64. The outputs are
`label`, `probabilities` and `error`. A picture that cannot be read has an empty label, zeros, and
its reason in `error`; the others are answered.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
import math
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
from starlette.responses import JSONResponse, Response

from regraft.model.tested_promises import missed_at_any
from regraft.server.limits import Limits
from regraft.server.models import VERSION, Served
from regraft.server.refusals import Refusal
from regraft.server.upload import Upload

INPUT = "image"
OUTPUTS = ("label", "probabilities", "error")
EXTENSIONS = ["binary_tensor_data"]
# Where the JSON ends and binary tensors begin.
HEADER_LENGTH = "Inference-Header-Content-Length"


class _Parameters(msgspec.Struct):
    """Those that mean something here; others are passed over without being kept."""

    binary_data_size: int | None = None
    binary_data: bool | None = None
    binary_data_output: bool | None = None


class _Input(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    parameters: _Parameters | None = None
    data: list[str | list[str]] | None = None


class _Output(msgspec.Struct):
    name: str
    parameters: _Parameters | None = None


class _Request(msgspec.Struct):
    inputs: list[_Input]
    id: str | None = None
    parameters: _Parameters | None = None
    outputs: list[_Output] | None = None


class Asked:
    """An inference request, read.

    Attributes
    ----------
    uploads : list of N Upload
    id : str or None
    outputs : list of (name, is_binary)
    """

    def __init__(self, body: bytes, header_length: str | None, limits: Limits) -> None:
        head, tail = _divided(body, header_length)
        try:
            request = msgspec.json.decode(head, type=_Request)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise _bad(f"the request is no inference request: {str(error)[:300]}") from error
        self.id = request.id
        self.uploads = _uploads(_only_input(request.inputs), tail, limits)
        self.outputs = _outputs(request)


def metadata(served: Served) -> dict[str, Any]:
    """What goes in and comes out of a model."""
    K = len(served.classifier.classes)
    return {
        "name": served.name,
        "versions": [VERSION],
        "platform": "regraft",
        "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP64", "shape": [-1, K]},
            {"name": "error", "datatype": "BYTES", "shape": [-1]},
        ],
        "parameters": {
            "classes": list(served.classifier.classes),
            "missed_promises": missed_at_any(served.classifier.card),
        },
    }


def response(
    served: Served, asked: Asked, labels: Sequence[str], proba: Any, errors: Sequence[str]
) -> Response:
    """The answer to an inference request.

    Parameters
    ----------
    labels, errors : N str
        Empty where there is none.
    proba : (N, K) float64
    """
    N, K = len(labels), len(served.classifier.classes)
    tensors: dict[str, tuple[str, list[int], Any]] = {
        "label": ("BYTES", [N], list(labels)),
        "probabilities": ("FP64", [N, K], np.asarray(proba, np.float64)),
        "error": ("BYTES", [N], list(errors)),
    }
    outputs, tails = [], []
    for name, is_binary in asked.outputs:
        datatype, shape, values = tensors[name]
        output: dict[str, Any] = {"name": name, "datatype": datatype, "shape": shape}
        if is_binary:
            tails.append(_packed(values))
            output["parameters"] = {"binary_data_size": len(tails[-1])}
        else:
            output["data"] = values if datatype == "BYTES" else values.ravel().tolist()
        outputs.append(output)
    content = {"model_name": served.name, "model_version": VERSION, "outputs": outputs}
    if asked.id is not None:
        content["id"] = asked.id
    if not tails:
        return JSONResponse(content)
    head = json.dumps(content).encode()
    return Response(
        b"".join([head, *tails]),
        media_type="application/octet-stream",
        headers={HEADER_LENGTH: str(len(head))},
    )


def _divided(body: bytes, header_length: str | None) -> tuple[bytes, memoryview]:
    if header_length is None:
        return body, memoryview(b"")
    if not (header_length.isascii() and header_length.isdecimal()):
        raise _bad(f"{HEADER_LENGTH}: {header_length[:40]!r} is no length")
    n = int(header_length[:12])
    if n > len(body):
        raise _bad(f"{HEADER_LENGTH} says {n} bytes, the body has {len(body)}")
    return body[:n], memoryview(body)[n:]


def _only_input(inputs: list[_Input]) -> _Input:
    if len(inputs) != 1 or inputs[0].name != INPUT:
        names = ", ".join(repr(one.name[:40]) for one in inputs[:5]) or "none"
        raise _bad(f"expected the input {INPUT!r} alone, got {names}")
    only = inputs[0]
    if only.datatype != "BYTES":
        raise _bad(f"the input {INPUT!r} is of BYTES, got {only.datatype[:40]!r}")
    if (
        not only.shape
        or any(side < 0 for side in only.shape)
        or any(s != 1 for s in only.shape[1:])
    ):
        raise _bad(f"the input {INPUT!r} has the shape (N,), got {only.shape[:8]}")
    return only


def _uploads(given: _Input, tail: memoryview, limits: Limits) -> list[Upload]:
    n, size = math.prod(given.shape), given.parameters and given.parameters.binary_data_size
    if n > limits.items:
        raise _bad(
            f"{n} pictures in one request; at most {limits.items} are taken",
            "send the others in a request of their own",
        )
    if size is not None:
        if size != len(tail):
            raise _bad(f"binary_data_size says {size} bytes, {len(tail)} came")
        elements = list(_unpacked(tail))
    elif given.data is None:
        raise _bad(f"the input {INPUT!r} has neither data nor binary_data_size")
    else:
        texts = itertools.chain.from_iterable(
            [one] if isinstance(one, str) else one for one in given.data
        )
        elements = [_from_base64(text) for text in itertools.islice(texts, n + 1)]
    if len(elements) != n or n == 0:
        raise _bad(f"the shape {given.shape} says {n} pictures, {len(elements)} came")
    names = [f"image {number + 1} (bytes)" for number in range(n)]
    return [
        Upload.over_limit(name, limits) if len(data) > limits.picture_bytes else Upload(name, data)
        for name, data in zip(names, elements, strict=True)
    ]


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _bad(
            f"an element of {INPUT!r} is no base64: {str(error)[:100]}",
            "in JSON the bytes of a file are base64; or send them as a binary tensor",
        ) from error


def _unpacked(tail: memoryview) -> Iterator[bytes]:
    """Elements of BYTES: four bytes of length, little-endian, before each."""
    at = 0
    while at < len(tail):
        if at + 4 > len(tail):
            raise _bad("the binary tensor ends within a length")
        (length,) = struct.unpack_from("<I", tail, at)
        if at + 4 + length > len(tail):
            raise _bad(f"the binary tensor ends within an element of {length} bytes")
        yield bytes(tail[at + 4 : at + 4 + length])
        at += 4 + length


def _outputs(request: _Request) -> list[tuple[str, bool]]:
    is_binary = bool(request.parameters and request.parameters.binary_data_output)
    if not request.outputs:
        return [(name, is_binary) for name in OUTPUTS]
    found: dict[str, bool] = {}
    for output in request.outputs:
        if output.name not in OUTPUTS:
            raise _bad(
                f"there is no output {output.name[:40]!r}", f"there are {', '.join(OUTPUTS)}"
            )
        own = output.parameters.binary_data if output.parameters else None
        found[output.name] = is_binary if own is None else own
    return list(found.items())


def _packed(values: Any) -> bytes:
    if isinstance(values, np.ndarray):
        return np.ascontiguousarray(values, "<f8").tobytes()
    encoded = [value.encode("utf-8", "replace") for value in values]
    return b"".join(struct.pack("<I", len(one)) + one for one in encoded)


def _bad(rule: str, cure: str = "") -> Refusal:
    return Refusal(400, rule, cure=cure or "GET /v2/models/NAME says what goes in and comes out")
