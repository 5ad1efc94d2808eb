"""Sessions that were opened elsewhere: what they give is checked before it is used."""

from __future__ import annotations

from restora.backends.base import Batch, Session, TilingSession, check_result
from restora.backends.shell import SessionShell
from restora.errors import SessionError


def check_given(session: Session) -> Session:
    """The session, or one that raises SessionError if `session` gives another shape or dtype than
    its metadata promises."""
    return session if isinstance(session, TilingSession) else _CheckedSession(session)


class _CheckedSession(SessionShell):
    def __init__(self, session: Session) -> None:
        super().__init__(session.info, session.limits)
        self._session = session

    def run(self, batch: Batch) -> Batch:
        result = self._session.run(batch)
        if not hasattr(result, "dtype"):
            raise SessionError(
                f"{self.info.model} must give a NumPy array, it gives {type(result).__name__}"
            )
        check_result(result, batch, self.info)
        return result

    def close(self) -> None:
        self._session.close()
