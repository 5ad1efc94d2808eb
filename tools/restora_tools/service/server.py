"""`restora serve` in a process of its own, and what it takes."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import psutil

_LISTENING = re.compile(r"listening at (http://\S+)")


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is ready."""

    address: str
    process: subprocess.Popen[str]

    def memory_mb(self) -> int:
        """Resident memory of the server and its decoders."""
        root = psutil.Process(self.process.pid)
        every = [root, *root.children(recursive=True)]
        total = 0
        for one in every:
            with contextlib.suppress(psutil.NoSuchProcess):
                total += int(one.memory_info().rss)
        return total >> 20

    def metric(self, name: str) -> float:
        """A value of /metrics; 0 if it is not there. name: with labels as they are written"""
        text = httpx.get(f"{self.address}/metrics").text
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0


@contextlib.contextmanager
def serve(*words: str) -> Iterator[Server]:
    """Run a server until the block ends; it must end with exit code 0."""
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "restora", "serve", "--port", "0", "--no-faces", *words],
        stderr=subprocess.PIPE,
        text=True,
    )
    readers: list[threading.Thread] = []
    try:
        yield Server(_wait_until_ready(process, readers), process)
        process.send_signal(signal.SIGTERM)
        code = process.wait(120)
        if code:
            raise RuntimeError(f"the server ended with {code}")
    finally:
        process.kill()
        process.wait()
        for reader in readers:
            reader.join()
        assert process.stderr is not None
        process.stderr.close()


def _wait_until_ready(process: subprocess.Popen[str], readers: list[threading.Thread]) -> str:
    """Returns the address. What the server says from then on is read by a thread, and dropped."""
    assert process.stderr is not None
    address, said = None, []
    for line in process.stderr:
        said.append(line)
        found = _LISTENING.search(line)
        address = found[1] if found else address
        if line.strip() == "ready" and address is not None:
            readers.append(threading.Thread(target=process.stderr.read, daemon=True))
            readers[0].start()
            return address
    raise RuntimeError("the server did not start: " + "".join(said))
