"""One of n shards: which rows of a table it has, one after another, so that order is kept."""

from __future__ import annotations

import re
from dataclasses import dataclass

from regraft.errors import UsageError


@dataclass(frozen=True)
class Shard:
    """Shard `number`, from 1, of `of`.

    Examples
    --------
    >>> Shard.parse("2/3").rows(10)
    range(3, 6)
    >>> [len(Shard(n, 3).rows(10)) for n in (1, 2, 3)]
    [3, 3, 4]
    """

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From what is typed: '3/64'.

        Raises
        ------
        UsageError
        """
        match = re.fullmatch(r"\s*(\d{1,7})\s*/\s*(\d{1,7})\s*", text)
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise UsageError(
                f"a shard is i/n with 1 <= i <= n, got {text!r}",
                cure="--shard 3/64; in a SLURM array from 1 to 64: --shard $SLURM_ARRAY_TASK_ID/64",
            )
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def of_file(cls, name: str) -> Shard:
        """The shard that a part's file is named after; 1/1 of another name."""
        match = re.match(r"part-(\d+)-of-(\d+)-", name)
        return cls(int(match[1]), int(match[2])) if match else cls()

    @property
    def stem(self) -> str:
        """What its file's name begins with."""
        return f"part-{self.number:05}-of-{self.of:05}"

    def rows(self, n_rows: int) -> range:
        """Its rows, of a table of so many; shards differ by one row at most."""
        start, stop = n_rows * (self.number - 1) // self.of, n_rows * self.number // self.of
        return range(start, stop)

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"
