"""R16 at length: parsers must answer any bytes with success or one of our own errors.

    python tests/fuzz.py [manifest|parquet|config|artefact|tensors|image|store] [--inputs 100000]

Without a name, each in a process of its own. Atheris guides the inputs by coverage where it is
installed (``pip install atheris``); else seeds are mutated at random. An input that breaks the
promise is written down and ends the process with another code than 0.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

try:
    import atheris
except ImportError:  # pragma: no cover
    atheris = None  # type: ignore[assignment]

_HELD = tempfile.TemporaryDirectory(prefix="regraft-fuzz-")  # gone when this process ends
ROOM = Path(_HELD.name)
Target = tuple[Callable[[bytes], None], list[bytes], list[str]]


def _written(name: str, data: bytes) -> Path:
    path = ROOM / name
    path.write_bytes(data)
    return path


def manifest() -> Target:
    from regraft.data.manifests import read_manifest
    from regraft.errors import RegraftError

    def one(data: bytes) -> None:
        with contextlib.suppress(RegraftError):
            assert len(read_manifest(_written("f.csv", data), check_files=False)) > 0

    seeds = [
        b'\xef\xbb\xbfpath,label,split,group\r\n"a ""1"".jpg",x,train,p\r\nb.jpg,y,val,\r\n',
        "path\tlabel\na.jpg\tä\n".encode("utf-16"),
    ]
    return one, seeds, ["regraft.data.manifests"]


def parquet() -> Target:
    import polars as pl

    from regraft.data.manifests import read_manifest
    from regraft.errors import RegraftError

    def one(data: bytes) -> None:
        with contextlib.suppress(RegraftError):
            assert len(read_manifest(_written("f.parquet", data), check_files=False)) > 0

    file = io.BytesIO()
    pl.DataFrame({"path": ["a", "b"], "label": ["x", None]}).write_parquet(file)
    return one, [file.getvalue()], ["regraft.data.manifests"]


def config() -> Target:
    from regraft.errors import RegraftError
    from regraft.record.configuration import RunConfig

    def one(data: bytes) -> None:
        with contextlib.suppress(RegraftError):
            found = RunConfig.from_file(_written("run.json", data))
            assert RunConfig.from_dict(found.to_dict()) == found

    seeds = [
        json.dumps(RunConfig("x").to_dict()).encode(),
        b'{"config": {"data": "x", "method": "partial", "training": {"epochs": 3}}}',
    ]
    return one, seeds, ["regraft.record.run_folder", "regraft.training.settings"]


def artefacts() -> Target:
    from regraft import model
    from regraft.errors import ArtefactError

    folder = ROOM / "model"
    folder.mkdir(exist_ok=True)

    def one(data: bytes) -> None:
        (folder / "config.json").write_bytes(data)
        with contextlib.suppress(ArtefactError):
            model.load(folder)

    known = {
        "architecture": "resnet18", "num_classes": 2, "num_features": 512, "pretrained_cfg": {},
        "regraft": {
            "format": 1, "classes": ["a", "b"], "method": "probe", "head": {"kind": "linear"},
            "representation": {"taps": ["final"], "blocks": []}, "temperature": 1.0,
            "widths": [["final", 512]], "files": {"model.safetensors": "0" * 64},
        },
    }  # fmt: skip
    return one, [json.dumps(known).encode(), b"{}"], ["regraft.model.config_file"]


def tensors() -> Target:
    from regraft.backbones.tensor_file import TensorFileError, read

    def one(data: bytes) -> None:
        with contextlib.suppress(TensorFileError):
            found = read(_written("f.safetensors", data))
            assert sum(stored.to_array().nbytes for stored in found.values()) <= 2 * len(data)

    header = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    whole = len(header).to_bytes(8, "little") + header + bytes(8)
    return one, [whole], ["regraft.backbones.tensor_file"]


def image() -> Target:
    import numpy as np
    from PIL import Image

    from regraft.errors import DecodeError
    from regraft.images.decode import decode

    def one(data: bytes) -> None:
        with contextlib.suppress(DecodeError):
            decoded = decode(data)
            assert decoded.pixels.shape == (decoded.height, decoded.width, 3)

    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (9, 7, 3), np.uint8))
    seeds = []
    for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"):
        stream = io.BytesIO()
        picture.save(stream, kind)
        seeds.append(stream.getvalue())
    modules = ["decode", "jpeg_header", "png_chunks", "signatures", "modes"]
    return one, seeds, [f"regraft.images.{name}" for name in modules]


def store() -> Target:
    import numpy as np

    from regraft.features.store import Store

    digests = [bytes([i]) * 32 for i in range(4)]
    whole = np.arange(12, dtype=np.float32).reshape(4, 3)
    made = ROOM / "made"
    with Store.open(made) as filled:
        filled.put_features(digests, "r", whole)
    database = max((p for p in made.iterdir() if p.is_file()), key=lambda p: p.stat().st_size)
    intact = database.read_bytes()

    def one(data: bytes) -> None:
        """The bytes say where the database is changed and to what: three, then a value."""
        body = bytearray(intact)
        for at in range(0, len(data) - 3, 4):
            body[int.from_bytes(data[at : at + 3], "big") % len(body)] ^= data[at + 3] or 1
        room = ROOM / "store"
        room.mkdir(exist_ok=True)
        for old in room.iterdir():
            old.unlink()
        (room / database.name).write_bytes(body)
        with Store.open(room) as opened:
            found, X = opened.features(digests, "r", 3)
            assert np.array_equal(X[found], whole[found])  # right, or not found

    return one, [b"\x00\x10\x00\x01", b"\x00\x00\x40\xff\x00\x20\x00\x02"], [
        "regraft.features.store", "regraft.features.database",
    ]  # fmt: skip


TARGETS: dict[str, Callable[[], Target]] = {
    "manifest": manifest, "parquet": parquet, "config": config, "artefact": artefacts,
    "tensors": tensors, "image": image, "store": store,
}  # fmt: skip


def run(name: str, n_inputs: int) -> None:
    """Never comes back: Atheris ends the process."""
    if atheris is not None:
        with atheris.instrument_imports(include=["regraft"]):
            one, seeds, modules = TARGETS[name]()
            for module in modules:
                importlib.import_module(module)
        corpus = ROOM / "corpus"
        corpus.mkdir()
        for i, seed in enumerate(seeds):
            (corpus / str(i)).write_bytes(seed)
        found = ROOM / "found-"
        options = [
            f"-runs={n_inputs}",
            "-max_len=4096",
            "-verbosity=0",
            f"-artifact_prefix={found}",
        ]
        atheris.Setup([sys.argv[0], *options, "-seed=1", "-timeout=7200", str(corpus)], one)
        atheris.Fuzz()
        return
    one, seeds, _ = TARGETS[name]()
    dice = random.Random(1)
    for _ in range(n_inputs):
        data = bytearray(dice.choice(seeds))
        for _ in range(dice.randint(1, 8)):
            place = dice.randrange(len(data) + 1)
            data[place : place + dice.randint(0, 3)] = dice.randbytes(dice.randint(0, 3))
        one(bytes(data))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", choices=TARGETS)
    parser.add_argument("--inputs", type=int, default=100_000)
    args = parser.parse_args()
    if args.name:
        run(args.name, args.inputs)
        sys.exit(0)
    failed = 0
    for each in TARGETS:
        start = time.perf_counter()
        # Each Parquet file is read first in a process of its own, 0.3 s.
        n_inputs = args.inputs // 200 if each == "parquet" else args.inputs
        command = [sys.executable, __file__, each, "--inputs", str(n_inputs)]
        # Atheris ends its process without a chance to clean up.
        with tempfile.TemporaryDirectory(prefix="regraft-fuzz-") as room:
            environment = {**os.environ, "TMPDIR": room}
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
        failed += done.returncode != 0
        outcome = "ok" if done.returncode == 0 else f"FAILED\n{done.stderr[-3000:]}"
        seconds = time.perf_counter() - start
        print(f"{each}: {n_inputs:,} inputs in {seconds:.0f} s: {outcome}", flush=True)
    sys.exit(bool(failed))
