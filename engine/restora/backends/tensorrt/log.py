"""Forward messages of TensorRT to the logging module, and keep them for error messages."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

logger = logging.getLogger(__name__)

_KEPT = 8


@dataclass(slots=True)
class BuildLog:
    """The last errors and warnings of one build, and the number of messages."""

    errors: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT))
    warnings: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT))
    lines: int = 0
    listener: Callable[[int], None] | None = None  # gets the number of messages; must not raise

    def describe(self, what: str) -> str:
        """Return `what` with the errors of TensorRT, or with its warnings if there is no error."""
        said = list(dict.fromkeys(self.errors or self.warnings))
        return f"{what}: {'; '.join(said)}" if said else f"{what}, without a reason"


def make_logger(trt: Any, log: BuildLog) -> Any:
    """Make an ILogger that writes to `log` and to the logging module."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            log.lines += 1
            if log.listener is not None:
                log.listener(log.lines)
            name = str(getattr(severity, "name", severity)).rpartition(".")[2]
            if name in ("INTERNAL_ERROR", "ERROR"):
                log.errors.append(msg.strip())
            elif name == "WARNING":
                log.warnings.append(msg.strip())
            level = {
                "INTERNAL_ERROR": logging.ERROR,
                "ERROR": logging.ERROR,
                "WARNING": logging.WARNING,
                "INFO": logging.INFO,
            }.get(name, logging.DEBUG)
            # errors are raised as exceptions, so the log needs them as details only
            logger.log(min(level, logging.INFO), "%s", msg)

    return Logger()
