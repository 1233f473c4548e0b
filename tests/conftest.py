"""What every test stands on: a cache of its own, no network, small pictures that a human can read.

The isolation is a plugin rather than fixtures of this folder, so that it also holds for the
examples in the docstrings of ``src``.
"""

from __future__ import annotations

import functools
import gc
import inspect
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

import warm
from regraft.machine import processor

# Threads of OpenMP that spin stand in the way of everything else; here two processes share two
# cores, so that they do not spin at all (the command lets them for a short while).
os.environ.setdefault("GOMP_SPINCOUNT", "0")

ROOT = Path(__file__).resolve().parent.parent
# Real images, kept beside the project and never in it (their sources state no licence).
SHARED_DATA = [ROOT.parent / "shared" / "data", ROOT / "shared" / "data"]


def refuse_network() -> None:
    """Make every connection of this process fail, but for those that stay on this machine."""
    import socket

    own = ("127.0.0.1", "::1", "localhost")

    class NetworkRefusedError(ConnectionError):
        """A test tried to use the network."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise NetworkRefusedError(f"tests use no network; this one asked for {args[-1]!r}")

    def guarded(original: Callable[..., object]) -> Callable[..., object]:
        def call(self: socket.socket, *args: object) -> object:
            is_file = self.family == getattr(socket, "AF_UNIX", None)
            if not (is_file or (isinstance(args[-1], tuple) and args[-1][0] in own)):
                refuse(*args)
            return original(self, *args)

        return call

    def looking_up(original: Callable[..., object]) -> Callable[..., object]:
        def call(host: object, *args: object, **kwargs: object) -> object:
            if host not in own:
                refuse(host)
            return original(host, *args, **kwargs)

        return call

    for name in ("connect", "connect_ex", "sendto"):
        setattr(socket.socket, name, guarded(getattr(socket.socket, name)))
    for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
        setattr(socket, name, looking_up(getattr(socket, name)))


def forget_traces() -> None:
    """Drop the programs that PyTorch has traced, which it keeps for good: 4 to 14 MB a network."""
    if torch := sys.modules.get("torch"):
        torch._C._jit_clear_class_registry()
        store = torch.jit._recursive.ConcreteTypeStore()
        torch.jit._recursive.concrete_type_store = store
        torch.jit._state._clear_class_state()


class Isolation:
    """A cache folder for each test, gone when the test is over."""

    @pytest.fixture(autouse=True)
    def cache(
        self, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Path]:
        """This test's own ``REGRAFT_CACHE``, not made yet."""
        room = tmp_path_factory.mktemp("cache")
        monkeypatch.setenv("REGRAFT_CACHE", str(room / "regraft"))
        yield room / "regraft"
        shutil.rmtree(room, ignore_errors=True)
        forget_traces()


# Examples that train, score and answer: docstrings, and the code of docs/python.md.
EXAMPLES = (
    "regraft.estimator",
    "regraft.explain.in_memory",
    "regraft.model.loading.load",
    "regraft.model.predicting.predict",
    "regraft.model.saving",
    "regraft.model.scoring",
    "regraft.probe.classifier",
    "regraft.workflows.calibrating",
    "regraft.workflows.experiment",
    "regraft.workflows.exporting",
    "regraft.workflows.survey",
)


class Examples:
    """What the examples of the public names stand on: ``photos/``, and ``model/`` of a run."""

    @pytest.fixture(scope="session")
    @classmethod
    def example_room(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A folder with ``photos``, ``model`` and ``cache``, made once; spoil no part of it."""
        room = tmp_path_factory.mktemp("examples")
        write_photos(room / "photos", classes=("discs", "stripes"), splits={"train": 6, "test": 3})
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("REGRAFT_CACHE", str(room / "cache"))
            patch.chdir(room)
            import regraft

            shutil.copytree(regraft.run("photos").folder / "model", room / "model")
        return room

    @pytest.fixture(autouse=True)
    def in_example_room(
        self, request: pytest.FixtureRequest, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Docstrings of what is listed run there, in a copy of their own."""
        is_example = isinstance(request.node, pytest.DoctestItem)
        if not is_example or not request.node.name.startswith(EXAMPLES):
            return
        enter(request.getfixturevalue("example_room"), cache.parent, monkeypatch)


def enter(room: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go on in a copy of the room of the examples, with its cache."""
    for name in ("photos", "model", "cache"):
        shutil.copytree(room / name, copy / name)
    monkeypatch.setenv("REGRAFT_CACHE", str(copy / "cache"))
    monkeypatch.chdir(copy)


def pytest_configure(config: pytest.Config) -> None:
    refuse_network()
    config.pluginmanager.register(Isolation(), "regraft-isolation")
    config.pluginmanager.register(Examples(), "regraft-examples")


# The longest files come first: of two processes, neither waits for the other at the end.
LONGEST = (
    "test_processes.py", "test_looks.py", "test_teach_page.py", "test_fine_tuning.py",
    "test_export.py", "test_agreement.py", "test_auto.py", "test_one_process.py",
    "test_splitting.py", "test_pages.py", "test_engines.py", "test_training_kills.py",
    "test_report.py", "test_tutorials.py", "test_estimator.py", "test_remote.py",
    "test_notebooks.py", "test_topology.py", "test_explain.py", "test_two_machines.py",
    "test_runners.py", "test_server_clients.py", "test_doors.py", "test_verdict.py",
    "test_compiling.py", "test_frozen.py", "test_no_torch.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))
    if processor.precision() == "bf16" and not HAS_BF16:
        for item in items:
            if item.get_closest_marker("numerics"):
                item.add_marker(NO_BF16)


def pytest_collection_finish() -> None:
    """What was imported stays, so that no search for garbage looks through it again."""
    gc.collect()
    gc.freeze()


# -- Arithmetic --

# One picture, one answer: probabilities by another door, or in other company, in either arithmetic.
# The same graph gives them, one picture at a time.
ONE_ANSWER = 1e-6
# Another graph of the same network, or PyTorch in full precision: probabilities, and scores
# (absolute and relative).
PROBABILITY = {"fp32": 1e-4, "bf16": 2e-2}
SCORE = {"fp32": 1e-3, "bf16": 5e-2}
# OpenVINO computes bf16 on AVX-512, on some slowly, and on what has instructions for it.
HAS_BF16 = bool({"avx512bw", "amx_bf16", "bf16"} & processor._flags())
NO_BF16 = pytest.mark.skip(reason="this processor has no bf16")


@pytest.fixture
def force_precision(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """``force_precision("bf16")``: engines of this test compute in it, whatever the machine's."""

    def force(precision: str) -> None:
        if precision == "bf16" and not HAS_BF16:
            pytest.skip("this processor has no bf16")
        monkeypatch.setenv("REGRAFT_PRECISION", precision)

    return force


@pytest.fixture(params=processor.PRECISIONS)
def precision(request: pytest.FixtureRequest, force_precision: Callable[[str], None]) -> str:
    """The test runs in fp32, and in bf16."""
    force_precision(request.param)
    return str(request.param)


@pytest.fixture(scope="module")
def one_core() -> Iterator[None]:
    """The tests of a file compute in one thread, as on a machine of one core.

    Small work gains nothing from a second thread and waits for it: of two processes of tests on two
    cores, each has one. All commands that run in processes of their own keep every core, and so do
    test_one_process.py and the files that do not ask for this.
    """
    import torch

    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)
        torch.set_num_threads(1)
        yield
    torch.set_num_threads(before)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of this test draw no curves of their training: a third of a training of few pictures.

    Commands draw them, and so do runs of fixtures that a file shares; test_figures.py looks at
    them.
    """
    from regraft.workflows import experiment

    monkeypatch.setattr(experiment, "_draw_training", lambda *given: None)


@pytest.fixture(scope="module")
def make_room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """``make_room("tuning")``: a folder for all tests of a file, gone after the last of them.

    What ``tmp_path_factory`` makes stays until every file's tests have run: 5 GiB of them.
    """
    rooms: list[Path] = []

    def make(name: str) -> Path:
        rooms.append(tmp_path_factory.mktemp(name))
        return rooms[-1]

    yield make
    for room in rooms:
        shutil.rmtree(room, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of the real image sets; the test is skipped where there is none."""
    found = next((folder for folder in SHARED_DATA if folder.is_dir()), None)
    if found is None:
        pytest.skip("the real image sets are not here (../shared/data)")
    return found


# -- Pictures --

INK = [(214, 60, 48), (52, 110, 200), (240, 190, 40), (60, 160, 90), (150, 70, 170)]


def _disc(draw: ImageDraw.ImageDraw, box: list[int], ink: tuple[int, int, int]) -> None:
    draw.ellipse(box, fill=ink)


def _square(draw: ImageDraw.ImageDraw, box: list[int], ink: tuple[int, int, int]) -> None:
    draw.rectangle(box, fill=ink)


def _stripes(draw: ImageDraw.ImageDraw, box: list[int], ink: tuple[int, int, int]) -> None:
    left, top, right, bottom = box
    step = max(4, (bottom - top) // 6)
    for y in range(top, bottom, 2 * step):
        draw.rectangle([left, y, right, y + step - 1], fill=ink)


def _triangle(draw: ImageDraw.ImageDraw, box: list[int], ink: tuple[int, int, int]) -> None:
    left, top, right, bottom = box
    draw.polygon([(left, bottom), (right, bottom), ((left + right) // 2, top)], fill=ink)


def _cross(draw: ImageDraw.ImageDraw, box: list[int], ink: tuple[int, int, int]) -> None:
    left, top, right, bottom = box
    third = (right - left) // 3
    draw.rectangle([left + third, top, right - third, bottom], fill=ink)
    draw.rectangle([left, top + third, right, bottom - third], fill=ink)


SHAPES = {
    "discs": _disc,
    "squares": _square,
    "stripes": _stripes,
    "triangles": _triangle,
    "crosses": _cross,
}


def draw_photo(shape: str, random: np.random.Generator, *, size_px: int = 96) -> Image.Image:
    """One shape of any colour, place and size on a grey and noisy ground; a little wider than high.

    Colour, place and size say nothing of the class, so a classifier has to see the shape.
    """
    width, height = size_px + int(random.integers(0, size_px // 3)), size_px
    ground = random.integers(90, 210) + random.normal(0, 8, (height, width, 1))
    image = Image.fromarray(np.clip(ground.repeat(3, axis=2), 0, 255).astype(np.uint8))
    side = int(random.integers(size_px // 2, size_px * 4 // 5))
    left, top = int(random.integers(0, width - side)), int(random.integers(0, height - side))
    ink = INK[int(random.integers(len(INK)))]
    SHAPES[shape](ImageDraw.Draw(image), [left, top, left + side, top + side], ink)
    return image


def write_photos(
    folder: Path,
    *,
    classes: Sequence[str] = ("discs", "squares", "stripes"),
    n: int = 8,
    splits: Sequence[str] | Mapping[str, int] = (),
    seed: int = 0,
    size_px: int = 96,
) -> Path:
    """An image folder of n JPEGs a class (and split), the same for the same seed.

    Parameters
    ----------
    folder : Path
        Made if need be; returned.
    classes : names from SHAPES
    n : int
    splits : names, or {name: images a class}; none gives ``folder/<class>/``
    """
    random = np.random.default_rng(seed)
    sizes = splits if isinstance(splits, Mapping) else dict.fromkeys(splits or [""], n)
    for split, n_images in sizes.items():
        for name in classes:
            room = folder / split / name
            room.mkdir(parents=True, exist_ok=True)
            for i in range(n_images):
                photo = draw_photo(name, random, size_px=size_px)
                photo.save(room / f"{name}_{split or 'all'}_{i:03d}.jpg", quality=90)
    return folder


@pytest.fixture(scope="session")
def make_photos() -> Callable[..., Path]:
    """:func:`write_photos`: ``make_photos(folder, classes=..., n=..., splits=...)``."""
    return write_photos


# -- The command line --


@pytest.fixture(scope="session")
def no_network_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that, on ``PYTHONPATH``, makes a Python process refuse the network as we do."""
    folder = tmp_path_factory.mktemp("no-network")
    source = inspect.getsource(refuse_network)
    source = f"from __future__ import annotations\n{source}\nrefuse_network()\n"
    (folder / "sitecustomize.py").write_text(source, encoding="utf-8")
    return folder


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run_program(no_network_path: Path, cache: Path, tmp_path: Path) -> Run:
    """``run_program(*args, env=, cwd=, input=)``: a process with this test's cache, offline."""

    def run(
        *args: object,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        input: str = "",
        timeout_s: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        inherited = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
        given = _with_path({**inherited, "NO_COLOR": "1", **(env or {})}, no_network_path)
        return subprocess.run(
            [*map(str, args)],
            env=given,
            cwd=cwd or tmp_path,
            input=input,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=timeout_s,
            check=False,
        )

    return run


@pytest.fixture
def run_python(run_program: Run) -> Run:
    """``run_python("-c", program)``: a fresh Python."""
    return functools.partial(run_program, sys.executable)


@pytest.fixture
def run_cli(run_program: Run) -> Run:
    """``run_cli("train", folder, "--json")``: the command `regraft`, as a user calls it.

    It runs in ``tmp_path`` unless `cwd` says otherwise. Ask for `engine_cache` as well, or the
    first command that needs the network builds its engine (some seconds).
    """
    return functools.partial(run_program, Path(sys.executable).with_name("regraft"))


@pytest.fixture(scope="session")
def warm_process(no_network_path: Path) -> Iterator[warm.Warm]:
    """A process that has imported PyTorch, whose copies run commands; offline as we are."""
    with warm.process(_with_path(os.environ, no_network_path)) as found:
        yield found


@pytest.fixture
def run_warm(warm_process: warm.Warm, no_network_path: Path, cache: Path, tmp_path: Path) -> Run:
    """As `run_cli`, for commands that need PyTorch: in a copy of a process that has it."""

    def run(
        *args: object,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout_s: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        given = _with_path({**os.environ, "NO_COLOR": "1", **(env or {})}, no_network_path)
        given.pop("COLUMNS", None)
        process = warm_process.start(*args, cwd=cwd or tmp_path, env=given)
        said = process.communicate(timeout_s)
        return subprocess.CompletedProcess([*map(str, args)], process.wait(), *said)

    return run


def _with_path(env: Mapping[str, str], first: Path) -> dict[str, str]:
    paths = [str(first), env.get("PYTHONPATH", "")]
    return {**env, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}


@pytest.fixture(scope="session")
def built_engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the default backbone's engine and maps alone; built once a session."""
    folder = tmp_path_factory.mktemp("built")
    program = (
        "import numpy as np\n"
        "from regraft.backbones import catalog\n"
        "from regraft.explain.cam import MAPS\n"
        "from regraft.features import engines, maps_of_graph\n"
        "built = engines.locate(catalog.resolve('default'), offline=True)\n"
        "pixels = np.random.default_rng(0).integers(0, 255, (2, 224, 224, 3), np.uint8)\n"
        "assert maps_of_graph.find_or_build(built, MAPS, example=pixels)\n"
    )
    # In a process of its own, so that nothing of it stays with the tests.
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "REGRAFT_CACHE": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"the default backbone's engine cannot be built:\n{done.stderr[-2000:]}")
    return folder


@pytest.fixture(scope="session")
def put_engines(built_engines: Path) -> Iterator[Callable[[Path], None]]:
    """``put_engines(cache)``: the default backbone's engine and maps, ready in that folder.

    They are linked, not copied (70 MB), and Regraft replaces what it writes. A test that spoils
    one of these files has to take it away first, or it spoils it for all.
    """
    files = [path for path in built_engines.rglob("*") if path.is_file()]
    made = {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in files}

    def put(cache: Path) -> None:
        shutil.copytree(built_engines / "engines", cache / "engines", copy_function=os.link)

    yield put
    for path, before in made.items():
        now = (path.stat().st_size, path.stat().st_mtime_ns)
        assert now == before, f"a test has written into {path.name}, which all tests share"


@pytest.fixture(scope="session")
def train_in(
    put_engines: Callable[[Path], object], make_photos: Callable[..., Path]
) -> Callable[..., Path]:
    """Fills a room: ``photos`` of these splits, ``cache``, and ``runs/r/model``, learnt from them.

    Give ``room, splits={"train": 5, "val": 2}``.
    """

    def train(room: Path, *, splits: Mapping[str, int]) -> Path:
        from regraft.record.configuration import RunConfig
        from regraft.workflows import experiment

        make_photos(room / "photos", splits=splits, size_px=64)
        put_engines(room / "cache")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("REGRAFT_CACHE", str(room / "cache"))
            experiment.run(RunConfig(str(room / "photos")), out=str(room / "runs"), name="r")
        return room

    return train


@pytest.fixture(scope="session")
def served_room(tmp_path_factory: pytest.TempPathFactory, train_in: Callable[..., Path]) -> Path:
    """A room whose model the server's tests serve: ``photos``, ``cache``, ``runs/r/model``."""
    return train_in(tmp_path_factory.mktemp("served"), splits={"train": 5, "val": 4})


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, driven by playwright; without it, what asks for it is skipped."""
    names = ("chromium", "chromium-browser", "chrome")
    chromium = next(filter(None, map(shutil.which, names)), None)
    if chromium is None:
        pytest.skip("no Chromium here (Debian: apt install chromium)")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def engine_cache(put_engines: Callable[[Path], object], cache: Path) -> Path:
    """This test's cache, with the default backbone's engine in it."""
    put_engines(cache)
    return cache


@pytest.fixture
def photos_room(
    engine_cache: Path, make_photos: Callable[..., Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:  # fmt: skip
    """Small photographs, and the folder to work in; the engine is built, the process is young."""
    from regraft.machine import running_since

    make_photos(tmp_path / "photos", splits={"train": 12, "test": 6})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(running_since, "seconds", lambda: 0.5)  # not those of all tests before
    return tmp_path
