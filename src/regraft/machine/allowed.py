"""What a setting may be, in words: of an annotation, of an option's range, of a list of choices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, fields
from types import NoneType
from typing import Any, get_args

from msgspec import Meta

from regraft.wording import near_names

_TYPES: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list of texts",
    dict: "settings by their names",
}


def number_in_words(
    kind: type,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
) -> str:
    """Which numbers are meant.

    Examples
    --------
    >>> number_in_words(int, ge=1), number_in_words(float, ge=0, le=100)
    ('a whole number of 1 or more', 'a number from 0 to 100')
    >>> number_in_words(float, gt=0, lt=1), number_in_words(float)
    ('a number above 0 and below 1', 'a number')
    """
    what = _TYPES[kind]
    if ge is not None and le is not None:
        return f"{what} from {ge:,} to {le:,}"
    low = f"of {ge:,} or more" if ge is not None else f"above {gt:,}" if gt is not None else ""
    high = f"at most {le:,}" if le is not None else f"below {lt:,}" if lt is not None else ""
    return " ".join((what, " and ".join(part for part in (low, high) if part))).strip()


def in_words(annotation: Any) -> str:
    """What an annotation allows; '' of one that has no words. That it may be left out goes unsaid.

    Examples
    --------
    >>> from typing import Annotated
    >>> in_words(Annotated[int, Meta(ge=0, le=9)] | None), in_words(list[str] | None)
    ('a whole number from 0 to 9', 'a list of texts')
    """
    kinds = [one for one in get_args(annotation) if one is not NoneType]
    if len(kinds) == 1 and NoneType in get_args(annotation):
        return in_words(kinds[0])
    metas = [one for one in kinds if isinstance(one, Meta)]
    if metas:
        bounds = {name: getattr(metas[0], name) for name in ("ge", "gt", "le", "lt")}
        return number_in_words(kinds[0], **bounds)
    return _TYPES.get(getattr(annotation, "__origin__", annotation), "")


def listed(kind: type, name: str) -> str:
    """The choices of a setting of a dataclass, where its field lists some; else ''."""
    (choices,) = (field.metadata.get("choices") for field in fields(kind) if field.name == name)
    return f"one of {', '.join(choices)}" if choices else ""


def without_it(kind: type, name: str) -> str:
    """What happens if a setting of a dataclass is left out; '' if it cannot be."""
    (default,) = (field.default for field in fields(kind) if field.name == name)
    if default is MISSING:
        return ""
    leave = f"leave out {name!r}"
    return leave if default in (None, "") else f"{leave}: it is then {default!r}"


def choice_meant(value: object, choices: Sequence[str]) -> str:
    """The cure of a choice that is none.

    Examples
    --------
    >>> choice_meant("rigde", ["lda", "ridge"]), choice_meant("x", ["lda", "ridge"])
    ("did you mean 'ridge'? The choices: lda, ridge", 'the choices: lda, ridge')
    >>> choice_meant("prob", ["probe", "head"])
    "did you mean 'probe'? The choices: probe, head"
    """
    near = near_names(str(value), choices, n=1)
    listed = f"he choices: {', '.join(choices)}"
    return f"did you mean {near[0]!r}? T{listed}" if near else f"t{listed}"
