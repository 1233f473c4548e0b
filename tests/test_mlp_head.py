"""The MLP head gives torch's numbers, keeps the contract of heads, and survives being saved."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from regraft import load
from regraft.errors import ArtefactError
from regraft.model.loading import head_of
from regraft.probe.linear_head import LinearHead
from regraft.probe.mlp_head import MLPHead
from test_artefact import CLASSES, X, make_parts, read_config


def head(*widths, seed=0):
    """Random layers through these widths, features first."""
    rng = np.random.default_rng(seed)
    return MLPHead(
        tuple(
            (rng.normal(size=(o, i)).astype(np.float32), rng.normal(size=o).astype(np.float32))
            for i, o in pairwise(widths)
        )
    )


def test_one_layer_is_the_linear_head():
    mlp = head(4, 3)
    Z = np.random.default_rng(1).normal(size=(6, 4)).astype(np.float32)
    assert_array_equal(mlp.scores(Z), LinearHead(*mlp.layers[0]).scores(Z))


@pytest.mark.parametrize("widths", [(4, 3), (4, 7, 3), (4, 7, 5, 2)])
def test_scores_are_torchs(widths):
    mlp, modules = head(*widths), []
    for weight, bias in mlp.layers:
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.load_state_dict({"weight": torch.tensor(weight), "bias": torch.tensor(bias)})
        modules += [linear, nn.ReLU()]
    Z = np.random.default_rng(1).normal(size=(6, 4)).astype(np.float32)
    with torch.no_grad():
        expected = nn.Sequential(*modules[:-1])(torch.tensor(Z)).numpy()
    assert (expected < 0).any(), "no ReLU after the last layer"
    found = mlp.scores(Z)
    assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert (found.dtype, found.shape) == (np.float32, (6, widths[-1]))


@pytest.mark.parametrize("widths", [(4, 3), (4, 7, 3), tuple(range(2, 15))])
def test_its_tensors_give_it_back(widths):
    mlp = head(*widths)
    tensors = mlp.to_tensors()
    assert len(tensors) == 2 * (len(widths) - 1)
    again = MLPHead.from_tensors(dict(reversed(tensors.items())))
    for own, other in zip(mlp.layers, again.layers, strict=True):
        assert_array_equal(own[0], other[0])
        assert_array_equal(own[1], other[1])
    assert again.n_classes == widths[-1]


F = np.float32
CHANGES = {
    "a gap": ({"weight.1": None, "bias.1": None}, "bias.2|weight.1", KeyError),
    "no bias": ({"bias.0": None}, "bias.0", KeyError),
    "nothing": (dict.fromkeys(("weight.0", "bias.0", "weight.1", "bias.1", "weight.2", "bias.2")),
                "weight.0", KeyError),
    "a stranger": ({"scale": np.ones(1, F)}, "has tensors besides", ValueError),
    "a bias too many": ({"bias.3": np.ones(2, F)}, "has tensors besides", ValueError),
    "two names for a layer": ({"weight.01": np.ones((5, 7), F)}, "weight.3", KeyError),
    "widths that do not meet": ({"weight.1": np.ones((5, 6), F)}, r"weight \(H, 7\)", ValueError),
    "bias of another width": ({"bias.1": np.ones(4, F)}, "layer 1", ValueError),
    "a row as bias": ({"bias.1": np.ones((1, 5), F)}, "layer 1", ValueError),
    "a number as bias": ({"bias.1": np.ones((), F)}, "layer 1", ValueError),
    "a number as weight": ({"weight.0": np.ones((), F)}, "layer 0", ValueError),
    "a vector as weight": ({"weight.0": np.ones(7, F)}, "layer 0", ValueError),
    "a cube as weight": ({"weight.1": np.ones((5, 7, 1), F)}, "layer 1", ValueError),
    "no unit": ({"weight.1": np.ones((0, 7), F), "bias.1": np.ones(0, F)}, "layer 1", ValueError),
    "float64": ({"weight.1": np.ones((5, 7))}, "layer 1 has float64 and float32", ValueError),
    "integers": ({"bias.2": np.ones(2, np.int32)}, "layer 2 has float32 and int32", ValueError),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_tensors_that_do_not_fit_are_refused(what):
    change, match, kind = CHANGES[what]
    tensors = {**head(4, 7, 5, 2).to_tensors(), **change}
    with pytest.raises(kind, match=match):
        MLPHead.from_tensors({name: v for name, v in tensors.items() if v is not None})


# -- In a saved model --


def parts_with(folder: Path, *widths: int, taps=("layer1", "final")):
    parts = make_parts(folder, taps)
    n_features = len(parts.representation.centre)
    return make_parts(folder, taps, head=head(n_features, *widths))


@pytest.mark.parametrize("widths", [(3,), (16, 3), (8, 8, 3)])
@pytest.mark.parametrize("taps", [("final",), ("layer1", "final", "source")])
def test_a_saved_model_gives_the_same_probabilities(tmp_path, widths, taps):
    parts = parts_with(tmp_path, *widths, taps=taps)
    loaded = load(parts.save(tmp_path / "model"))
    assert loaded.head.kind == "mlp"
    assert head_of("mlp") is MLPHead is type(loaded.head)
    assert_array_equal(loaded.proba_of(X), parts.proba())
    ours = read_config(tmp_path / "model")["regraft"]
    assert (ours["timm"], ours["head"]) == (False, {"kind": "mlp"})
    assert ours["timm_reason"] == "the head is of the kind 'mlp', not linear"


def test_a_head_that_does_not_fit_the_model_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match=f"the head gives 4 scores for {len(CLASSES)} classes"):
        parts_with(tmp_path, 5, 4).save(tmp_path / "model")
    parts = make_parts(tmp_path, head=head(99, 5, 3))
    with pytest.raises(ValueError, match="99"):
        parts.save(tmp_path / "model")
    broken = parts_with(tmp_path, 5, 3)
    broken.head.layers[0][0][0, 0] = np.nan
    with pytest.raises(ValueError, match=r"'weight\.0' holds numbers that are not finite"):
        broken.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_an_older_regraft_would_say_which_heads_it_knows():
    with pytest.raises(ArtefactError, match="known are linear, knn, mlp"):
        head_of("transformer")
