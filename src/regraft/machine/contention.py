"""How much of the time this process was kept waiting by others for a core."""

from __future__ import annotations

from dataclasses import dataclass

# Less is no measurement but a clock that is not kept.
LEAST = 0.05


@dataclass(frozen=True)
class Turns:
    """Nanoseconds that the main thread ran, and was ready to run and had to wait."""

    ran: int = 0
    waited: int = 0

    @classmethod
    def now(cls) -> Turns:
        """Since the process began; nothing where the system does not tell."""
        try:
            with open("/proc/self/schedstat", encoding="ascii") as file:
                ran, waited, _ = map(int, file.read().split())
        except (OSError, ValueError):
            return cls()
        return cls(ran, waited)

    def share_since(self, before: Turns) -> float:
        """Of the time since then that it took the time which it would have taken alone.

        Examples
        --------
        >>> Turns(ran=30, waited=10).share_since(Turns())
        0.75
        >>> Turns().share_since(Turns())
        1.0
        """
        ran, waited = self.ran - before.ran, self.waited - before.waited
        return max(LEAST, ran / (ran + waited)) if ran > 0 and waited >= 0 else 1.0


# When a process begins.
NO_TURNS = Turns()
