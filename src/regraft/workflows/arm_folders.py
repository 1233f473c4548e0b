"""Where the arms of a search keep their checkpoints, so that a killed search goes on with them."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from regraft.choosing.arm import Arm

ARMS = "arms"


@dataclass(frozen=True)
class ArmFolders:
    """Of one run, in its folder; None: nothing is kept."""

    run: Path | None

    def of(self, arm: Arm) -> Path | None:
        """One arm's."""
        if self.run is None:
            return None
        name = hashlib.sha256(arm.name.encode()).hexdigest()[:8]
        return self.run / ARMS / f"{arm.way.method}-{name}"

    def has_begun(self, arm: Arm) -> bool:
        """Whether the arm left anything to go on with."""
        folder = self.of(arm)
        return folder is not None and folder.exists()

    def forget(self, arm: Arm) -> None:
        """The checkpoints of an arm that is over."""
        if (folder := self.of(arm)) is not None and arm.way.trains:
            shutil.rmtree(folder, ignore_errors=True)
