"""What stands behind the question mark of an address, checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from starlette.datastructures import QueryParams

from regraft.errors import UsageError
from regraft.probe.classifier import Classifier
from regraft.probe.doubts import Levels
from regraft.server.answers import TOP, Wanted
from regraft.server.refusals import Refusal
from regraft.wording import near_names

T = TypeVar("T")
YES, NO = ("1", "true", "yes"), ("0", "false", "no")
MOST_TOP = 10_000
# What may be asked beside a label; see `Classifier.answer`.
LEVELS = ("coverage", "reject", "precision", "per_class")


def wanted(query: QueryParams) -> tuple[str | None, Wanted]:
    """The model that was named, and what its answer shall hold.

    Raises
    ------
    Refusal
        400: an option that there is not, twice, or with a value that it cannot have.

    Examples
    --------
    >>> wanted(QueryParams("model=ants&top=5"))  # doctest: +ELLIPSIS
    ('ants', Wanted(top=5, heatmap=False, levels=Levels(coverage=None, reject=None, ...)))
    >>> wanted(QueryParams("tpo=5"))
    Traceback (most recent call last):
        ...
    regraft.server.refusals.Refusal: there is no option 'tpo'
    """
    given = _once_each(query, ("model", "top", "heatmap", *LEVELS))
    top = _value(given, "top", _whole_number, TOP)
    heatmap = _value(given, "heatmap", _yes_or_no, False)
    return given.get("model"), Wanted(top, heatmap, _levels(given))


def require(classifier: Classifier, levels: Levels) -> None:
    """Refusal 400 for levels that this model cannot give."""
    try:
        classifier.require(levels)
    except UsageError as error:
        raise _in_address(error) from error


def _levels(given: Mapping[str, str]) -> Levels:
    try:
        return Levels.of(
            coverage=given.get("coverage"),
            reject=given.get("reject"),
            precision=given.get("precision"),
            per_class=_value(given, "per_class", _yes_or_no, False),
        )
    except UsageError as error:
        raise _in_address(error) from error


def _in_address(error: UsageError) -> Refusal:
    """What the command line would be told, with options as they stand in an address."""
    return Refusal(400, _undashed(error.rule), cure=_undashed(error.cure))


def _undashed(text: str) -> str:
    """As in an address.

    >>> _undashed("--coverage 95% --per-class")
    'coverage=95% per_class=1'
    """
    text = re.sub(r"--(coverage|reject|precision) (?=\S)", r"\1=", text)
    return re.sub(r"--(coverage|reject|precision)\b", r"\1", text).replace(
        "--per-class", "per_class=1"
    )


def _once_each(query: QueryParams, known: tuple[str, ...]) -> Mapping[str, str]:
    for name in query:
        if name not in known:
            near = near_names(name, known, n=1)
            cure = f"did you mean {near[0]}? " if near else ""
            raise Refusal(
                400, f"there is no option {name[:80]!r}", cure=f"{cure}there are {', '.join(known)}"
            )
        if len(query.getlist(name)) > 1:
            raise Refusal(400, f"the option {name!r} came twice", cure="give it once")
    return dict(query)


def _value(given: Mapping[str, str], name: str, read: Callable[[str], T], default: T) -> T:
    if name not in given:
        return default
    try:
        return read(given[name])
    except ValueError as error:
        rule = f"{name}={given[name][:80]!r}: expected {error}"
        raise Refusal(400, rule, cure=f"leave {name} out, or mend its value") from None


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= MOST_TOP):
        raise ValueError(f"a whole number from 1 to {MOST_TOP}")
    return int(text)


def _yes_or_no(text: str) -> Any:
    if text not in YES + NO:
        raise ValueError("1 or 0")
    return text in YES
