"""Ctrl-C and SIGTERM during a run over many files: the first signal finishes the files in flight,
the second one ends the run at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from restora.cli.console import print_note
from restora.cli.exits import Terminated


class ShutdownRequest:
    """Whether the run was asked to stop."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    def end(self) -> None:
        """Raise what the deferred signal would have raised; nothing if there was none."""
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        if self.signal is not None:
            raise Terminated


@contextmanager
def graceful_shutdown(current: str = "the current photos") -> Iterator[ShutdownRequest]:
    """Defer the first signal: the caller checks the request. Works in the main thread only.

    current: what is finished first
    """
    stopping = ShutdownRequest()
    before: dict[int, Any] = {}

    def ask(number: int, frame: FrameType | None) -> None:
        if stopping:
            for which, handler in before.items():
                signal.signal(which, handler)
            before[number](number, frame)
            return
        stopping.signal = number
        print_note(f"finishing {current}; press Ctrl-C again to stop at once")

    for number in map(int, (signal.SIGINT, signal.SIGTERM)):
        before[number] = signal.signal(number, ask)
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
