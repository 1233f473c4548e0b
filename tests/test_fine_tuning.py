"""The methods that learn by gradients: one story, the same doors, frozen is frozen."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from conftest import ONE_ANSWER
from regraft import ImageClassifier, load
from regraft.backbones import weights as backbone_weights
from regraft.choosing import kept as kept_words
from regraft.console.training import show_training
from regraft.errors import ConfigError, TrainingError, UsageError
from regraft.images import pictures
from regraft.model import predicting, scoring
from regraft.record.configuration import RunConfig
from regraft.training import candidates, defaults, loop, stepping, views
from regraft.training.candidates import AS_IT_WAS, Candidate, between, preferred
from regraft.training.examples import FeatureExamples, PixelExamples, prefetched
from regraft.training.methods import METHODS
from regraft.training.rows import held_out
from regraft.training.settings import TrainingSettings
from regraft.training.tunable import TunableClassifier, head_module
from regraft.training.usage import users
from regraft.workflows import experiment, reporting
from regraft.workflows.experiment import Result

pytestmark = [pytest.mark.numerics, pytest.mark.usefixtures("one_core", "undrawn")]

BACKBONE = "random:test_efficientnet"
BY_GRADIENTS = [name for name in METHODS if name != "probe"]
FAST = {"epochs": 2, "batch_size": 8, "views": 2, "select_fraction": 0.25}


@pytest.fixture(scope="module")
def room(make_room: Callable[[str], Path], make_photos: Callable[..., Path]) -> Path:
    """Photos of three classes, and a cache that all tests of this file share."""
    folder = make_room("tuning")
    make_photos(folder / "photos", splits={"train": 16, "val": 5})
    return folder


@pytest.fixture(autouse=True)
def own_cache(room: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[None]:
    monkeypatch.setenv("REGRAFT_CACHE", str(room / "cache"))
    monkeypatch.chdir(room)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def run(
    name: str,
    *,
    backbone: str = BACKBONE,
    run_name: str | None = None,
    taps: list[str] | None = None,
    **settings: Any,
) -> Result:
    fast = {setting: value for setting, value in FAST.items() if name in users(setting)}
    config = RunConfig(
        "photos", method=name, backbone=backbone, taps=taps, training={**fast, **settings} or None
    )
    return experiment.run(config, out="runs", name=run_name)


def network_of(model: Path) -> dict[str, torch.Tensor]:
    """The network's tensors in a saved model, with what the learnt classifier replaced."""
    state = load_file(model / "model.safetensors")
    learnt = load_file(model / "regraft.safetensors")
    replaced = {n.removeprefix("network."): t for n, t in learnt.items() if n[:8] == "network."}
    return {**state, **replaced}


@pytest.fixture(scope="module")
def results(room: Path) -> dict[str, Result]:
    """One run of every method."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_CACHE", str(room / "cache"))
        patch.chdir(room)
        return {name: run(name) for name in METHODS}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_keeps_the_contract(results: dict[str, Result], name: str, room: Path) -> None:
    result = results[name]
    assert result.classifier.method == name
    assert (result.classifier.learnt.training is not None) == METHODS[name].trains
    assert result.metrics["method"] == name
    model = load(result.folder / "model")
    assert model.method == name
    files = sorted((room / "photos" / "val").rglob("*.jpg"))
    found = predicting.predict(result.folder / "model", files)
    assert found.proba.shape == (15, 3)
    np.testing.assert_allclose(found.proba.sum(1), 1, atol=1e-9)
    scored = scoring.evaluate_model(result.folder / "model", room / "photos")
    assert scored.evaluation.accuracy.value == result.evaluation.accuracy.value
    assert scored.evaluation.log_loss.value == pytest.approx(
        result.evaluation.log_loss.value, rel=1e-5
    )


@pytest.mark.parametrize("name", METHODS)
def test_a_finished_run_can_be_run_again_from_what_it_wrote(
    results: dict[str, Result], name: str
) -> None:
    folder = results[name].folder
    again = RunConfig.from_file(folder / "run.json")
    assert again.method == name
    if name == "probe":
        return
    chosen = json.loads((folder / "metrics.json").read_text())["training"]["settings"]
    written_out = dataclasses.replace(again, training=chosen)
    assert written_out.settings.to_dict() == chosen


@pytest.mark.parametrize("name", BY_GRADIENTS)
def test_the_record_says_what_learnt(results: dict[str, Result], name: str) -> None:
    training_ = results[name].metrics["training"]
    assert len(training_["epochs"]) == 2
    assert training_["learnt_from"] + training_["held_out"] == 48
    assert training_["settings"]["epochs"] == 2
    log = (results[name].folder / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in log] == [1, 2]
    assert (results[name].folder / "checkpoints" / "last.safetensors").exists()
    assert (results[name].folder / "checkpoints" / "best.safetensors").exists()


def test_r8_frozen_is_frozen_and_what_should_move_moved(
    results: dict[str, Result], room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = network_of(results["probe"].folder / "model")
    # Taken as it is after its last step, be it better than the probe or not.
    monkeypatch.setenv("REGRAFT_CACHE", str(room / "cache"))
    monkeypatch.chdir(room)
    partial = run("partial", run_name="moved", interpolate=False, keep="last", init_head="random")
    after = network_of(partial.folder / "model")
    point = partial.metrics["training"]["settings"]["split_point"]
    n_before = int(point.rpartition(".")[2])
    stem = ("conv_stem", "bn1", *(f"blocks.{i}." for i in range(n_before)))
    frozen = [n for n in before if n.startswith(stem)]
    later = [n for n in before if n.startswith(("blocks.", "conv_head")) and n not in frozen]
    assert frozen, later
    assert [n for n in frozen if not torch.equal(before[n], after[n])] == []
    weights = [n for n in later if n.endswith("conv.weight") or ".conv" in n]
    assert [n for n in weights if torch.equal(before[n], after[n])] == []
    statistics = [n for n in later if "running" in n]
    assert [n for n in statistics if not torch.equal(before[n], after[n])] == []  # 'frozen'
    assert torch.equal(before["classifier.weight"], after["classifier.weight"])


@pytest.mark.parametrize(
    ("name", "settings"),
    [("partial", {"split_point": "blocks.3"}), ("partial", {"hidden": "8"}), ("full", {})],
)
def test_layers_learn_where_the_probe_saw_earlier_ones_alone(
    name: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No error reaches layers that the head does not hear: it then hears the final features too."""
    from regraft.probe import choice

    given = choice.choose

    def end(candidate: Candidate) -> float:
        return candidate.alpha

    def earliest(*args: Any, **kwargs: Any) -> Any:
        return given(*args, **{**kwargs, "taps": kwargs["taps"] or ("blocks.0",)})

    monkeypatch.setattr("regraft.probe.probe.choose", earliest)
    monkeypatch.setattr(candidates, "preferred", lambda found, default, units: max(found, key=end))
    tuned = run(name, run_name=f"deaf-{name}{len(settings)}{'hidden' in settings}", **settings)
    weights = tuned.metrics["training"]["weights"]
    assert weights["moved"] == weights["trained"] > 0
    assert set(tuned.classifier.representation.taps) == {"blocks.0", "final"}
    if "hidden" not in settings:
        candidates_ = tuned.metrics["training"]["candidates"]
        assert candidates_[-1]["weights"] == AS_IT_WAS
        assert f"where the probe has {candidates_[-1]['loss']:.3f}" in shown(tuned)


def test_taps_before_the_split_point_are_refused(results: dict[str, Result]) -> None:
    with pytest.raises(ConfigError, match="nothing would learn"):
        run("partial", run_name="refused", taps=["blocks.0"], split_point="blocks.3")
    assert run("partial", run_name="later", taps=["blocks.3"], split_point="blocks.3")


def test_head_leaves_the_whole_network_as_it_is(results: dict[str, Result]) -> None:
    before = network_of(results["probe"].folder / "model")
    after = network_of(results["head"].folder / "model")
    assert backbone_weights.changed(before, after)[1] == []


def test_scratch_shares_nothing_with_the_source(results: dict[str, Result]) -> None:
    before = network_of(results["probe"].folder / "model")
    after = network_of(results["scratch"].folder / "model")
    weights = [n for n in before if n.endswith("weight") and before[n].ndim == 4]
    assert all(not torch.equal(before[n], after[n]) for n in weights)


def test_a_changed_frozen_tensor_is_an_error_and_nothing_is_saved(
    monkeypatch: pytest.MonkeyPatch, room: Path
) -> None:
    def change(trainer: Any) -> Any:
        history = original(trainer)
        monkeypatch.setattr(backbone_weights, "changed", lambda b, a: ([], list(b)))
        return history

    original = loop.Trainer.run
    monkeypatch.setattr(loop.Trainer, "run", change)
    with pytest.raises(TrainingError, match="frozen part changed"):
        run("partial", run_name="broken")
    assert not (room / "runs" / "broken" / "model").exists()


@pytest.mark.parametrize("name", ["partial", "full", "head"])
def test_the_same_run_gives_the_same_bits(name: str, results: dict[str, Result]) -> None:
    again = run(name, run_name=f"again-{name}", workers=0)
    first = load_file(results[name].folder / "model" / "model.safetensors")
    second = load_file(again.folder / "model" / "model.safetensors")
    assert backbone_weights.changed(first, second)[1] == []


def test_mixup_reaches_the_tokens_of_a_transformer(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[int] = set()
    mixed = stepping.losses.mixed

    def watched(x: torch.Tensor, *given: Any) -> Any:
        seen.add(x.ndim)
        return mixed(x, *given)

    monkeypatch.setattr(stepping.losses, "mixed", watched)
    result = run("partial", backbone="random:test_vit", run_name="tokens", mixup=0.4, epochs=1)
    assert result.metrics["training"]["settings"]["split_point"].startswith("blocks.")
    assert 3 in seen


@pytest.mark.parametrize("name", ["partial", "full"])
@pytest.mark.filterwarnings("ignore")
def test_timm_opens_a_tuned_model_and_says_the_same(name: str, room: Path) -> None:
    import timm

    result = run(
        name, run_name=f"timm-{name}", taps=["final"], interpolate=False,
        learning_rate=0.05, head_rate=0.05,
    )  # fmt: skip
    assert result.metrics["training"]["weights"]["moved"] > 10
    model = result.folder / "model"
    opened = timm.create_model(f"local-dir:{model}", pretrained=True).eval()
    files = sorted((room / "photos" / "val").rglob("*.jpg"))
    preprocess = result.classifier.built().info.preprocess
    shown = [pictures.plain(str(file), preprocess) for file in files]
    config = opened.pretrained_cfg
    examples = PixelExamples(
        len(files), lambda row, epoch: shown[row], mean=config["mean"], std=config["std"]
    )
    with torch.inference_mode():
        theirs = opened(examples.batch(np.arange(len(files)), 0)[0]).softmax(1).numpy()
    ours = predicting.predict(model, files).proba
    assert ours.std(0).max() > 1e-3
    np.testing.assert_allclose(theirs, ours, atol=2e-3)
    assert tuple(config["label_names"]) == ("discs", "squares", "stripes")


@pytest.mark.parametrize(("keep", "name"), [("last", "last epoch"), ("loss", "best epoch")])
def test_the_epoch_that_is_kept_is_called_what_it_is(room: Path, keep: str, name: str) -> None:
    """The last one is kept unless it is asked otherwise, however much better another was."""
    training = run("head", run_name=f"kept-{keep}", keep=keep).metrics["training"]
    ways = {found["weights"] for found in training["candidates"] if found["alpha"] < 1}
    assert ways == {name}


@pytest.mark.parametrize("settings", [{}, {"batchnorm": "re-estimate"}, {"image_size": 64}])
def test_alpha_zero_is_the_probe_itself(
    monkeypatch: pytest.MonkeyPatch, results: dict[str, Result], settings: dict[str, Any]
) -> None:
    """Not its weights under a temperature that was fitted to the few images held out."""
    monkeypatch.setattr(candidates, "preferred", lambda found, *_: found[0])
    tuned = run("partial", run_name=f"alpha-zero{len(str(settings))}", **settings)
    training = tuned.metrics["training"]
    assert (training["chosen"]["alpha"], training["probe_kept"]) == (0.0, True)
    assert training["weights"]["moved"] == 0
    probe, kept = results["probe"], tuned.classifier
    assert "Tried" in shown(tuned)
    assert "the probe itself: what was learnt did worse on" in shown(tuned)
    assert "learnt on" not in kept_words.network_in_words(tuned.metrics)
    if settings.get("image_size"):
        return  # the probe of pictures of that size
    assert kept.temperature == probe.classifier.temperature
    assert kept.representation.taps == probe.classifier.representation.taps
    assert np.array_equal(tuned.proba, probe.proba)
    assert np.array_equal(kept.learnt.oof_proba, probe.classifier.learnt.oof_proba)
    files = [result.folder / "model" / "model.safetensors" for result in (tuned, probe)]
    assert files[0].read_bytes() == files[1].read_bytes()


def shown(result: Result) -> str:
    """What the terminal says of a training."""
    screen = Console(record=True, width=200, file=io.StringIO())
    show_training(screen, result.metrics)
    return screen.export_text()


def test_the_module_gives_the_numbers_of_the_pass(results: dict[str, Result], room: Path) -> None:
    probe, prepared = results["probe"].classifier, results["probe"].prepared
    from regraft.backbones import network

    info = prepared.built.info
    loaded = network.rebuild(prepared.built.weights_path, info.architecture, info.config)
    stages = [name for name, _ in info.widths[:-1]]
    model = TunableClassifier(
        loaded.network, stages, info.taps, probe.representation,
        head_module(probe.head, probe.temperature),
    ).eval()  # fmt: skip
    shown = [pictures.plain(p, info.preprocess) for p in prepared.table.paths[:4]]
    config = info.config
    examples = PixelExamples(
        4, lambda row, epoch: shown[row], mean=config["mean"], std=config["std"]
    )
    x, _ = examples.batch(np.arange(4), 0)
    with torch.no_grad():
        logits = model(x).numpy()
    wanted = probe.head.scores(probe.representation(prepared.X[:4])) / probe.temperature
    # The module computes in fp32; of the engine's features the last digits are those of its own.
    atol = 2e-3 if info.precision == "fp32" else 0.2
    np.testing.assert_allclose(logits, wanted, atol=atol)


# -- what goes wrong --


def test_r12_out_of_memory_halves_the_batch_and_the_step_stays_the_same(
    monkeypatch: pytest.MonkeyPatch, results: dict[str, Result]
) -> None:
    forward = TunableClassifier.forward

    def scarce(self: Any, x: torch.Tensor, earlier: Any = None) -> torch.Tensor:
        if self.training and len(x) > 4:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(self, x, earlier)

    monkeypatch.setattr(TunableClassifier, "forward", scarce)
    result = run("partial", run_name="scarce")
    assert any("parts of 4" in note for note in result.metrics["training"]["notes"])
    first = load_file(results["partial"].folder / "checkpoints" / "last.safetensors")
    second = load_file(result.folder / "checkpoints" / "last.safetensors")
    for name, tensor in first.items():
        if name.startswith("model.") and tensor.is_floating_point():
            torch.testing.assert_close(tensor, second[name], atol=1e-5, rtol=1e-4)


def test_another_runtime_error_is_not_taken_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Any, x: torch.Tensor, earlier: Any = None) -> torch.Tensor:
        if self.training:
            raise RuntimeError("size mismatch")
        return forward(self, x, earlier)

    forward = TunableClassifier.forward
    monkeypatch.setattr(TunableClassifier, "forward", broken)
    with pytest.raises(RuntimeError, match="size mismatch"):
        run("head", run_name="mismatch")


def _failing(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    step = stepping.Stepper._backward
    left = [times]

    def backward(self: Any, epoch: int, step_: int, *rest: Any) -> Any:
        found = step(self, epoch, step_, *rest)
        if epoch == 1 and left[0]:
            left[0] -= 1
            return float("nan"), found[1]
        return found

    monkeypatch.setattr(stepping.Stepper, "_backward", backward)


def test_a_loss_that_is_no_number_is_tried_again_with_a_tenth_of_the_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _failing(monkeypatch, 1)
    result = run("partial", run_name="nan-once", schedule="constant", warmup=0.0)
    epochs = result.metrics["training"]["epochs"]
    assert epochs[1]["rate"] == pytest.approx(epochs[0]["rate"] / 10)
    assert any("tenth of the rate" in note for note in result.metrics["training"]["notes"])


def test_a_loss_that_is_no_number_twice_ends_the_run_unsaved(
    monkeypatch: pytest.MonkeyPatch, room: Path
) -> None:
    _failing(monkeypatch, 2)
    with pytest.raises(TrainingError, match="loss became nan in epoch 2") as raised:
        run("partial", run_name="nan-twice")
    assert raised.value.exit_code == 4
    assert "--learning-rate" in raised.value.cure
    assert not (room / "runs" / "nan-twice" / "model").exists()


def test_weights_that_are_no_numbers_after_the_last_step_are_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its loss was fine, and without clipping nobody has looked at its gradient."""
    step, left = stepping.Stepper._backward, [1]

    def backward(self: Any, epoch: int, number: int, *rest: Any) -> Any:
        found = step(self, epoch, number, *rest)
        if left[0] and (epoch, number) == (1, -(-len(self.learn.y) // self.images_per_step) - 1):
            left[0] -= 1
            self.model.head.weight.grad[:] = float("inf")
        return found

    monkeypatch.setattr(stepping.Stepper, "_backward", backward)
    result = run("partial", run_name="inf-gradient", clip=0.0)
    (note,) = result.metrics["training"]["notes"]
    assert "became nan in epoch 2" in note
    assert all(t.isfinite().all() for t in network_of(result.folder / "model").values())


def test_fewer_epochs_than_a_run_has_are_refused_and_nothing_is_lost(room: Path) -> None:
    run("partial", run_name="shorter", epochs=3)
    config = RunConfig(
        "photos", method="partial", backbone=BACKBONE, training={**FAST, "epochs": 2}
    )
    with pytest.raises(UsageError, match="3 epochs already, 2 were asked for"):
        experiment.run(config, out="runs", name="shorter", resume=True)
    assert (room / "runs" / "shorter" / "model" / "config.json").exists()


def test_a_head_can_see_pictures_of_another_size(results: dict[str, Result]) -> None:
    result = run("head", run_name="larger", image_size=192)
    assert result.classifier.built().info.preprocess.input_px == (192, 192)
    saved = json.loads((result.folder / "model" / "config.json").read_text())["pretrained_cfg"]
    assert list(saved["input_size"]) == [3, 192, 192]
    assert results["head"].classifier.built() is results["head"].prepared.built


def test_the_probe_can_see_pictures_of_another_size_and_normalisation(
    results: dict[str, Result], room: Path
) -> None:
    result = run("probe", run_name="larger probe", image_size=192, mean="0.5,0.5,0.5")
    assert result.metrics["backbone"]["input_px"] == [192, 192]
    files = sorted((room / "photos" / "val").rglob("*.*"))
    proba = load(result.folder / "model").predict_proba(files)
    assert np.array_equal(proba, result.classifier.predict_proba(files))
    assert not np.array_equal(proba, results["probe"].classifier.predict_proba(files))
    pixels = [pictures.plain(str(file), result.prepared.built.info.preprocess) for file in files]
    assert pixels[0].shape == (192, 192, 3)
    labels = [file.parent.name for file in files]
    mine = ImageClassifier(backbone=BACKBONE, training={"image_size": 192}).fit(files, labels)
    assert mine.classifier_.info is not None
    assert mine.classifier_.info.preprocess.input_px == (192, 192)


@pytest.mark.parametrize(("name", "settings"), [("full", {}), ("head", {"views": 3})])
def test_pictures_that_choose_are_not_decoded_for_augmentation(
    results: dict[str, Result], monkeypatch: pytest.MonkeyPatch, name: str, settings: dict[str, Any]
) -> None:
    decoded, asked = views.pixels.decoded, []

    def watched(paths: list[str], *args: Any, **kwargs: Any) -> Any:
        asked.append(len(paths))
        return decoded(paths, *args, **kwargs)

    monkeypatch.setattr(views.pixels, "decoded", watched)
    run(name, run_name=f"choosing {name}", **settings)
    assert asked == [36], "of 48 images a quarter chooses"


def test_a_training_of_no_epoch_has_a_page(results: dict[str, Result]) -> None:
    result = run("head", run_name="no epoch", epochs=0)
    assert result.metrics["training"]["epochs"] == []
    assert reporting.report_on(result).stat().st_size > 0


def test_patience_ends_a_run_that_gets_no_better() -> None:
    result = run("head", run_name="patient", epochs=40, patience=2, learning_rate=5.0)
    assert len(result.metrics["training"]["epochs"]) < 40


def test_a_rate_that_is_given_reaches_the_head() -> None:
    slow = run("head", run_name="slow", learning_rate=1e-6)
    fast = run("head", run_name="fast", learning_rate=0.5)
    moved = [r.metrics["training"]["epochs"][-1]["loss"] for r in (slow, fast)]
    assert moved[0] != moved[1]


def test_a_head_that_is_no_matrix_is_refused() -> None:
    config = RunConfig("photos", method="partial", backbone=BACKBONE, head="knn", training=FAST)
    with pytest.raises(ConfigError, match="linear head"):
        experiment.run(config, out="runs", name="knn")


def test_where_training_sees_another_size_the_probe_at_its_own_is_a_candidate(
    results: dict[str, Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def as_it_was(candidates: list[Candidate], *_: object) -> Candidate:
        return next(c for c in candidates if c.name == AS_IT_WAS)

    with monkeypatch.context() as patch:
        patch.setattr(defaults, "image_size", lambda *given: 64)
        patch.setattr(candidates, "preferred", as_it_was)
        result = run("full", run_name="as-it-was")
    training = result.metrics["training"]
    assert training["settings"]["image_size"] == 64
    assert training["chosen"]["weights"] == AS_IT_WAS
    assert result.classifier.built() is result.prepared.built
    assert np.array_equal(result.proba, results["probe"].proba)
    saved = json.loads((result.folder / "model" / "config.json").read_text())["pretrained_cfg"]
    assert saved["input_size"][1:] == list(result.classifier.built().info.preprocess.input_px)

    # A size that was asked for is kept.
    asked = run("full", run_name="asked", image_size=64)
    names = [c["weights"] for c in asked.metrics["training"]["candidates"]]
    assert AS_IT_WAS not in names


# -- settings --


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_more_epochs_go_on_from_where_the_run_ended(room: Path, ema: float) -> None:
    constant = {"ema": ema, "schedule": "constant", "warmup": 0.0, "views": 2, "patience": 0}
    straight = run("partial", run_name=f"straight-{ema}", **{**constant, "epochs": 4})
    run("partial", run_name=f"longer-{ema}", **{**constant, "epochs": 2})
    config = RunConfig(
        "photos", method="partial", backbone=BACKBONE,
        training={**FAST, **constant, "epochs": 4},
    )  # fmt: skip
    longer = experiment.run(config, out="runs", name=f"longer-{ema}", resume=True)
    assert longer.metrics["training"]["resumed_at"] == 2
    first = load_file(straight.folder / "model" / "model.safetensors")
    second = load_file(longer.folder / "model" / "model.safetensors")
    assert backbone_weights.changed(first, second)[1] == []


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "adamw", "schedule": "cosine", "ema": 0.9, "weight_decay": 0.01},
        {"batchnorm": "train", "mixup": 0.2, "cutmix": 1.0, "loss": "focal"},
        {"batchnorm": "re-estimate", "accumulate": 2, "l2_sp": 0.1, "layer_decay": 0.7},
        {"batchnorm": "affine-only", "unfreeze": 1, "patience": 1},
        {"hidden": "16", "dropout": 0.2, "init_head": "random"},
        {"recipe": "tutorial", "batch_size": 4},
        {"keep": "balanced-accuracy", "loss": "nll", "augment": "strong"},
        {"refit": True, "mean": "0.4,0.5,0.6", "std": "0.2,0.2,0.2", "image_size": 64},
    ],
    ids=lambda s: next(iter(s)),
)
@pytest.mark.parametrize("name", ["partial", "full"])
def test_every_setting_trains_saves_and_loads(name: str, settings: dict[str, Any]) -> None:
    label = f"{name}-{abs(hash(json.dumps(settings))) % 10**8}"
    if name == "partial":
        settings = {key: value for key, value in settings.items() if key != "cutmix"}
    result = run(name, run_name=label, **settings)
    again = scoring.evaluate_model(result.folder / "model", "photos")
    assert again.evaluation.accuracy.value == result.evaluation.accuracy.value


def test_the_estimator_takes_the_same_settings(room: Path) -> None:
    files = sorted((room / "photos" / "train").rglob("*.jpg"))
    labels = [file.parent.name for file in files]
    classifier = ImageClassifier(
        method="partial", backbone=BACKBONE, split_point="blocks.3", epochs=1,
        training={"views": 1, "augment": "none"},
    ).fit(files, labels)  # fmt: skip
    settings = classifier.classifier_.learnt.training["settings"]
    assert settings["split_point"] == "blocks.3"
    proba = classifier.predict_proba(files[:5])
    classifier.save(room / "estimated")
    np.testing.assert_allclose(
        ImageClassifier.load(room / "estimated").predict_proba(files[:5]), proba, atol=ONE_ANSWER
    )


def test_settings_refuse_what_they_do_not_know() -> None:
    for values, words in [
        ({"epoch": 3}, "no setting 'epoch'"),
        ({"optimizer": "sdg"}, "no choice 'sdg'"),
        ({"epochs": "three"}, "must be a whole number"),
        ({"label_smoothing": 1.5}, "must be a number from 0 to 0.99, got 1.5"),
        ({"learning_rate": float("nan")}, "must be a number from 0 to 100, got nan"),
        ({"hidden": "a"}, "hidden"),
        ({"mean": "0.5,0.5"}, "3 numbers"),
    ]:
        with pytest.raises(ConfigError, match=words):
            TrainingSettings.from_dict(values)


def test_settings_survive_json() -> None:
    settings = TrainingSettings.from_dict({"recipe": "tutorial", "epochs": 3})
    assert TrainingSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
    assert (settings.learning_rate, settings.batch_size, settings.schedule) == (1e-3, 4, "step")


# -- rules --


def situation(**changes: Any) -> defaults.Situation:
    stages = tuple(f"blocks.{i}" for i in range(7))
    base = defaults.Situation(200, 2, 300.0, 224, True, 0.0, stages)
    return dataclasses.replace(base, **changes)


def test_small_pictures_are_not_blown_up_where_much_has_to_change() -> None:
    def size(method: str, side: float, **changes: Any) -> int:
        changes = {"gain_of_stages": 0.1, **changes}
        return defaults.image_size(METHODS[method], situation(median_side_px=side, **changes))

    assert size("full", 35) == 128
    assert size("full", 150) == 160
    assert size("full", 500) == 224
    assert size("full", 35, takes_any_size=False) == 224
    # Small steps cannot make up for things of another size; scratch has nothing to make up for.
    assert size("full", 35, gain_of_stages=0.0) == 224
    assert size("scratch", 35, gain_of_stages=0.0) == 128
    # The head's features are there already.
    assert size("head", 35) == 224


def test_unlike_data_learn_earlier_and_faster() -> None:
    names = [f"blocks.{i}" for i in range(7)]
    alike, unlike = situation(), situation(gain_of_stages=0.1)
    assert defaults.split_point(unlike, names) == "blocks.3"
    assert defaults.split_point(alike, names) == "blocks.5"
    plain = TrainingSettings()
    assert defaults.learning_rate(METHODS["full"], plain, unlike) > 10 * defaults.learning_rate(
        METHODS["full"], plain, alike
    )


def test_one_image_more_does_not_make_data_unlike() -> None:
    """Of fourteen images it is seven points: no reason for large steps that nothing can check."""
    few = situation(n_images=14, gain_of_stages=1 / 14)
    assert not few.has_to_change
    assert situation(n_images=140, gain_of_stages=1 / 14).has_to_change


def test_a_probe_that_is_often_wrong_leaves_much_to_learn() -> None:
    plain, names = TrainingSettings(), [f"blocks.{i}" for i in range(7)]
    often = situation(n_images=1000, probe_error=0.2)
    assert not often.is_unlike
    assert often.has_to_change
    assert defaults.split_point(often, names) == "blocks.3"
    assert defaults.learning_rate(METHODS["partial"], plain, often) == 0.03
    few = situation(n_images=100, probe_error=0.2)
    assert not few.has_to_change
    assert defaults.learning_rate(METHODS["partial"], plain, few) == 0.0005


def test_the_tie_goes_to_the_middle_of_the_way() -> None:
    def candidate(alpha: float, image_loss: list[float]) -> Candidate:
        none = np.zeros((3, 2))
        return Candidate("best epoch", alpha, np.array(image_loss), 0.0, 0.0, 1.0, none, none)

    level = [candidate(a, [1.0, 2.0, 3.0]) for a in (0.0, 0.5, 1.0)]
    assert preferred(level).alpha == 0.5
    clear = [candidate(0.0, [1.0, 1.0, 1.1]), candidate(0.5, [2.0, 2.0, 2.1])]
    assert preferred(clear).alpha == 0.0


def test_between_keeps_the_bits_of_what_is_equal() -> None:
    start = {"a": torch.tensor([0.1, 0.2]), "n": torch.tensor(3)}
    end = {"a": torch.tensor([0.1, 0.4]), "n": torch.tensor(5)}
    half = between(start, end, 0.5)
    assert half["a"][0].item() == start["a"][0].item()
    assert half["a"][1].item() == pytest.approx(0.3)
    assert half["n"].item() == 5


def test_units_and_rare_classes_are_not_divided() -> None:
    y = np.array([0] * 30 + [1] * 30 + [2])
    units = np.arange(61) // 2
    part = held_out(y, units, 0.2, 0)
    assert 8 <= part.sum() <= 20
    assert not part[60]
    assert all(len(set(part[units == unit])) == 1 for unit in set(units))
    assert not held_out(y[:20], None, 0.2, 0).any()


def test_prefetched_batches_come_in_order_and_whole() -> None:
    X = np.arange(40, dtype=np.float32).reshape(20, 2)
    batches = [np.arange(i, min(i + 3, 20)) for i in range(0, 20, 3)]
    for n_threads in (0, 1, 3):
        found = list(prefetched(FeatureExamples([X]), batches, 0, n_threads=n_threads))
        assert [rows.tolist() for rows, _ in found] == [b.tolist() for b in batches]
        np.testing.assert_array_equal(np.concatenate([x.numpy() for _, (x, _) in found]), X)
