"""Backends: one module per runtime, each imported when it is used. A session is a loaded model."""

from restora.backends.base import Batch, Session, SizeLimits
from restora.backends.batch_requests import SessionStats
from restora.backends.batching import SharedSession
from restora.backends.choose import OpenedSession, choose_session, open_session
from restora.backends.options import CpuOptions, PlanOptions, SessionOptions

__all__ = [
    "Batch",
    "CpuOptions",
    "OpenedSession",
    "PlanOptions",
    "Session",
    "SessionOptions",
    "SessionStats",
    "SharedSession",
    "SizeLimits",
    "choose_session",
    "open_session",
]
