"""Settings of training: known, of the right kind, possible, and read by the method they are for."""

from __future__ import annotations

import re
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regraft.cli import training_options
from regraft.errors import ConfigError
from regraft.machine import json_values
from regraft.record.configuration import RunConfig
from regraft.training.methods import METHODS, TRAINED
from regraft.training.settings import (
    TUTORIAL,
    TrainingSettings,
    option,
)
from regraft.training.usage import users

ROOT = Path(__file__).resolve().parent.parent
ROOM = ROOT / "src" / "regraft" / "training"
FIELDS = {f.name: f for f in fields(TrainingSettings)}
# Some value that is not the default, with what it needs beside it.
OTHER: dict[str, Any] = {
    "recipe": "tutorial", "split_point": "layer3", "epochs": 3, "batch_size": 8, "accumulate": 2,
    "optimizer": "adam", "learning_rate": 0.1, "head_rate": 0.1, "momentum": 0.5,
    "weight_decay": 0.1, "l2_sp": 0.1, "layer_decay": 0.5, "schedule": "cosine", "warmup": 0.1,
    "step_epochs": 3, "gamma": 0.5, "loss": "nll", "label_smoothing": 0.1, "focal_gamma": 1.0,
    "mixup": 0.2, "cutmix": 1.0, "ema": 0.9, "clip": 0.0, "patience": 2, "unfreeze": 1.0,
    "batchnorm": "train", "augment": "strong", "crop_scale": "0.5,1", "degrees": 5.0,
    "horizontal_flip": 0.1, "vertical_flip": 0.1, "views": 3, "image_size": 96, "start_size": 64,
    "mean": "0.5,0.5,0.5", "std": "0.5,0.5,0.5", "init_head": "random", "hidden": "16",
    "dropout": 0.1, "keep": "loss", "select_fraction": 0.2, "interpolate": False,
    "average_last": 1, "refit": True, "precision": "fp32", "compile": "on", "workers": 0,
    "budget_gib": 1.0, "tracker": "tensorboard",
}  # fmt: skip
NEEDED = {
    "step_epochs": {"schedule": "step"}, "gamma": {"schedule": "step"},
    "focal_gamma": {"loss": "focal"}, "dropout": {"hidden": "16"},
}  # fmt: skip


def usable(name: str, method: str) -> dict[str, Any]:
    """The setting with another value, and what it needs."""
    beside = dict(NEEDED.get(name, {}))
    view = ("augment", "crop_scale", "degrees", "horizontal_flip", "vertical_flip")
    if method == "head" and name in view:
        beside["views"] = 2
    return {name: OTHER[name], **beside}


# -- Nothing is there that nothing reads --


def test_every_setting_is_read_where_the_methods_are() -> None:
    """By name, as an attribute; `settings.py` itself and the options made from it do not count."""
    files = [path for path in ROOM.rglob("*.py") if path.name != "settings.py"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    own = (ROOM / "settings.py").read_text(encoding="utf-8")
    # What another name stands for: a property of the settings, or a list of numbers.
    through = {
        "hidden": "hidden_widths", "degrees": "augmentation_changes",
        "crop_scale": "augmentation_changes", "horizontal_flip": "augmentation_changes",
        "vertical_flip": "augmentation_changes",
    }  # fmt: skip
    for name in FIELDS:
        attribute = through.get(name, name)
        read = re.search(rf"settings\.{attribute}\b|numbers\(\"{attribute}\"", text)
        assert read, f"nothing reads {name}"
        if name in through:
            assert re.search(rf"self\.{name}\b|numbers\(\"{name}\"", own)


def test_every_setting_names_its_methods_and_has_an_example_here() -> None:
    assert set(OTHER) == set(FIELDS)
    for name, f in FIELDS.items():
        assert OTHER[name] != f.default
        assert users(name)
        if f.metadata["needs"]:
            assert f.metadata["needs"][0] in FIELDS


# -- What a method does not use is refused --


@pytest.mark.parametrize("method", TRAINED)
@pytest.mark.parametrize("name", FIELDS)
def test_a_setting_passes_where_it_is_used_and_is_refused_elsewhere(name: str, method: str) -> None:
    values = usable(name, method)
    is_as_it_is = METHODS[method].fixed.get(name) == OTHER[name]
    if method in users(name) or is_as_it_is:
        RunConfig("photos", method=method, training=values)
        return
    with pytest.raises(ConfigError, match=f"'{method}' does not use {option(name)}") as caught:
        RunConfig.from_dict({"data": "x", "method": method, "training": values}, place="run.json")
    assert "where: run.json" in str(caught.value)
    assert users(name)[-1] in caught.value.cure
    assert f"leave out {option(name)}" in caught.value.cure


@pytest.mark.parametrize("name", FIELDS)
def test_the_probe_uses_those_of_the_input_alone(name: str) -> None:
    if name in ("image_size", "mean", "std"):
        config = RunConfig("photos", training={name: OTHER[name]})
        assert config.source.variant != RunConfig("photos").source.variant
        return
    with pytest.raises(ConfigError, match="method 'probe' does not use"):
        RunConfig("photos", training=usable(name, "probe"))


@pytest.mark.parametrize("method", ["probe", *TRAINED])
def test_defaults_pass_everywhere(method: str) -> None:
    everything = TrainingSettings().to_dict()
    assert RunConfig("photos", method=method, training=everything).training == everything


@pytest.mark.parametrize("method", TRAINED)
def test_the_tutorials_recipe_passes_written_out_too(method: str) -> None:
    short = RunConfig("photos", method=method, training={"recipe": "tutorial"}).settings
    long = RunConfig("photos", method=method, training={"recipe": "tutorial", **TUTORIAL}).settings
    assert short == long


@pytest.mark.parametrize(
    ("method", "values", "words"),
    [
        ("full", {"momentum": 0.5, "optimizer": "adam"}, "used with --optimizer sgd only"),
        ("full", {"gamma": 0.5}, "used with --schedule step only"),
        ("full", {"step_epochs": 3, "schedule": "cosine"}, "used with --schedule step only"),
        ("head", {"focal_gamma": 1.0}, "used with --loss focal only"),
        ("head", {"dropout": 0.1}, "used with --hidden WIDTHS only"),
        ("head", {"augment": "strong"}, "sees each picture as it is"),
        ("head", {"degrees": 10.0, "views": 1}, "sees each picture as it is"),
    ],
)
def test_what_only_matters_beside_another_setting_is_refused_without_it(
    method: str, values: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        RunConfig("photos", method=method, training=values)


@pytest.mark.parametrize("method", ["head", "partial", "full"])
def test_taps_of_a_random_head_are_refused(method: str) -> None:
    for taps in (None, ["final"], ["codes"]):
        RunConfig("photos", method=method, taps=taps, training={"init_head": "random"})
    with pytest.raises(ConfigError, match=r"does not use --taps blocks\.4,final") as caught:
        RunConfig("x", method=method, taps=["blocks.4", "final"], training={"recipe": "tutorial"})
    assert "--init-head probe" in caught.value.cure
    RunConfig("x", method=method, taps=["blocks.4"])
    with pytest.raises(ConfigError, match="does not use --taps"):
        RunConfig("x", method="scratch", taps=["blocks.4"])


def test_a_method_that_is_none_is_refused_before_its_settings() -> None:
    with pytest.raises(ConfigError, match="no method is called 'ful'"):
        RunConfig("photos", method="ful", training={"epochs": 3})


# -- Values that cannot be --


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"crop_scale": "1,0.5"}, ["smallest <= largest", "--crop-scale"]),
        ({"crop_scale": "0,1"}, ["0 < smallest", "--crop-scale"]),
        ({"crop_scale": "0.5,2"}, ["<= 1", "--crop-scale"]),
        ({"crop_scale": "0.5"}, ["crop_scale", "2 numbers"]),
        ({"augment": "none", "degrees": 10.0}, ["'none'", "takes no settings", "--degrees"]),
        ({"vertical_flip": 2.0}, ["vertical_flip", "from 0 to 1", "2.0"]),
        ({"mean": "123,117,104"}, ["mean", "0..1", "123"]),
        ({"std": "0,0.2,0.2"}, ["std", "above 0"]),
        ({"batch_size": None}, ["'batch_size'", "whole number", "None"]),
        ({"compile": True}, ["'compile'", "one of auto, on, off", "True"]),
    ],
)
def test_values_that_cannot_be_are_refused_before_any_work(
    values: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        RunConfig.from_dict({"data": "x", "method": "full", "training": values})
    for word in words:
        assert word in str(caught.value)


@given(st.floats(-0.5, 1.5), st.floats(-0.5, 1.5))
def test_a_crop_is_accepted_if_it_can_be_made(low: float, high: float) -> None:
    from regraft.training.views import augmentation_of

    values = {"crop_scale": f"{low},{high}", "augment": "light"}
    if 0 < low <= high <= 1:
        assert augmentation_of(TrainingSettings.from_dict(values)).scale == (low, high)
    else:
        with pytest.raises(ConfigError):
            TrainingSettings.from_dict(values)


# -- The same in three places --


def shown(f: Field[Any]) -> str:
    methods = users(f.name)
    names = {TRAINED: "all that train", tuple(METHODS): "every method"}
    return names.get(methods, ", ".join(methods))


def test_the_page_says_which_method_uses_what() -> None:
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    _, _, rest = page.partition("### Which setting is for which method")
    table, _, _ = rest.partition("\n## ")
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", table, flags=re.MULTILINE)[1:]
    said: dict[str, str] = {}
    for methods, names in rows:
        for flag in re.findall(r"`(--[a-z0-9-]+)`", names):
            assert flag not in said, f"{flag} stands there twice"
            said[flag] = methods.replace("`", "").strip()
    assert said == {option(name): shown(f) for name, f in FIELDS.items()}


def test_the_help_says_it_too() -> None:
    @training_options.training
    def nothing(**given: Any) -> None: ...

    command = click.command()(nothing)
    helps = {p.name: p.help for p in command.params if isinstance(p, click.Option)}
    assert helps["split_point"].endswith(" (partial).")
    assert helps["start_size"].endswith(" (full, scratch).")
    assert "(with --schedule step)." in helps["gamma"]
    for name, f in FIELDS.items():
        is_of_some = users(name) not in (TRAINED, tuple(METHODS))
        assert (f"({shown(f)})" in helps[name]) == is_of_some


@pytest.mark.parametrize(
    ("value", "kind", "is_right"),
    [
        (1, int, True), (1.0, int, False), (True, int, False), (False, float, False),
        (1, float, True), ("1", float, False), (None, int | None, True), (None, int, False),
        (["a"], list[str] | None, True), (["a", 1], list[str] | None, False),
        ({"a": 1}, dict[str, Any] | None, True), ([], dict[str, Any] | None, False),
        (True, bool, True), (1, bool, False), ("x", str, True),
    ],
)  # fmt: skip
def test_values_are_of_the_kind_that_is_written(value: Any, kind: Any, is_right: bool) -> None:
    if is_right:
        assert json_values.fitted(value, kind) == value
        return
    with pytest.raises(json_values.MisfitError, match=r"'x(\[1\])?' must be") as caught:
        json_values.fitted(value, kind, "x")
    assert "got" in str(caught.value)
