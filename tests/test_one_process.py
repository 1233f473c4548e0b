"""R17: one process, many fits: the numbers of fresh processes, and nothing global left changed."""

from __future__ import annotations

import itertools
import json
import locale
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFile
from threadpoolctl import threadpool_info

from regraft import ImageClassifier, RunConfig, evaluate_model, predict
from regraft.training.methods import METHODS
from regraft.workflows import explaining, reporting
from regraft.workflows.experiment import run as run_experiment

EFFICIENTNET, VIT, RESNET = (f"random:test_{name}" for name in ("efficientnet", "vit", "resnet"))
FITS: dict[str, tuple[str, dict[str, Any]]] = {
    "probe": ("probe", {"backbone": RESNET}),
    "head": (
        "head",
        {
            "backbone": EFFICIENTNET,
            "epochs": 2,
            "training": {"hidden": "16", "dropout": 0.5, "precision": "fp32"},
        },
    ),
    "partial": (
        "partial",
        {"backbone": EFFICIENTNET, "epochs": 1, "training": {"precision": "bf16"}},
    ),
    "full": ("full", {"backbone": VIT, "epochs": 1, "training": {"precision": "fp32"}}),
    "scratch": ("scratch", {"backbone": RESNET, "epochs": 1, "training": {"precision": "bf16"}}),
}
# All 12 ordered pairs of those that learn by gradients, between two probes.
ORDER = [
    "probe", "head", "partial", "head", "full", "head", "scratch", "partial", "full", "partial",
    "scratch", "full", "scratch", "head", "probe",
]  # fmt: skip
SAME = 1e-6

# Fits that know nothing of each other: each in a copy of a process that has only imported.
FRESH = """
import json, os, shutil, sys
import numpy as np
import accelerate, openvino, timm, torch, regraft.estimator, regraft.training.learning
from regraft import ImageClassifier
photos, room, fits = json.loads(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
labels = [path.split(os.sep)[-2] for path in photos]
for name, (method, options) in fits.items():
    child = os.fork()
    if child == 0:
        proba = ImageClassifier(method, **options).fit(photos, labels).predict_proba(photos)
        np.save(os.path.join(room, name + ".npy"), proba)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, name
    for kind in os.listdir(os.environ["REGRAFT_CACHE"]):
        if kind != "engines":  # else the next one would find what this one computed
            path = os.path.join(os.environ["REGRAFT_CACHE"], kind)
            shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
"""


@pytest.fixture(scope="module")
def room(make_room: Callable[[str], Path], make_photos: Callable[..., Path]) -> Path:
    """Photos of three classes, and a cache that the tests of this file share."""
    folder = make_room("process")
    make_photos(folder / "photos", splits={"train": 7, "test": 3})
    return folder


@pytest.fixture(autouse=True)
def own_cache(room: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setenv("REGRAFT_CACHE", str(room / "cache"))
    monkeypatch.chdir(room)


@pytest.fixture(scope="module")
def photos(room: Path) -> list[str]:
    return [str(path) for path in sorted((room / "photos" / "train").glob("*/*.jpg"))]


@pytest.fixture(scope="module")
def fresh(room: Path, photos: list[str]) -> dict[str, NDArray[np.float64]]:
    """What each fit gives that is the first of its process."""
    if not hasattr(os, "fork"):
        pytest.skip("processes cannot be copied here")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FRESH, json.dumps(photos), room, json.dumps(FITS)],
        env={**os.environ, "REGRAFT_CACHE": str(room / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {name: np.load(room / f"{name}.npy") for name in FITS}


def fitted(name: str, photos: Sequence[str]) -> NDArray[np.float64]:
    method, options = FITS[name]
    classifier = ImageClassifier(method, **options)
    return classifier.fit(photos, [Path(path).parent.name for path in photos]).predict_proba(photos)


def apart(found: NDArray[np.float64], wanted: NDArray[np.float64]) -> float:
    return float(np.abs(found - wanted).max())


# -- The same numbers --


@pytest.mark.slow
def test_fits_in_any_order_give_the_numbers_of_fresh_processes(
    fresh: dict[str, NDArray[np.float64]], photos: list[str]
) -> None:
    assert len(set(itertools.pairwise(ORDER))) == len(ORDER) - 1 >= 12
    for before, name in zip(["nothing", *ORDER], ORDER, strict=False):
        assert apart(fitted(name, photos), fresh[name]) <= SAME, f"{name} after {before}"


@pytest.mark.slow
def test_two_threads_give_the_numbers_of_fresh_processes(
    fresh: dict[str, NDArray[np.float64]], photos: list[str]
) -> None:
    torch.manual_seed(7)
    before = of_the_process()
    jobs = ["head", "full", "partial", "scratch", "probe", "head", "full", "partial"]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda name: fitted(name, photos), jobs))
    for name, proba in zip(jobs, found, strict=True):
        assert apart(proba, fresh[name]) <= SAME, name
    assert changes(before) == {}


def test_what_a_user_draws_after_a_fit_is_what_comes_next(photos: list[str]) -> None:
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    fitted("head", photos)
    assert torch.equal(torch.rand(4), wanted)


@pytest.mark.parametrize("theirs", ["no", "bf16"])
def test_the_users_own_accelerator_and_ours_do_not_see_each_other(
    theirs: str, fresh: dict[str, NDArray[np.float64]], photos: list[str]
) -> None:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, GradientState, PartialState

    kinds = (AcceleratorState, GradientState, PartialState)
    kept = [dict(kind._shared_state) for kind in kinds]
    try:
        for kind in kinds:
            kind._shared_state.clear()
        ours = "head" if theirs == "bf16" else "partial"  # in the other precision
        own = Accelerator(mixed_precision=theirs, cpu=True)
        assert apart(fitted(ours, photos), fresh[ours]) <= SAME
        assert own.mixed_precision == AcceleratorState().mixed_precision == theirs
        for kind in kinds:
            kind._shared_state.clear()
        fitted(ours, photos)
        assert not any(kind._shared_state for kind in kinds)
        assert Accelerator(mixed_precision=theirs, cpu=True).mixed_precision == theirs
    finally:
        for kind, state in zip(kinds, kept, strict=True):
            kind._shared_state.clear()
            kind._shared_state.update(state)


CELLS = """
import json
from pathlib import Path
from regraft import ImageClassifier
photos, fits = json.loads({photos!r}), json.loads({fits!r})
labels = [Path(path).parent.name for path in photos]
def fitted(name):
    method, options = fits[name]
    return ImageClassifier(method, **options).fit(photos, labels).predict_proba(photos).tolist()
"""


@pytest.mark.slow
def test_three_fits_in_one_notebook(
    fresh: dict[str, NDArray[np.float64]], photos: list[str], tmp_path: Path
) -> None:
    pytest.importorskip("ipykernel", reason="no notebook's kernel here (pip install ipykernel)")
    client = pytest.importorskip("jupyter_client", reason="nothing here speaks to a kernel")
    # Files in place of ports, so that no network is used.
    manager = client.KernelManager(transport="ipc", ip=str(tmp_path / "k"))
    manager.connection_file = str(tmp_path / "kernel.json")
    manager.start_kernel(env={**os.environ, "IPYTHONDIR": str(tmp_path), "HOME": str(tmp_path)})
    kernel = manager.blocking_client()
    try:
        kernel.start_channels()
        kernel.wait_for_ready(timeout=120)
        answer(kernel, "%matplotlib inline")
        answer(kernel, CELLS.format(photos=json.dumps(photos), fits=json.dumps(FITS)))
        for name in ("partial", "head", "full"):
            found = np.array(json.loads(answer(kernel, f"print(json.dumps(fitted({name!r})))")))
            assert apart(found, fresh[name]) <= SAME, name
        assert "inline" in answer(kernel, "import matplotlib; print(matplotlib.get_backend())")
    finally:
        kernel.stop_channels()
        manager.shutdown_kernel(now=True)


def answer(kernel: Any, code: str) -> str:
    """What a cell prints; its error fails the test."""
    printed: list[str] = []

    def hear(message: dict[str, Any]) -> None:
        if message["msg_type"] == "stream" and message["content"]["name"] == "stdout":
            printed.append(message["content"]["text"])

    reply = kernel.execute_interactive(code, output_hook=hear, timeout=300)
    assert reply["content"]["status"] == "ok", reply["content"]
    return "".join(printed)


# -- Nothing left changed --


def of_the_process() -> dict[str, Any]:
    """All that belongs to the process and that something here might change."""
    import accelerate.state as accelerate
    import huggingface_hub.constants as hub
    import matplotlib

    names = ["", "regraft", "huggingface_hub", "torch", "timm", "PIL", "matplotlib", "accelerate"]
    kinds = [accelerate.AcceleratorState, accelerate.GradientState, accelerate.PartialState]
    return {
        "warning filters": (id(warnings.filters), list(warnings.filters)),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "locale": locale.setlocale(locale.LC_ALL),
        "torch threads": torch.get_num_threads(),
        "torch threads of new threads": in_a_new_thread(torch.get_num_threads),
        "torch chance": torch.get_rng_state().tolist(),
        "numpy chance": repr(np.random.get_state()),
        "python chance": random.getstate(),
        "torch flags": torch_flags(),
        "pillow": (ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS),
        "hub": {n: repr(v) for n, v in vars(hub).items() if n.isupper()},
        "linear algebra": {f["filepath"]: f["num_threads"] for f in threadpool_info()},
        "loggers": {
            name: (found.level, list(found.handlers), list(found.filters), found.disabled)
            for name, found in ((name, logging.getLogger(name)) for name in names)
        },
        "matplotlib": dict(dict.items(matplotlib.rcParams)),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "hooks": (sys.excepthook, threading.excepthook, sys.displayhook),
        "accelerate": [(id(kind._shared_state), dict(kind._shared_state)) for kind in kinds],
        "modules kept out": [name for name, found in sys.modules.items() if found is None],
    }


def torch_flags() -> list[Any]:
    cudnn = torch.backends.cudnn
    return [
        torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype(),
        torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled(),
        cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32,
        torch.backends.mkldnn.enabled, torch.is_autocast_enabled("cpu"),
        torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.math_sdp_enabled(),
    ]  # fmt: skip


def in_a_new_thread(function: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


def changes(before: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What is otherwise now; a library that was loaded meanwhile is no change."""
    after = of_the_process()
    known = before["linear algebra"]
    after["linear algebra"] = {n: v for n, v in after["linear algebra"].items() if n in known}
    return {name: (before[name], after[name]) for name in before if before[name] != after[name]}


@contextmanager
def untouched() -> Iterator[None]:
    """A block that leaves the process as it was, whatever a user has set before."""
    import accelerate  # noqa: F401  what an import changes is the library's
    import matplotlib.pyplot
    import timm  # noqa: F401

    import regraft.features.engine_builder
    import regraft.training.learning  # noqa: F401

    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    threads, truncated = torch.get_num_threads(), ImageFile.LOAD_TRUNCATED_IMAGES
    torch.set_num_threads(3)
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    matplotlib.pyplot.switch_backend("svg")
    try:
        before = of_the_process()
        yield
        assert changes(before) == {}
    finally:
        torch.set_num_threads(threads)
        ImageFile.LOAD_TRUNCATED_IMAGES = truncated


@pytest.mark.parametrize("method", METHODS)
def test_a_fit_leaves_the_process_as_it_was(method: str, photos: list[str]) -> None:
    with untouched():
        fitted(method, photos)


@pytest.mark.slow
def test_a_run_and_all_that_follows_leave_the_process_as_it_was(room: Path) -> None:
    data = str(room / "photos")
    training = {"epochs": 1, "select_fraction": 0.25}
    config = RunConfig(data=data, method="head", backbone=EFFICIENTNET, training=training)
    with untouched():
        result = run_experiment(config)
        reporting.report_on(result)
        model = result.folder / "model"
        predict(model, [data])
        evaluate_model(model, str(room / "photos"), split="test")
        for method in ("gradcam", "occlusion"):
            explaining.explain(model, [data], out=room / method, method=method)


# -- Each thing that belongs to the process --


def test_threads_that_overlap_leave_the_linear_algebra_as_it_was() -> None:
    from regraft.machine import blas

    def counts() -> set[int]:
        return {f["num_threads"] for f in threadpool_info() if f["user_api"] == "blas"}

    before = counts()
    first, second = blas.threads(1), blas.threads(2)
    with ThreadPoolExecutor(1) as pool:
        first.__enter__()
        pool.submit(second.__enter__).result()
        assert counts() == {1}, "the fewest that anybody wants"
        first.__exit__(None, None, None)
        assert counts() == {2}
        pool.submit(second.__exit__, None, None, None).result()
    assert counts() == before


def test_only_our_own_thread_is_silent() -> None:
    from regraft.machine import quiet

    heard = []
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with quiet.no_warnings():
            warnings.warn("ours", stacklevel=1)
            in_a_new_thread(lambda: warnings.warn("theirs", stacklevel=1))
        warnings.warn("afterwards", stacklevel=1)
        heard = [str(warning.message) for warning in seen]
    assert heard == ["theirs", "afterwards"]


def test_filters_that_a_user_sets_meanwhile_are_the_users() -> None:
    from regraft.machine import quiet

    before = list(warnings.filters)
    silence, caught = quiet.no_warnings(), warnings.catch_warnings()
    silence.__enter__()
    caught.__enter__()
    warnings.simplefilter("always")
    silence.__exit__(None, None, None)
    assert all(entry[0] != "ignore" for entry in warnings.filters[:1])
    caught.__exit__(None, None, None)
    assert warnings.filters == before


def test_torch_counts_threads_for_each_thread_alone() -> None:
    from regraft.machine import torch_threads

    own, of_new = torch.get_num_threads(), in_a_new_thread(torch.get_num_threads)
    with torch_threads.threads(own + 3):
        assert torch.get_num_threads() == own + 3
        assert in_a_new_thread(torch.get_num_threads) == of_new
    assert (torch.get_num_threads(), in_a_new_thread(torch.get_num_threads)) == (own, of_new)


def test_many_threads_may_be_the_first_to_need_openvino(run_python: Any) -> None:
    program = (
        "import sys\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from regraft.features.openvino_runtime import import_openvino\n"
        "with ThreadPoolExecutor(8) as pool:\n"
        "    found = {id(pool.submit(import_openvino).result()) for _ in range(8)}\n"
        "assert len(found) == 1 and 'openvino.tools.ovc' not in sys.modules\n"
    )
    done = run_python("-c", program)
    assert done.returncode == 0, done.stderr


def test_the_ninth_compiled_module_is_compiled_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch keeps eight graphs for a piece of code, and goes without from then on."""
    from regraft.training import compiling

    class Net(torch.nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, width)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x)

    graphs: list[Any] = []

    def compiler(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **how: real(f, backend=compiler, **how))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for width in range(1, 11):
            compiling.compiled(Net(width))(torch.zeros(2, 3))
    assert len(graphs) == 10


def test_the_command_is_no_longer_a_handler_of_signals_when_it_ends() -> None:
    import click

    from regraft.cli import outcome

    before = signal.getsignal(signal.SIGTERM)
    assert outcome.of(click.Command("nothing", callback=lambda: None, params=[])) in (0, 2)
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_network_in_the_hubs_cache_is_loaded_by_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants as constants
    import timm
    from timm.models._hub import save_for_hf

    from regraft.backbones import catalog, network

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for name in ("someone/net", "timm/test_vit.r160_in1k"):
        folder = tmp_path / f"models--{name.replace('/', '--')}"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / "main").write_text("a" * 40)
        save_for_hf(timm.create_model("test_vit"), str(folder / "snapshots" / ("a" * 40)))
    before = of_the_process()
    for name in ("hf-hub:someone/net", "test_vit.r160_in1k"):
        found = network.load(catalog.resolve(name), offline=True)
        assert not found.config.get("file"), "no path of this machine goes into the model"
        assert found.config["hf_hub_id"] == name.removeprefix("hf-hub:").replace(
            "test_vit.", "timm/test_vit."
        )
    assert changes(before) == {}
