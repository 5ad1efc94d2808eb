"""What owns open networks: facts about them, their sessions, and closing them."""

from __future__ import annotations

from types import TracebackType
from typing import TypeVar

from restora.artifact import Io, Kind
from restora.backends import Session
from restora.faces.pipeline import FaceStage
from restora.networks import Networks, OpenNetwork

Owner = TypeVar("Owner", bound="NetworkOwner")


class NetworkOwner:
    """Owns networks, or shares those of another owner, and closes only its own.

    faces: a stage that is closed with them
    """

    def __init__(self, networks: Networks, owner: NetworkOwner | None = None) -> None:
        self._networks = networks
        self._owner = owner
        self.faces: FaceStage | None = None

    @property
    def networks(self) -> tuple[OpenNetwork, ...]:
        """Facts about every network that was opened: what it runs on, sizes, and what it has done
        so far."""
        return self._networks.describe()

    def session(self, kind: Kind, io: Io) -> Session | None:
        """The open session of a network, whose batches callers share; None if there is none."""
        return self._networks.session(kind, io)

    def close(self) -> None:
        """Free the networks. Waits for photos that other threads are restoring; any later call
        raises SessionError. A second close() only waits for the first one.
        """
        self._close(finish=True)

    def __enter__(self: Owner) -> Owner:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # on Ctrl-C the photos of other threads may take minutes: they end at their next tile
        self._close(finish=kind is None or issubclass(kind, Exception))

    def _close(self, *, finish: bool) -> None:
        if self._owner is not None:
            return
        self._networks.close(finish=finish)
        if self.faces is not None:
            self.faces.close()
