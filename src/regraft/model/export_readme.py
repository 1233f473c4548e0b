"""``README.md`` of an exported model: what it is, and ten lines that run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from regraft.probe.classifier import Classifier
from regraft.wording import count, percent, printable, shortened

NAME = "README.md"
# Names of classes that are listed.
_SHOWN = 12


def write(
    folder: Path, facts: Mapping[str, Any], compared: Mapping[str, Any], classifier: Classifier
) -> None:
    """Write it into the folder of an export."""
    text = Template(_template(f"readme_{facts['target']}.md.txt")).substitute(
        title=f"A classifier of {count(len(classifier.classes), 'class', 'classes')}",
        classes=_classes(classifier.classes),
        score=_score(facts["score"]),
        licence=facts["backbone"]["licence"] or "not stated",
        origin=facts["backbone"]["origin"] or "not stated",
        precision=facts["precision"],
        compared=_compared(compared),
        from_file=_from_file(compared["from_file"]),
        int8=_int8(compared.get("int8")),
        made_by=facts["made_by"],
        **_code(facts["inputs"], facts["target"]),
    )
    (folder / NAME).write_text(text, encoding="utf-8", errors="backslashreplace")


def _code(inputs: Sequence[Mapping[str, Any]], target: str) -> dict[str, str]:
    """What is said and typed for each input, by the template's words."""
    made = '{}("golden/0.jpg")[None]'
    if target == "torch":
        made = f"torch.from_numpy({made})"
    names = [one["name"] for one in inputs]
    scripts = [Path(one["made_by"]).stem for one in inputs]
    both = list(zip(names, scripts, strict=True))
    return {
        "inputs": "; ".join(map(_said, inputs)),
        "imports": "\n".join(map(_imported, scripts)),
        "made": "\n".join(f"{name} = {made.format(script)}" for name, script in both),
        "fed": ", ".join(f'"{name}": {name}' for name in names),
        "given": ", ".join(names),
        "made_in_javascript": "\n".join(map(_in_javascript, inputs)),
        "tensors": ", ".join(f"`{Path(one['golden']).name}`" for one in inputs),
    }


def _said(one: Mapping[str, Any]) -> str:
    shape = ", ".join(map(str, one["shape"]))
    return f"`{one['name']}`: uint8 ({shape}), RGB as `{one['made_by']}` makes it"


def _imported(script: str) -> str:
    renamed = "" if script == "preprocess" else f" as {script}"
    return f"from {script} import preprocess{renamed}"


def _in_javascript(one: Mapping[str, Any]) -> str:
    _, height, width, _ = one["shape"]
    return f'  {one["name"]}: first("{one["golden"]}", {height}, {width}),'


def _classes(names: tuple[str, ...]) -> str:
    shown = ", ".join(printable(shortened(name, 40)) for name in names[:_SHOWN])
    rest = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return shown + rest


def _score(score: Mapping[str, Any]) -> str:
    accuracy = score.get("accuracy")
    if not accuracy:
        return "It was not tested where it was made."
    low, high = percent(accuracy["low"]), percent(accuracy["high"])
    return (
        f"Accuracy {percent(accuracy['value'])} ({low} to {high}) on "
        f"{count(score['images'], 'image')} that taught it nothing."
    )


def _compared(compared: Mapping[str, Any]) -> str:
    return (
        f"Held against the model it was made from on {count(compared['images'], 'real image')} "
        f"in {compared['runtime']}: {count(compared['flips'], 'other label')}, probabilities "
        f"differ by {compared['max_difference']:.1g} at most."
    )


def _from_file(said: Mapping[str, Any]) -> str:
    if not said["images"]:
        return ""
    return (
        f"With the pixels of `preprocess.py`: {count(said['flips'], 'other label')}, "
        f"{said['max_difference']:.2g} at most, {said['grey_levels']:.2f} grey levels apart on "
        "average."
    )


def _int8(said: Mapping[str, Any] | None) -> str:
    if not said:
        return ""
    return f"In 8-bit integers: {said['in_words']}, {said['drop']:.2f} points lost.\n"


def _template(name: str) -> str:
    return (resources.files("regraft.model") / "templates" / name).read_text(encoding="utf-8")
