"""The journal of a search for the best way: what was tried and how it was judged, whole on disk."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from regraft.choosing.arm import DROPPED, RUNNING, TRIED, WAITING, Arm, Judged
from regraft.choosing.way import Way
from regraft.machine import atomic
from regraft.machine.json_lines import add_line
from regraft.model.place import LOG
from regraft.training.methods import METHODS

FILE = "auto.json"
STATES = (WAITING, RUNNING, TRIED, DROPPED)
NUMBERS = (
    "predicted_s", "at_best_s", "memory_mib", "steps_s", "rest_s", "seconds", "paused_at",
    "paused_loss",
)  # fmt: skip


@dataclass(eq=False)
class Journal:
    """Kept in the run's folder while the search goes on, so that a killed one goes on.

    Attributes
    ----------
    folder : Path or None
        None keeps nothing.
    identity : str
        Of this very search: another one's journal is not gone on with.
    spent_s : float
        By what went on before this process.
    """

    folder: Path | None
    identity: str = ""
    spent_s: float = 0.0
    arms: list[Arm] = field(default_factory=list)

    def read(self) -> bool:
        """What an earlier process left of this very search; whether there was anything."""
        if self.folder is None:
            return False
        try:
            kept = json.loads((self.folder / FILE).read_text(encoding="utf-8"))
            if kept["identity"] != self.identity:
                return False
            self.arms = [_arm(one) for one in kept["arms"]]
            self.spent_s = float(kept["spent_s"])
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return True

    def write(self, arms: Sequence[Arm], spent_s: float) -> None:
        """All that is known now. A disk that cannot be written costs only the going on."""
        if self.folder is None:
            return
        content = {
            "schema": 1,
            "identity": self.identity,
            "spent_s": spent_s,
            "arms": [_kept(arm) for arm in arms],
        }
        with contextlib.suppress(OSError):
            atomic.write_json(self.folder / FILE, content)

    def log(self, row: dict[str, Any]) -> None:
        """A line of log.jsonl."""
        if self.folder is None:
            return
        with contextlib.suppress(OSError):
            add_line(self.folder / LOG, row)


def _kept(arm: Arm) -> dict[str, Any]:
    own = {k: v for k, v in vars(arm).items() if k not in ("way", "judged", "progress")}
    judged = arm.judged.to_dict() if arm.judged is not None else None
    return {**own, "way": asdict(arm.way), "judged": judged}


def _arm(kept: dict[str, Any]) -> Arm:
    judged = Judged.from_dict(kept["judged"]) if kept["judged"] else None
    numbers = {name: float(kept[name]) for name in NUMBERS if name in kept}
    arm = Arm(**{**kept, **numbers, "way": Way(**kept["way"]), "judged": judged})
    if arm.way.method not in METHODS or arm.state not in STATES:
        raise ValueError("an arm that cannot be")
    if arm.state == RUNNING:
        arm.state = WAITING  # it was stopped within: its checkpoints go on
    return arm
