"""Everything Regraft refuses, as one tree, with the exit code each branch has on the command line.

    RegraftError            1
    ├── UsageError          2   a command, option or setting that cannot be meant
    │   ├── ConfigError     2   a run's configuration has an unknown key or a wrong value
    │   ├── BackboneError   2   no such backbone, or its weights cannot be had here
    │   └── MissingPackageError 2  what an extra brings is not installed; an ImportError too
    ├── DataError           3   the data would make the result wrong, or nothing to train on
    │   ├── TableError      3   a folder or manifest that is not images with labels
    │   ├── ArchiveError    3   an archive that would write outside its folder, or a bomb
    │   ├── SplitError      3   no honest way to divide these images
    │   └── DecodeError     3   one image file that cannot be read whole
    ├── TrainingError       4   the loss or the solution stopped being finite
    ├── WorkerError         4   processes or machines that work for a run died
    ├── ArtefactError       5   a model file that is damaged, foreign or newer
    └── WeightsError        5   a weights file that is not what it should be

Programming mistakes stay ``TypeError`` and ``ValueError``. The library raises; only the command
line turns an error into one message and an exit code.
"""

from __future__ import annotations

from typing import Any


class RegraftError(Exception):
    """Base of all: the rule that was broken, the place, and what to do about it.

    Parameters
    ----------
    rule : str
        What was expected and what was found, both values named.
    place : str, optional
        File, row, column, layer: where to look.
    cure : str, optional
        What the user can do, with the option or the edit spelled out.
    **facts
        Kept as attributes, so that callers need not parse text.

    Examples
    --------
    >>> error = SplitError("2 groups, 5 folds", place="leaves.csv", cure="--folds 2", n_groups=2)
    >>> print(error)
    2 groups, 5 folds
      where: leaves.csv
      cure:  --folds 2
    >>> error.n_groups, error.exit_code
    (2, 3)
    """

    exit_code = 1

    def __init__(self, rule: str, *, place: str = "", cure: str = "", **facts: Any) -> None:
        self.rule, self.place, self.cure, self.facts = rule, place, cure, facts
        for name, value in facts.items():
            setattr(self, name, value)
        lines = [rule]
        if place:
            lines.append(f"  where: {place}")
        if cure:
            lines.append("  cure:  " + cure.replace("\n", "\n         "))
        super().__init__("\n".join(lines))

    def __getattr__(self, name: str) -> Any:
        # Only reached for what __init__ did not set; tells type checkers that facts are attributes.
        raise AttributeError(name)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.rule, self.place, self.cure, self.facts)


def _rebuild(
    kind: type[RegraftError], rule: str, place: str, cure: str, facts: dict[str, Any]
) -> RegraftError:
    return kind(rule, place=place, cure=cure, **facts)


class UsageError(RegraftError):
    """A command, option or name that cannot be meant."""

    exit_code = 2


class ConfigError(UsageError):
    """A run's configuration has an unknown key or a value of the wrong kind."""


class BackboneError(UsageError):
    """No backbone of this name, or its weights are not here and cannot be had."""


class MissingPackageError(UsageError, ImportError):
    """A package that an extra brings is not installed; ``cure`` is the line to type."""


class DataError(RegraftError):
    """The data would make the result wrong, or there is nothing to train on."""

    exit_code = 3


class TableError(DataError):
    """A folder or manifest cannot be read as images with labels."""


class ArchiveError(DataError):
    """An archive would write outside its folder, fill the disk, or is damaged."""


class SplitError(DataError):
    """There is no honest way to divide these images, or the given division is wrong."""


class DecodeError(DataError):
    """One image file cannot be read whole; ``rule`` is the reason, ``cure`` the mend."""


class TrainingError(RegraftError):
    """The loss or the solution stopped being finite."""

    exit_code = 4


class WorkerError(RegraftError):
    """Workers of a pass died, of one image or one after another."""

    exit_code = 4


class ArtefactError(RegraftError):
    """A model file is damaged, foreign, or newer than this Regraft."""

    exit_code = 5


class WeightsError(RegraftError):
    """A weights file is damaged or does not fit the network."""

    exit_code = 5
