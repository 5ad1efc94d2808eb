"""Forward messages of TensorRT to the logging module, and keep them for error messages."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

logger = logging.getLogger(__name__)

_KEPT = 8
# wording of TensorRT 8.6 to 11 and of the CUDA runtime, in lower case
_OUT_OF_MEMORY = ("out of memory", "outofmemory", "could not be allocated")
# a tactic that does not fit is skipped; only the loss of the last one fails the build
_NO_TACTIC = "could not find any implementation"
_TACTIC_DOES_NOT_FIT = ("insufficient memory", "memory is insufficient")
# 8.6 may write a timing cache that it cannot read
_TIMINGS_UNREAD = "the timing cache will not be used"


@dataclass(slots=True)
class BuildLog:
    """The last errors and warnings of one build or one plan, and the number of messages.

    listener: gets the number of messages
    failure: the first exception that `listener` or a logging handler raised: TensorRT's binding
        prints exceptions of a logger and goes on
    tactics_skipped: a tactic did not fit into the memory of the GPU
    timings_unread: the builder could not read the timing cache
    """

    errors: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT))
    warnings: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT))
    lines: int = 0
    listener: Callable[[int], None] | None = None
    failure: BaseException | None = None
    tactics_skipped: bool = False
    timings_unread: bool = False

    @property
    def out_of_memory(self) -> bool:
        """Whether the kept errors say that the memory of the GPU is full."""
        errors = [error.lower() for error in self.errors]
        if any(words in error for words in _OUT_OF_MEMORY for error in errors):
            return True
        return self.tactics_skipped and any(_NO_TACTIC in error for error in errors)

    def describe(self, what: str) -> str:
        """Return `what` with the errors of TensorRT, or with its warnings if there is no error."""
        said = list(dict.fromkeys(self.errors or self.warnings))
        return f"{what}: {'; '.join(said)}" if said else f"{what}, without a reason"

    def forget(self) -> None:
        """Drop the kept messages, so that only those of the next call are described."""
        self.errors.clear()
        self.warnings.clear()
        self.tactics_skipped = False

    def add(self, severity: str, message: str) -> None:
        """Keep a message and pass it on. severity: the name of an ILogger.Severity."""
        self.lines += 1
        if severity in ("INTERNAL_ERROR", "ERROR"):
            self.errors.append(message.strip())
        elif severity == "WARNING":
            self.warnings.append(message.strip())
        lower = message.lower()
        if any(words in lower for words in _TACTIC_DOES_NOT_FIT):
            self.tactics_skipped = True
        if _TIMINGS_UNREAD in lower:
            self.timings_unread = True
        if self.listener is not None:
            self.listener(self.lines)
        # errors are raised as exceptions, so the log needs them as details only
        level = logging.INFO if severity in _DETAILS else logging.DEBUG
        logger.log(level, "%s", message)


_DETAILS = ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO")


def make_logger(trt: Any, log: BuildLog) -> Any:
    """Make an ILogger that writes to `log` and to the logging module."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            try:
                log.add(str(getattr(severity, "name", severity)).rpartition(".")[2], msg)
            except BaseException as error:  # noqa: BLE001
                log.failure = log.failure or error

    return Logger()
