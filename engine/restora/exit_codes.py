"""The exit code that each kind of error ends a command with."""

from enum import IntEnum

from restora import errors
from restora.errors import (
    BuildError,
    DecoderProcessError,
    DeviceLostError,
    DeviceMemoryError,
    FaceError,
    HostMemoryError,
    ImageError,
    MissingBackendError,
    ModelError,
    OptionError,
    OutputError,
    PlanError,
    RestoraError,
    SessionError,
    ShapeError,
    VideoError,
)


class ExitCode(IntEnum):
    OK = 0
    USAGE = 2
    SOME_FAILED = 3
    ALL_FAILED = 4
    MODEL = 5
    ENVIRONMENT = 6
    INTERRUPTED = 130
    TERMINATED = 143


_CODES: tuple[tuple[type[RestoraError], ExitCode], ...] = (
    (OptionError, ExitCode.USAGE),
    (MissingBackendError, ExitCode.ENVIRONMENT),
    (ModelError, ExitCode.MODEL),
    (DeviceLostError, ExitCode.ENVIRONMENT),
    (DeviceMemoryError, ExitCode.ENVIRONMENT),
    (HostMemoryError, ExitCode.ENVIRONMENT),
    (SessionError, ExitCode.MODEL),
    (BuildError, ExitCode.MODEL),
    (PlanError, ExitCode.MODEL),
    (FaceError, ExitCode.ALL_FAILED),
    (VideoError, ExitCode.ALL_FAILED),
    (ImageError, ExitCode.ALL_FAILED),
    (ShapeError, ExitCode.ALL_FAILED),
    (OutputError, ExitCode.ENVIRONMENT),
    (DecoderProcessError, ExitCode.ENVIRONMENT),
)


def exit_code_of(error: RestoraError) -> ExitCode:
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.ALL_FAILED)


def code_of_type(name: str | None) -> ExitCode:
    """Of an error by its type's name, as rows have it."""
    kind = getattr(errors, name or "", None)
    if isinstance(kind, type) and issubclass(kind, RestoraError):
        return exit_code_of(kind(""))
    return ExitCode.ALL_FAILED
