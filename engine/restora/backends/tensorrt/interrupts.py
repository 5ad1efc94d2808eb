"""Hold signals back while TensorRT builds, and raise what their handlers raise afterwards.

A handler of a signal runs in whatever Python code comes next. During a build that is the logger or
the progress monitor, whose exceptions TensorRT's binding prints and forgets.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class HeldInterrupt:
    """The first exception that the handler of a signal raised, if any."""

    def __init__(self) -> None:
        self.cause: BaseException | None = None

    def raise_if_any(self) -> None:
        if self.cause is not None:
            raise self.cause


@contextmanager
def hold_interrupts() -> Iterator[HeldInterrupt]:
    """Keep what the handlers of SIGINT and SIGTERM raise until the block ends, and raise it then.

    The handlers themselves run at once, so those that only set a flag or end the process work as
    before. Signals reach only the main thread; in others nothing is held.
    """
    held = HeldInterrupt()
    if threading.current_thread() is not threading.main_thread():
        yield held
        return
    replaced: list[tuple[signal.Signals, Any, Any]] = []
    for number in _SIGNALS:
        handler = signal.getsignal(number)
        if callable(handler):
            replaced.append((number, handler, _holding(handler, held)))
            signal.signal(number, replaced[-1][2])
    try:
        yield held
    finally:
        for number, handler, ours in replaced:
            # a handler may have replaced itself
            if signal.getsignal(number) is ours:
                signal.signal(number, handler)
        held.raise_if_any()


def _holding(
    handler: Callable[[int, FrameType | None], Any], held: HeldInterrupt
) -> Callable[[int, FrameType | None], None]:
    def run(number: int, frame: FrameType | None) -> None:
        try:
            handler(number, frame)
        except BaseException as error:  # noqa: BLE001
            held.cause = held.cause or error

    return run
