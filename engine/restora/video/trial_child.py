"""The child process that opens videos for restora.video.trial."""

from __future__ import annotations

import contextlib
import gc
import resource
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from av.container import InputContainer

from restora.errors import VideoError
from restora.malloc import return_freed_memory
from restora.video.source import open_untried
from restora.video.trial import Trial, Verdict

# memory in proportion to as much real data is allowed anyway
_MAX_BYTES, _MAX_PACKETS = 256 << 20, 200_000
_IDLE_S = 10.0


def serve(connection: Connection[Any, Any]) -> None:
    """Answer one Trial after another, until the other end is closed or asks no more for a while."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return_freed_memory()
    while connection.poll(_IDLE_S):
        try:
            trial: Trial = connection.recv()
        except (EOFError, OSError):
            return
        connection.send(_resident())
        connection.send(Verdict(_problem_of(trial), _peak()))
        gc.collect()


def _problem_of(trial: Trial) -> str | None:
    try:
        with open_untried(
            Path(trial.path),
            name=trial.name,
            max_pixels=trial.max_pixels,
            timeout_s=trial.timeout_s,
        ) as container:
            _read_packets(container)
    except VideoError as error:
        return str(error)
    except MemoryError:
        return f"{trial.name} cannot be read as a video: memory is full"
    except Exception:  # noqa: BLE001  FFmpeg's, and PyAV's on odd values
        return None  # damage behind the head: what can be read is restored
    return None


def _read_packets(container: InputContainer) -> None:
    seen = 0
    for number, packet in enumerate(container.demux()):
        seen += packet.size
        if seen > _MAX_BYTES or number > _MAX_PACKETS:
            return


def _resident() -> int:
    return _memory("VmRSS")


def _peak() -> int:
    return _memory("VmHWM")


def _memory(name: str) -> int:
    """Bytes of resident memory, now (VmRSS) or at most so far (VmHWM).

    getrusage would give the parent's peak, which a process inherits.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) << 10
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
