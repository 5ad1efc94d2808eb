"""A bound of the bodies that are in memory at once."""

from __future__ import annotations

from restora.errors import QueueFullError

MAX_BYTES = 32 << 20  # of a request: photos belong to /v1/restore, which keeps them on disk
MOST_HELD = 8 * MAX_BYTES


class HeldBodies:
    """Counts the bytes of all requests over HTTP and gRPC. Used in the thread of an event loop."""

    def __init__(self) -> None:
        self._bytes = 0

    def add(self, count: int) -> None:
        """Count more bytes, which are there already. Raises QueueFullError if these are too many;
        they count until `remove` in any case."""
        self._bytes += count
        if self._bytes > MOST_HELD:
            raise QueueFullError("the tensors of other requests fill the memory for them")

    def remove(self, count: int) -> None:
        self._bytes -= count
