"""Which value is white in pictures of more than 8 bits: one rule for a whole set of pictures.

A file of 16 bits may hold values of 12, and does not say so: divided by 257 they are almost black.
Stretching each picture by its own range would lose what is brighter than what. So a person says
which value is white, or it is found in all pictures of the set together; model and recipe keep it.
"""

from __future__ import annotations

import math

from regraft.errors import ConfigError
from regraft.images import DECODER_VERSION
from regraft.wording import near_names

AS_STORED, MEASURED = "file", "auto-per-set"
# By name, from the darkest to the lightest rule.
WHITES = {f"{n_bits}bit": 2**n_bits - 1 for n_bits in (8, 10, 12, 14, 16)}
_MOST = 2**31 - 1


def white_of(scale: str) -> int:
    """The value that is white by a rule; 0 where each file says it, and for 'auto-per-set'.

    Parameters
    ----------
    scale : str
        'file', '8bit', '10bit', '12bit', '14bit', '16bit', 'auto-per-set' or a whole number.

    Raises
    ------
    ConfigError
        It is none of these.

    Examples
    --------
    >>> white_of("12bit"), white_of("3000"), white_of("file")
    (4095, 3000, 0)
    >>> white_of("12-bit")
    Traceback (most recent call last):
        ...
    regraft.errors.ConfigError: no scale is called '12-bit'
      cure:  did you mean '12bit'?
    """
    if scale in WHITES:
        return WHITES[scale]
    if scale in (AS_STORED, MEASURED):
        return 0
    if scale.isascii() and scale.isdecimal() and 1 <= int(scale) <= _MOST:
        return int(scale)
    names = [AS_STORED, *WHITES, MEASURED]
    near = near_names(scale, names, n=1, cutoff=0.6)
    raise ConfigError(
        f"no scale is called {scale!r}",
        cure=f"did you mean {near[0]!r}?"
        if near
        else f"{', '.join(names)}, or the value that is white, such as 4095",
    )


def name_of(white: float) -> str:
    """The rule's name, as `white_of` reads it.

    Examples
    --------
    >>> name_of(4095), name_of(3000)
    ('12bit', '3000')
    """
    return next((name for name, value in WHITES.items() if value == white), f"{white:.0f}")


def white_above(largest: float) -> int:
    """The white of the fewest bits, as cameras and microscopes have them, that holds a value.

    Examples
    --------
    >>> white_above(12), white_above(3000), white_above(4096), white_above(100_000)
    (255, 4095, 16383, 131071)
    """
    fitting = (white for white in WHITES.values() if white >= largest)
    return next(fitting, 2 ** math.ceil(largest).bit_length() - 1)


def rules_for(white: int) -> str:
    """The version of the rules from bytes to pixels, for what is kept by them."""
    return f"{DECODER_VERSION} white {white}" if white else DECODER_VERSION
