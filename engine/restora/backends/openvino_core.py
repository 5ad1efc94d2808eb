"""The one Core of OpenVINO in this process."""

from __future__ import annotations

import threading
from functools import cache

import openvino

_LOCK = threading.Lock()


def get_core() -> openvino.Core:
    """The Core that every session of this process shares; it lives as long as the process.

    Each Core gives the thread that first uses it a stack for signal handlers. It frees that stack
    when it is deleted with its last network, but on another thread, or after a later Core was made,
    it does not unregister it: the next signal, such as Ctrl-C, then ends the process with a
    segmentation fault (OpenVINO 2026.4 on Linux).
    """
    with _LOCK:
        return _make_core()


@cache
def _make_core() -> openvino.Core:
    return openvino.Core()
