"""Which errors of CUDA end the use of a GPU by this process.

The codes are those of CUresult. PyCUDA's exceptions carry no code, only the text of
cuGetErrorString, so both are listed. All other errors concern one call.
"""

from __future__ import annotations

from restora.errors import DeviceLostError, DeviceMemoryError, SessionError

OUT_OF_MEMORY = 2
LOST = {
    214: "uncorrectable ECC error encountered",
    700: "an illegal memory access was encountered",
    702: "the launch timed out and was terminated",
    709: "context is destroyed",
    710: "device-side assert triggered",
    714: "hardware stack error",
    715: "an illegal instruction was encountered",
    716: "misaligned address",
    717: "operation not supported on global/shared address space",
    718: "invalid program counter",
    719: "unspecified launch failure",
    999: "unknown error",
}


def says_lost(message: str) -> bool:
    """Whether a message of PyCUDA or TensorRT contains the text of one of these errors."""
    lower = message.lower()
    return any(text.lower() in lower for text in LOST.values())


def lost_error(doing: str, reason: object) -> DeviceLostError:
    return DeviceLostError(
        f"the GPU failed while {doing} ({reason}): this process cannot use it any more, "
        "start a new one"
    )


def memory_error(doing: str, reason: object) -> DeviceMemoryError:
    return DeviceMemoryError(
        f"the GPU's memory is full while {doing}: use smaller tiles (--tile) ({reason})"
    )


def error_of_code(code: int, doing: str, reason: object) -> SessionError:
    """The error for a code of CUresult."""
    if code in LOST:
        return lost_error(doing, reason)
    if code == OUT_OF_MEMORY:
        return memory_error(doing, reason)
    return SessionError(f"CUDA failed while {doing}: {reason}")
