"""Sessions: a loaded model on one runtime. One file a runtime, imported late."""

from restora.sessions.base import Batch, Session, SizeLimits
from restora.sessions.open import Opened, choose_session, open_session
from restora.sessions.options import CpuOptions, PlanOptions, SessionOptions
from restora.sessions.shared import SessionUse, SharedSession

__all__ = [
    "Batch",
    "CpuOptions",
    "Opened",
    "PlanOptions",
    "Session",
    "SessionOptions",
    "SessionUse",
    "SharedSession",
    "SizeLimits",
    "choose_session",
    "open_session",
]
