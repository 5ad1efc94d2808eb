"""The child process of a worker, which restores photos for restora.cluster.isolated."""

from __future__ import annotations

import os
import pickle
import threading
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from restora.cluster.batch import RestoreBatch
from restora.malloc import return_freed_memory


class Begun(NamedTuple):
    """The file of a photo is about to be read."""

    source: str


class Failed(NamedTuple):
    """An error that is no photo's fault ended the batch."""

    words: str


class Finished(NamedTuple):
    """Every photo of the batch has its row."""


def serve(connection: Connection[Any, Any]) -> None:
    """Receive a pickled RestoreBatch, then batches: lists of (input, output). Answer each with
    Begun and rows, then Finished; end when the worker does."""
    return_freed_memory()
    restore: RestoreBatch = pickle.loads(connection.recv_bytes())  # noqa: S301
    sending = threading.Lock()

    def send(answer: object) -> None:
        with sending:
            try:
                connection.send(answer)
            except OSError:
                os._exit(1)  # the worker died; whoever replaces it restores these again

    own_begin = restore.begin

    def begin(source: str) -> None:
        send(Begun(source))
        own_begin(source)

    restore.begin = begin  # type: ignore[method-assign]
    while True:
        try:
            pairs: list[tuple[str, str]] = connection.recv()
        except (EOFError, OSError):
            return
        try:
            for _, row in restore.iter_rows(pairs):
                send(row)
            send(Finished())
        except Exception as error:  # noqa: BLE001  the worker raises it
            send(Failed(f"{type(error).__name__}: {error}"))
