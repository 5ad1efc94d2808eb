"""Decoders that go wrong, for restora.image.isolated."""

from __future__ import annotations

import os
import signal
import time
from multiprocessing.connection import Connection
from typing import Any

from restora.image import PhotoHeader, decoder
from restora.image.decoder import SLACK_BYTES, serve


def take_too_much_memory(connection: Connection[Any, Any]) -> None:
    _decode_by(lambda: bytearray(SLACK_BYTES + (32 << 20)), connection)


def take_too_long(connection: Connection[Any, Any]) -> None:
    _decode_by(lambda: time.sleep(60), connection)


def crash(connection: Connection[Any, Any]) -> None:
    _decode_by(lambda: os.kill(os.getpid(), signal.SIGSEGV), connection)


def be_killed(connection: Connection[Any, Any]) -> None:
    _decode_by(lambda: os.kill(os.getpid(), signal.SIGKILL), connection)


def die_at_a_killer(connection: Connection[Any, Any]) -> None:
    """Reads headers, and is killed by that of a file called killer."""
    probe = decoder.probe_file

    def probe_or_die(path: str, **options: Any) -> PhotoHeader:
        if "killer" in path:
            os.kill(os.getpid(), signal.SIGKILL)
        return probe(path, **options)

    decoder.probe_file = probe_or_die  # type: ignore[assignment]
    serve(connection)


def _decode_by(act: Any, connection: Connection[Any, Any]) -> None:
    decoder.decode_photo = lambda *_args, **_options: act()
    serve(connection)
