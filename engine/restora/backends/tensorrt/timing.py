"""Store TensorRT's timing cache between builds.

A damaged timing cache can crash TensorRT, so it is only used if its digest matches.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import asdict
from pathlib import Path

from restora.atomic import write_atomically
from restora.backends.tensorrt.device import DeviceFacts
from restora.errors import OutputError

logger = logging.getLogger(__name__)

SUFFIX = ".timing"
_DIGEST_BYTES = 32


class TimingCacheFile:
    """The timing cache of one kind of GPU and one version of TensorRT.

    folder: with None, nothing is stored
    """

    def __init__(self, folder: Path | None, device: DeviceFacts) -> None:
        identity = {key: value for key, value in asdict(device).items() if key != "driver"}
        name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]
        self.path = None if folder is None else folder / f"{name}{SUFFIX}"

    def load(self) -> bytes:
        """Load the timing cache. Returns b"" if there is none, or if it is damaged (logged)."""
        if self.path is None:
            return b""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            logger.warning("the timing cache %s cannot be read: %s", self.path, error)
            return b""
        digest, data = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if hashlib.sha256(data).digest() != digest:
            logger.warning(
                "the timing cache %s is damaged and is not used: builds take longer",
                self.path,
            )
            return b""
        return data

    def store(self, data: bytes) -> None:
        """Store the timing cache, completely or not at all. Failures are logged."""
        if self.path is None or not os.access(self.path.parent, os.W_OK):
            logger.info("the timing cache %s cannot be written", self.path)
            return
        try:
            write_atomically(self.path, hashlib.sha256(data).digest() + data)
        except OutputError as error:
            logger.warning("the timing cache cannot be stored: %s", error)
