"""A stand-in for cuda.bindings.driver and cuda.bindings.nvrtc, on the streams of pycuda_double."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from pycuda_double import FakeCuda

OK = (0,)
FAILED = 999


class FakeDriver:
    """cuda.bindings.driver: capturing streams.

    capture_fails   nothing can be captured
    while_capturing called before a capture ends, such as for another thread's work
    launch_error    what cuGraphLaunch returns
    """

    CUstreamCaptureMode = SimpleNamespace(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL=1)

    def __init__(self, cuda: FakeCuda) -> None:
        self._cuda = cuda
        self.capture_fails = False
        self.while_capturing: Callable[[], None] = lambda: None
        self.launch_error = 0
        self.captured = 0
        self.launched = 0

    def CUstream(self, handle: int) -> Any:  # noqa: N802
        return self._cuda.streams[handle]

    def cuStreamBeginCapture(self, stream: Any, mode: int) -> tuple[Any, ...]:  # noqa: N802
        assert mode == 1
        assert stream.recording is None
        stream.recording, stream.recorder = [], threading.get_ident()
        stream.capture_broken = False
        return OK

    def cuStreamEndCapture(self, stream: Any) -> tuple[Any, ...]:  # noqa: N802
        self.while_capturing()
        work, stream.recording = stream.recording, None
        if self.capture_fails or stream.capture_broken:
            return 901, None
        self._cuda.graphs += 1
        return 0, work

    def cuGraphInstantiate(self, work: Any, flags: int) -> tuple[Any, ...]:  # noqa: N802
        assert flags == 0
        self.captured += 1
        self._cuda.graphs += 1
        return 0, list(work)

    def cuGraphLaunch(self, work: Any, stream: Any) -> tuple[Any, ...]:  # noqa: N802
        try:
            self._cuda.called("cuGraphLaunch")
        except FakeCuda.Error:
            return (700 if self._cuda.lost else 1,)
        if self.launch_error:
            return (self.launch_error,)
        self.launched += 1
        for step in work:
            stream.enqueue(step)
        return OK

    def cuGraphExecDestroy(self, work: Any) -> tuple[Any, ...]:  # noqa: N802
        self._cuda.graphs -= 1
        return OK

    def cuGraphDestroy(self, work: Any) -> tuple[Any, ...]:  # noqa: N802
        self._cuda.graphs -= 1
        return OK


class FakeNvrtc:
    """cuda.bindings.nvrtc: the "machine code" is the source.

    complaint       what it says instead
    architectures   those that it knows
    """

    def __init__(self, complaint: str | None = None, *, library: bool = True) -> None:
        self.complaint = complaint
        self.library = library
        self.options: list[bytes] = []
        self.architectures = [75, 80, 86, 87, 89, 90]

    def nvrtcVersion(self) -> tuple[int, int, int]:  # noqa: N802
        return 0, 12, 9

    def nvrtcGetSupportedArchs(self) -> tuple[Any, ...]:  # noqa: N802
        if not self.library:
            raise RuntimeError("Failed to dlopen libnvrtc.so.12")
        return 0, self.architectures

    def nvrtcCreateProgram(  # noqa: N802
        self, source: bytes, name: bytes, count: int, headers: Any, names: Any
    ) -> tuple[Any, ...]:
        if not self.library:
            raise RuntimeError("Failed to dlopen libnvrtc.so.12")
        return 0, SimpleNamespace(source=source)

    def nvrtcCompileProgram(  # noqa: N802
        self, program: Any, count: int, options: list[bytes]
    ) -> tuple[Any, ...]:
        assert count == len(options)
        self.options = options
        return OK if self.complaint is None else (6,)

    def nvrtcGetProgramLogSize(self, program: Any) -> tuple[Any, ...]:  # noqa: N802
        return 0, len(self.complaint or "") + 1

    def nvrtcGetProgramLog(self, program: Any, log: bytes) -> tuple[Any, ...]:  # noqa: N802
        _fill(log, (self.complaint or "").encode())
        return OK

    def nvrtcGetPTXSize(self, program: Any) -> tuple[Any, ...]:  # noqa: N802
        return 0, len(program.source) + 5

    def nvrtcGetPTX(self, program: Any, ptx: bytes) -> tuple[Any, ...]:  # noqa: N802
        _fill(ptx, b"//PTX" + program.source)
        return OK

    def nvrtcGetCUBINSize(self, program: Any) -> tuple[Any, ...]:  # noqa: N802
        return 0, len(program.source) + 5

    def nvrtcGetCUBIN(self, program: Any, cubin: bytes) -> tuple[Any, ...]:  # noqa: N802
        _fill(cubin, b"CUBIN" + program.source)
        return OK

    def nvrtcDestroyProgram(self, program: Any) -> tuple[Any, ...]:  # noqa: N802
        return OK


def _fill(target: bytes, content: bytes) -> None:
    """Write into a bytes object, as the C library does."""
    import ctypes

    place = ctypes.c_char_p(target)
    ctypes.memmove(place, content, len(content))
