"""TensorRT's own words: to Python's logging, and kept for error messages."""

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
    """The last errors and warnings of one build, and how many lines there were."""

    errors: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT))
    warnings: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT))
    lines: int = 0
    listener: Callable[[int], None] | None = None  # told how many lines there are; must not raise

    def describe(self, what: str) -> str:
        """`what`, with TensorRT's errors, or its warnings if it named no error."""
        said = list(dict.fromkeys(self.errors or self.warnings))
        return f"{what}: {'; '.join(said)}" if said else f"{what} and no reason"


def make_logger(trt: Any, log: BuildLog) -> Any:
    """An ILogger of this TensorRT that writes into `log` and to Python's logging."""

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
            # errors come up in an exception; as log lines they are details
            logger.log(min(level, logging.INFO), "%s", msg)

    return Logger()
