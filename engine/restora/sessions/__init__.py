"""Sessions: a loaded model on one runtime. One file a runtime, imported late."""

from restora.sessions.base import Batch, Session, SizeLimits
from restora.sessions.open import open_session
from restora.sessions.options import CpuOptions

__all__ = ["Batch", "CpuOptions", "Session", "SizeLimits", "open_session"]
