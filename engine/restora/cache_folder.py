"""Where restora keeps models, plans and compiled networks on this machine.

Ten lines instead of platformdirs: TensorRT plans are also built on machines that have only NumPy,
OpenCV, ONNX, TensorRT and PyCUDA.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from restora.errors import OptionError, UnsafePathError


def cache_folder(name: str, *, variable: str | None = None) -> Path | None:
    """The folder that $`variable` names, or restora/`name` in $XDG_CACHE_HOME or ~/.cache.

    name: "models", "plans", "openvino"
    variable: an environment variable that moves this one folder; "~" in it is expanded

    The folder need not exist. None if nothing names one: the user has no home directory.
    Raises OptionError if the variable names the home directory of a user who does not exist.
    """
    chosen = os.environ.get(variable) if variable else None
    if chosen:
        try:
            # absolute, so that the folder stays the same one when the process changes directory
            return Path(os.path.abspath(Path(chosen).expanduser()))  # noqa: PTH100
        except (RuntimeError, OSError) as error:
            raise OptionError(
                f"{variable} must be the path of a folder, got {chosen!r}: {error}"
            ) from error
    base = _base_folder()
    return None if base is None else base / "restora" / name


def check_own_folder(folder: Path, *, purpose: str) -> None:
    """Raise UnsafePathError unless `folder` is a directory that this user alone can write.

    purpose: what the folder is, for the message: "the plan cache"

    A folder that does not exist passes. What lies in such a folder is run as code. Raises OSError
    if the folder cannot be examined.
    """
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(status.st_mode):
        raise UnsafePathError(f"{purpose} must be a folder, {folder} is none")
    if hasattr(os, "getuid") and status.st_uid != os.getuid():
        raise UnsafePathError(f"{purpose} {folder} belongs to another user: use a folder of yours")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UnsafePathError(f"others may write into {purpose} {folder}: chmod 700 {folder}")


def _base_folder() -> Path | None:
    chosen = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if chosen.is_absolute():  # the XDG specification: a relative path is ignored
        return chosen
    try:
        home = Path.home()
    except (RuntimeError, OSError):
        return None
    return home / ".cache" if home.is_absolute() else None
