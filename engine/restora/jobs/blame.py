"""Decide which inputs a crash of the process is blamed on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

MAX_CRASHES = 3  # after so many an input is not tried again


@dataclass(slots=True)
class CrashBlame:
    """Crashes by input. An input that was open alone caused the crash; of several that were open
    together each is a suspect, to be tried alone.

    crashes: how often the process crashed while an input was the only open one
    suspects: inputs that were open when the process crashed
    """

    crashes: dict[str, int] = field(default_factory=dict)
    suspects: set[str] = field(default_factory=set)

    def blame(self, running: Collection[str], *, beside: int = 0) -> None:
        """Record a crash while these inputs were open; none is no crash. beside: how many others
        were open, which are known no more"""
        self.suspects.update(running)
        if len(running) + beside == 1:
            for name in running:
                self.crashes[name] = self.crashes.get(name, 0) + 1

    def add(self, other: CrashBlame) -> None:
        """Count the crashes of other processes too."""
        self.suspects |= other.suspects
        for name, crashes in other.crashes.items():
            self.crashes[name] = self.crashes.get(name, 0) + crashes

    def clear(self, name: str) -> None:
        """Forget the crashes of an input: it was restored, or is another file now."""
        self.crashes.pop(name, None)
        self.suspects.discard(name)
