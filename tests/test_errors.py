"""The tree of errors: drawn as it is, one exit code a branch, messages that say what to do."""

from __future__ import annotations

import pickle
import re

import pytest

from regraft import errors
from regraft.errors import RegraftError

KINDS = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, RegraftError)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_tree_in_the_docstring_is_true(kind: type[RegraftError]) -> None:
    drawn = re.search(rf"^([ │├└─]*){kind.__name__} +(\d)", errors.__doc__ or "", re.MULTILINE)
    assert drawn, "every error is drawn"
    assert int(drawn[2]) == kind.exit_code
    depth = sum(issubclass(parent, RegraftError) for parent in kind.__mro__) - 1
    assert len(drawn[1]) == 4 + 4 * depth


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_holds_rule_place_and_cure_and_facts_are_attributes(
    kind: type[RegraftError],
) -> None:
    error = kind("2 groups, 5 folds", place="a.csv", cure="fewer\nor more", n_groups=2)
    assert str(error) == "2 groups, 5 folds\n  where: a.csv\n  cure:  fewer\n         or more"
    assert (error.rule, error.place, error.n_groups) == ("2 groups, 5 folds", "a.csv", 2)
    with pytest.raises(AttributeError):
        error.n_folds  # noqa: B018
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind
    assert (str(back), back.n_groups) == (str(error), 2)


def test_place_and_cure_may_be_left_out() -> None:
    assert str(errors.DataError("rule")) == "rule"
    assert str(errors.DataError("rule", cure="do")) == "rule\n  cure:  do"
