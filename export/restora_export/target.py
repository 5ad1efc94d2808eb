"""The file that an export writes: its default name, and whether it may be written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from restora.artifact import Io, Precision
from restora.errors import OptionError, OutputError, UnsafePathError
from restora.models.regular_file import shown


def default_target(
    checkpoint: Path, *, io: Io, precision: Precision, suffix: str = ".onnx"
) -> Path:
    """Next to the checkpoint, such as NAME.fp16.onnx. Raises OptionError if it has no name."""
    if not checkpoint.name:
        raise OptionError(f"the checkpoint must be a file, got {str(checkpoint)!r}")
    ending = ("" if precision == "fp32" else f".{precision}") + ("" if io == "uint8" else f".{io}")
    return checkpoint.with_suffix(f"{ending}{suffix}")


def check_target(target: Path, sources: Sequence[Path], *, overwrite: bool) -> None:
    """Refuse a result that cannot be written, or that would replace a file without `overwrite`.

    sources: checkpoints, which are never replaced

    Raises OptionError, UnsafePathError or OutputError.
    """
    try:
        if target.is_symlink():
            raise UnsafePathError(f"{target} is a link; results are written to plain files only")
        if target.is_dir() or not target.name:
            raise OptionError(f"the result must be a file, {target} is a folder")
        if not target.parent.is_dir():
            raise OutputError(f"the folder {target.parent} does not exist: make it first")
        if not target.exists():
            return
        if any(source.exists() and source.samefile(target) for source in sources):
            raise OptionError(f"{target} is the checkpoint itself: give the result another name")
        if not overwrite:
            raise OptionError(f"{target} exists already: give --overwrite to replace it")
        if not target.is_file():
            raise OutputError(
                f"{target} is no regular file; results are written to plain files only"
            )
    except OSError as error:  # a name that is too long, a folder that may not be entered
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{shown(target)} cannot be written: {error.strerror}") from error
