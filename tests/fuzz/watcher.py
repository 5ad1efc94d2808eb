"""Run a worker, watch its time and memory, and start it again when it dies of an input."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz.target import Target, find_target
from fuzz.worker import PROGRESS

_CODE = ("engine", "export", "calibration", "benchmarks", "tests")
_LOOK_EVERY_S = 0.1
_START_S = 180.0
_MB = 1 << 20
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Fault:
    """index: of the input; kind: exception, time, memory, signal, exit or hang; signature: what
    faults of one cause have in common; text: for people."""

    index: int
    kind: str
    signature: str
    text: str


@dataclass(slots=True)
class Slice:
    """What came of some inputs. outcomes: how many ended how."""

    inputs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    peak_mb: int = 0


class Watcher:
    """One worker of one target. folder: its own, for input and log."""

    def __init__(self, name: str, folder: Path, seeds: Path, seed: int) -> None:
        self.name, self.folder, self.seeds, self.seed = name, folder, seeds, seed
        self.target: Target = find_target(name)
        self.log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._unread = b""
        self._base_mb = 0

    def start(self) -> None:
        """So that the time of a slice is that of its inputs."""
        self._start()

    def run_slice(self, start: int, stop: int) -> Slice:
        """The inputs with these numbers, whatever they do to the worker."""
        total = Slice(inputs=stop - start)
        while start < stop:
            fault = self._order({"start": start, "stop": stop}, total)
            if fault is None:
                break
            start = fault.index + 1
        return total

    def run_file(self, path: Path) -> Slice:
        """One input, in a worker that has run nothing before."""
        self.close()
        return self.run_again(path)

    def run_again(self, path: Path) -> Slice:
        """One input, in the worker as it is."""
        total = Slice(inputs=1)
        self._order({"file": str(path.absolute())}, total)
        return total

    def close(self) -> None:
        """Every process of the worker ends."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        self._process = None

    def _order(self, order: dict[str, Any], total: Slice) -> Fault | None:
        """What the worker died of, None if it has done all that it was ordered."""
        process = self._start()
        assert process.stdin is not None
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
        while True:
            for answer in self._read(process):
                if "fault" in answer:
                    total.faults.append(Fault(answer["index"], **answer["fault"]))
                total.outcomes.update(answer.get("outcomes", {}))
                if "done" in answer:
                    total.peak_mb = max(total.peak_mb, answer["peak_mb"] - self._base_mb)
                    return None
            fault = self._look(process)
            if fault is None:
                continue
            told = [answer for answer in self._read(process) if "fault" in answer]
            total.faults += [Fault(answer["index"], **answer["fault"]) for answer in told]
            last = total.faults[-1] if total.faults else None
            if last is not None and last.kind == "memory" and last.index == fault.index:
                fault = last  # it stopped by itself, and said why
            else:
                total.faults.append(fault)
            total.outcomes[fault.kind] += 1
            self.close()
            return fault

    def _look(self, process: subprocess.Popen[bytes]) -> Fault | None:
        """A fault that the worker cannot report itself."""
        index, began = PROGRESS.unpack((self.folder / "progress").read_bytes())
        if process.poll() is not None:
            code = process.returncode
            kind = f"signal {-code}" if code < 0 else f"exit {code}"
            log = self.log.read_text(errors="replace")[-3000:]
            return Fault(index, "death", _signature_of_log(kind, log), f"{kind}\n{log}")
        took = time.monotonic() - began
        if index >= 0 and took > self.target.wall_s:
            text = f"not done after {took:.0f} s, allowed are {self.target.wall_s:g} s"
            return Fault(index, "hang", "hang", text)
        grown = sum(_resident_mb(pid) for pid in _family(process.pid)) - self._base_mb
        if index >= 0 and grown > self.target.memory_mb + 64:
            text = f"its processes have grown by {grown} MB, allowed are {self.target.memory_mb} MB"
            return Fault(index, "memory", "memory", text)
        return None

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is not None:
            return self._process
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "progress").write_bytes(PROGRESS.pack(-1, time.monotonic()))
        words = (self.name, str(self.folder), str(self.seeds), str(self.seed))
        with self.log.open("ab") as log:
            log.truncate(0)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fuzz.worker", *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self.folder,
                env=_environment(self.folder),
                start_new_session=True,
            )
        self._unread = b""
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            for answer in self._read(self._process):
                if "ready" in answer:
                    self._base_mb = answer["base_mb"]
                    return self._process
        words_of_log = self.log.read_text(errors="replace")[-3000:]
        self.close()
        raise RuntimeError(f"the worker of {self.name} does not start: {words_of_log}")

    def _read(self, process: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
        """The lines that have come, after waiting a little for one."""
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], _LOOK_EVERY_S)
        if ready:
            part = os.read(process.stdout.fileno(), 1 << 16)
            self._unread += part
            if not part:
                process.wait()
        *lines, self._unread = self._unread.split(b"\n")
        for line in lines:
            yield json.loads(line)


def _environment(folder: Path) -> dict[str, str]:
    """Of a user of whom nothing lies on this machine."""
    root = Path(__file__).parents[2]
    path = ":".join(str(root / name) for name in _CODE)
    home = folder / "home"
    home.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RESTORA_")}
    return {
        **kept,
        "PYTHONPATH": path,
        "HOME": str(home),
        "TMPDIR": str(folder),
        "NO_COLOR": "1",
        "RESTORA_MODELS": str(home / "models"),
        "RESTORA_PLANS": str(home / "plans"),
        "OMP_NUM_THREADS": "1",
        "OPENCV_LOG_LEVEL": "SILENT",
        "PYTHONHASHSEED": "0",
        "XDG_CACHE_HOME": str(home / "cache"),
    }


def _signature_of_log(kind: str, log: str) -> str:
    """The innermost frame that faulthandler wrote."""
    frames = [line.strip() for line in log.splitlines() if line.lstrip().startswith("File ")]
    return f"{kind} {frames[0]}" if frames else kind


def _family(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for parent in found:
        for path in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                found += [int(word) for word in path.read_text().split()]
    return found


def _resident_mb(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE // _MB
    except (OSError, IndexError):
        return 0
