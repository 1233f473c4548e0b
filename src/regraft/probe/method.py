"""What a method says of itself: its name, how it is spoken of, what it does to a network.

Lists, help, refusals, default rules and every sentence about a method are made from this, so that
a new one is a file that declares itself and a line in ``training/methods.py``. Nothing heavy is
imported here: the command line's help reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Method:
    """A way to make a classifier of a network.

    Attributes
    ----------
    name : str
        As it is typed and kept.
    help : str
        In a few words, for the option's help.
    learns : str
        What learns; ``{split_point}`` stands for the first module that does.
    network : str
        What became of the network, for the report.
    paper : str
        The same for a paper's methods paragraph.
    warning : str
        What a user must hear beside the result; empty if nothing.
    trains : bool
        By gradients, so that it has settings, epochs and checkpoints.
    moves_network : bool
        Layers of the network learn, not a head alone.
    splits : bool
        Layers before a split point stay, those after it learn.
    sees_pictures : bool
        An epoch reads pictures, not what a frozen part made of them.
    has_views : bool
        Augmented views of each picture are computed once, by what is frozen.
    starts_anew : bool
        From random weights.
    fixed : mapping
        Settings that it has whatever is said; to say just that is no mistake.
    images_seen : {whether much has to change: (images, fewest epochs, most epochs)}
        Images seen in all, by which the number of epochs is chosen, and its bounds.
    trainable : callable(plan) -> Trainable or None
        What of the network learns, and its examples.
    """

    name: str
    help: str
    learns: str
    network: str
    paper: str = ""
    warning: str = ""
    trains: bool = True
    moves_network: bool = True
    splits: bool = False
    sees_pictures: bool = False
    has_views: bool = False
    starts_anew: bool = False
    fixed: Mapping[str, Any] = field(default_factory=dict)
    images_seen: Mapping[bool, tuple[int, int, int]] = field(default_factory=dict)
    trainable: Callable[[Any], Any] | None = None

    @property
    def shows_pictures(self) -> bool:
        """To the network, at a size and normalisation of one's choice: every method does."""
        return True

    @property
    def starts_from_probe(self) -> bool:
        """It trains, and the probe's head may be where it begins."""
        return self.trains and not self.starts_anew

    def what_learns(self, split_point: str | None) -> str:
        """In words.

        Examples
        --------
        >>> from regraft.training.methods import METHODS
        >>> METHODS["partial"].what_learns("blocks.5"), METHODS["full"].what_learns(None)
        ('from blocks.5 on', 'every layer')
        """
        return self.learns.format(split_point=split_point)


PROBE = Method(
    name="probe",
    help="a head in closed form",
    learns="the head alone, in closed form",
    network="kept as it was, with a new last layer",
    trains=False,
    moves_network=False,
)
