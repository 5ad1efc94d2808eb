"""Ask the C library to give freed memory back to the system."""

from __future__ import annotations

import ctypes

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # malloc.h
_LARGE_BYTES, _ARENAS = 1 << 20, 2


def return_freed_memory() -> None:
    """Let glibc return blocks of a megabyte and more as soon as they are freed; by default every
    thread keeps what it has freed.

    It holds for the whole process, so a program calls it and a library does not. Nothing happens
    with other C libraries.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
    mallopt(_M_ARENA_MAX, _ARENAS)
