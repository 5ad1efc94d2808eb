"""What requests to each network have cost so far, in the words of the statistics extension."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from restora.backends import Session, SharedSession

_NS = 1e9
_DURATIONS = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")


@dataclass(slots=True)
class _Duration:
    count: int = 0
    ns: int = 0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.ns += round(seconds * _NS)


@dataclass(slots=True)
class NetworkStatistics:
    """Counters of one network, used in the thread of the event loop.

    last_ms: time of the last request, in milliseconds since 1970
    """

    last_ms: int = 0
    pictures: int = 0
    executions: int = 0
    durations: dict[str, _Duration] = field(
        default_factory=lambda: {name: _Duration() for name in _DURATIONS}
    )

    def succeeded(self, pictures: int, seconds: Mapping[str, float]) -> None:
        """Count a request. seconds: of its stages, by the names of the extension, but for success,
        which is all of it."""
        self.last_ms = round(1000 * time.time())
        self.pictures += pictures
        self.executions += 1
        for name, value in seconds.items():
            self.durations[name].add(value)

    def failed(self, seconds: float) -> None:
        self.durations["fail"].add(seconds)

    def as_row(self, name: str, version: str, session: Session) -> dict[str, Any]:
        """Executions are those of the session, in which requests and photos share batches."""
        calls, pictures = self.executions, self.pictures
        if isinstance(session, SharedSession):
            calls, pictures = session.use.calls, session.use.pictures
        return {
            "name": name,
            "version": version,
            "last_inference": self.last_ms,
            "inference_count": pictures,
            "execution_count": calls,
            "inference_stats": {
                stage: {"count": one.count, "ns": one.ns} for stage, one in self.durations.items()
            },
            "batch_stats": [],
        }
