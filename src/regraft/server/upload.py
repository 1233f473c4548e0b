"""One picture as it came over HTTP, before anything of it is read."""

from __future__ import annotations

from dataclasses import dataclass

from regraft.server.limits import Limits, in_mib

# What a part without a file name may be called.
FIELDS = ("images", "image", "files", "file")

SMALLER = "make the picture smaller"
HOW_TO_SEND = (
    "send the file's bytes (curl --data-binary @photo.jpg), or a form of files "
    "(curl -F images=@a.jpg -F images=@b.jpg)"
)


@dataclass(slots=True)
class Upload:
    """One picture as it came.

    Attributes
    ----------
    name : str
        As whoever sent it calls it; never a path here.
    data : bytes
    problem : str
        Why it is not even decoded; empty if it is.
    """

    name: str
    data: bytes
    problem: str = ""

    @classmethod
    def over_limit(cls, name: str, limits: Limits) -> Upload:
        """A picture among others that is left out for its size."""
        return cls(name, b"", too_large(limits))


def too_large(limits: Limits) -> str:
    """What is said of a file above the limit."""
    return f"the file has more than {in_mib(limits.picture_bytes)}"
