"""A fresh Python process at the other end of a pipe: a crash or a full memory ends only that.

multiprocessing's own spawn method imports the caller's __main__ module into the child: a script
without a guard would run a second time there, and Ray's worker program would be loaded. So the
interpreter is started directly; what travels are pickled objects over a Connection.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from multiprocessing.connection import Connection
from typing import Any

from restora.errors import DecoderProcessError

_PROGRAM = (
    "import sys; sys.path[:] = {path!r}; from restora.child import run_child; "
    "run_child({function!r}, {descriptor})"
)


class Child:
    """One child process.

    function: "package.module:name"; called there with a Connection, until it returns
    keeps_output: its stdout and stderr are this process's; otherwise what it prints is dropped
    environment: variables that differ from this process's

    connection: our end of the pipe; the child ends when it is closed

    Raises DecoderProcessError if no process can be started.
    """

    def __init__(
        self,
        function: str,
        *,
        keeps_output: bool = False,
        environment: dict[str, str] | None = None,
    ) -> None:
        ours, theirs = socket.socketpair()
        descriptor = theirs.fileno()
        program = _PROGRAM.format(path=sys.path, function=function, descriptor=descriptor)
        output = None if keeps_output else subprocess.DEVNULL
        try:
            self.process = subprocess.Popen(  # noqa: S603  our own program
                [sys.executable, "-c", program],
                env={**os.environ, **(environment or {})},
                pass_fds=(descriptor,),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for the parent
            )
        except (OSError, ValueError) as error:
            ours.close()
            raise DecoderProcessError(f"no child process can be started: {error}") from error
        finally:
            theirs.close()
        self.connection: Connection[Any, Any] = Connection(ours.detach())

    def kill(self) -> int:
        """End it; returns its exit status, negative for the signal that ended it before."""
        self.connection.close()
        self.process.kill()
        return self.process.wait()


def run_child(function: str, descriptor: int) -> None:
    """The child's program."""
    import importlib

    module, _, name = function.partition(":")
    # the socket is a Unix one: Connection reads and writes its descriptor
    with Connection(descriptor) as connection:
        getattr(importlib.import_module(module), name)(connection)
