"""A recipe's digest changes with every ingredient, with nothing else, and in no other process."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regraft.features.recipe import Recipe

PREPROCESS = {"size": 224, "crop": 0.875, "mean": [0.5, 0.5, 0.5], "interpolation": "bicubic"}
RECIPE = Recipe(
    weights_digest="0f" * 32,
    taps=("blocks.4", "final"),
    pooling=("mean", "max"),
    preprocess=PREPROCESS,
    precision="bf16",
    engine="openvino 2026.4.1",
    decoder="1",
)
words = st.text(max_size=12)
names = st.lists(words, max_size=4).map(tuple)
numbers = st.floats(allow_nan=False, allow_infinity=False)
preprocesses = st.dictionaries(
    words, st.one_of(st.integers(), numbers, words, st.lists(numbers, max_size=3)), max_size=4
)
recipes = st.builds(
    Recipe,
    weights_digest=words,
    taps=names,
    pooling=names,
    preprocess=preprocesses,
    precision=words,
    engine=words,
    decoder=words,
    view=words,
    store_dtype=st.sampled_from(["float32", "float16"]),
)
OTHERS: dict[str, Any] = {
    "weights_digest": "1f" * 32,
    "taps": ("final", "blocks.4"),
    "pooling": ("mean",),
    "preprocess": PREPROCESS | {"size": 225},
    "precision": "fp32",
    "engine": "openvino 2026.4.2",
    "decoder": "2",
    "view": "left",
    "store_dtype": "float16",
}


def test_every_ingredient_is_tried_below() -> None:
    assert set(OTHERS) == {field.name for field in fields(Recipe)}


@pytest.mark.parametrize("ingredient", OTHERS)
def test_changing_an_ingredient_changes_the_digest(ingredient: str) -> None:
    changed: Recipe = replace(RECIPE, **{ingredient: OTHERS[ingredient]})
    assert changed.digest != RECIPE.digest


@given(recipes, recipes)
def test_two_recipes_share_a_digest_only_if_they_are_equal_in_print(a: Recipe, b: Recipe) -> None:
    assert (a.digest == b.digest) == (a.to_json() == b.to_json())


@given(recipes)
def test_json_gives_the_same_recipe_back(recipe: Recipe) -> None:
    again = Recipe.from_json(recipe.to_json())
    assert again == recipe
    assert again.digest == recipe.digest
    assert hash(again) == hash(recipe)


@given(recipes)
def test_order_of_preprocess_keys_does_not_matter(recipe: Recipe) -> None:
    turned = replace(recipe, preprocess=dict(reversed(recipe.preprocess.items())))
    assert turned.digest == recipe.digest


def test_tuples_and_lists_are_one() -> None:
    assert replace(RECIPE, taps=list(RECIPE.taps)) == RECIPE  # type: ignore[arg-type]
    tupled = PREPROCESS | {"mean": (0.5, 0.5, 0.5)}
    assert replace(RECIPE, preprocess=tupled).digest == RECIPE.digest


def test_digest_is_the_same_in_another_process() -> None:
    program = "import sys; from regraft.features.recipe import Recipe; " + (
        "print(Recipe.from_json(sys.argv[1]).digest)"
    )
    child = subprocess.run(
        [sys.executable, "-c", program, RECIPE.to_json()],
        env=os.environ | {"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert child.stdout.strip() == RECIPE.digest


@pytest.mark.parametrize(
    ("ingredient", "value"), [("store_dtype", "bfloat16"), ("preprocess", {"mean": float("nan")})]
)
def test_what_could_not_be_kept_or_compared_is_refused(ingredient: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"store_dtype must be one of|not JSON compliant"):
        _ = replace(RECIPE, **{ingredient: value}).digest
