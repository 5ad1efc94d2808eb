"""One writer for each output: a lock that other threads, processes and machines see."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from restora.atomic import MOST_NAME_BYTES, shorten
from restora.errors import OptionError, OutputError
from restora.jobs.disk import require_own_file

_ENDING = ".lock"
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_WAIT_S = 0.5  # another run may be about to release it
_POLL_S = 0.02


@contextmanager
def output_lock(target: Path, *, wait_s: float = _WAIT_S) -> Iterator[None]:
    """Hold the lock of one output file; neither it nor its folder need exist.

    The lock file is hidden, lies beside the target and is removed at the end. A lock file that a
    killed process left locks nothing.

    wait_s: how long to wait for another run to release it

    Raises OptionError if another run holds the lock, UnsafePathError if the lock file is a link,
    OutputError if the folder cannot be made or written.
    """
    try:
        path = _lock_path(target)
        lock = FileLock(path, timeout=wait_s, thread_local=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        require_own_file(path)
        # filelock retries some errors until its timeout, and then reports them as a held lock
        os.close(os.open(path, _FLAGS, 0o666))
        lock.acquire(poll_interval=_POLL_S)
    except Timeout as error:
        raise OptionError(f"another run is writing {target}") from error
    except OutputError:
        raise
    except (OSError, ValueError, NotImplementedError) as error:  # ValueError: NUL, or no name
        words = (error.strerror if isinstance(error, OSError) else None) or error
        raise OutputError(f"{target} cannot be locked for writing: {words}") from error
    try:
        yield
    finally:
        # removed while it is held: filelock does not lock a file that is unlinked
        with contextlib.suppress(OSError):
            path.unlink()
        lock.release()


def remove_stale_lock(target: Path) -> None:
    """Remove the lock file that a killed run left beside an output; one that is held stays."""
    if os.path.lexists(_lock_path(target)):
        with contextlib.suppress(OptionError, OutputError), output_lock(target, wait_s=0):
            pass


class OutputLocks:
    """Locks of several outputs, taken and released one by one, from any thread."""

    def __init__(self) -> None:
        self._held: dict[Path, contextlib.ExitStack] = {}

    def acquire(self, target: Path) -> None:
        """Take the lock of one output. Raises what output_lock raises."""
        stack = contextlib.ExitStack()
        stack.enter_context(output_lock(target))
        self._held[target] = stack

    def release(self, target: Path) -> None:
        """Release a lock; does nothing if it is not held."""
        stack = self._held.pop(target, None)
        if stack is not None:
            stack.close()

    def close(self) -> None:
        for target in list(self._held):
            self.release(target)


def _lock_path(target: Path) -> Path:
    # the name itself, so that the file system decides which names are the same
    name = shorten(target.name, MOST_NAME_BYTES - len(_ENDING) - 1)
    return target.with_name(f".{name}{_ENDING}")
