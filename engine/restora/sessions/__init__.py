"""Sessions: a loaded model on one runtime. One file a runtime, imported late."""

from restora.sessions.base import Batch, Session, SizeLimits
from restora.sessions.open import open_session

__all__ = ["Batch", "Session", "SizeLimits", "open_session"]
