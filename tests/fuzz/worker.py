"""The process that runs inputs: `python -m fuzz.worker TARGET FOLDER SEEDS SEED`.

Takes JSON lines on stdin, {"start": n, "stop": m} or {"file": path}, and answers each with a line
{"done": ...}; faults get lines of their own before it. Where it is, it says in the file `progress`
of its folder, so that whoever watches it knows what it died of.
"""

from __future__ import annotations

import faulthandler
import json
import mmap
import os
import re
import resource
import struct
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

from fuzz.target import Input, Target, draw_mutant, find_target, load_seeds

PROGRESS = struct.Struct("<qd")  # the input's number, and when it was begun; -1: none
_ADDRESS_SPACE = 6 << 30  # beyond the present: guards the machine, not the bound
_LOG_BYTES = 1 << 20
_WARM_UPS = 200
_TOLD_EVERY = 50
_WORDS = 8
_STOP_CODE = 70


class Worker:
    def __init__(self, name: str, folder: Path, seeds: Path, seed: int) -> None:
        self.name, self.folder, self.seed = name, folder, seed
        self.target: Target = find_target(name)
        self.seeds = load_seeds(seeds)
        self.progress = _map(folder / "progress")
        self.answers = os.fdopen(os.dup(1), "w", buffering=1)
        self.orders = os.fdopen(os.dup(0), "r")
        os.dup2(2, 1)  # what libraries print is no answer
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        self._say_where(-1)
        self._warm_up()
        self.base_kb = _peak_kb()
        _limit_address_space()

    def serve(self) -> None:
        self._answer({"ready": True, "base_mb": self.base_kb // 1024})
        for line in self.orders:
            order = json.loads(line)
            outcomes: Counter[str] = Counter()
            if "file" in order:
                path = Path(order["file"])
                self._run(Input(path.suffix, path.read_bytes()), 0, outcomes)
            for index in range(order.get("start", 0), order.get("stop", 0)):
                mutant = draw_mutant(self.target, self.seeds, self.name, self.seed, index)
                self._run(mutant, index, outcomes)
                if index % _TOLD_EVERY == 0:  # what comes later may end the process
                    self._answer({"outcomes": outcomes})
                    outcomes.clear()
            self._say_where(-1)
            self._answer({"done": True, "outcomes": outcomes, "peak_mb": _peak_kb() // 1024})

    def _run(self, mutant: Input, index: int, outcomes: Counter[str]) -> None:
        path = self.folder / f"input{mutant.ending}"
        path.write_bytes(mutant.data)
        self._say_where(index)
        started = _cpu_s()
        fault: dict[str, Any] | None = None
        try:
            outcomes[self.target.check(path)] += 1
        except BaseException as error:  # noqa: BLE001  # whatever it is, it must be told
            if _is_typed(error):
                outcomes[type(error).__name__] += 1
            else:
                text = "".join(traceback.format_exception(error, limit=-12))
                fault = {"kind": "exception", "text": text, "signature": _signature(error)}
        spent = _cpu_s() - started
        if fault is None and spent > self.target.cpu_s:
            text = f"{spent:.1f} s of CPU, allowed are {self.target.cpu_s:g} s"
            fault = {"kind": "time", "text": text, "signature": "time"}
        if fault is not None:
            outcomes[fault["kind"]] += 1
            self._answer({"fault": fault, "index": index})
        grown_mb = (_peak_kb() - self.base_kb) // 1024
        if grown_mb > self.target.memory_mb:
            text = f"grown by {grown_mb} MB, allowed are {self.target.memory_mb} MB"
            fault = {"kind": "memory", "text": text, "signature": "memory"}
            self._answer({"fault": fault, "index": index})
            self._stop()  # the peak stays where it is
        if os.fstat(2).st_size > _LOG_BYTES:
            os.ftruncate(2, 0)

    def _warm_up(self) -> None:
        for mutant in self.seeds[:_WARM_UPS]:
            path = self.folder / f"input{mutant.ending}"
            path.write_bytes(mutant.data)
            try:
                self.target.check(path)
            except BaseException as error:  # noqa: BLE001  # mutants will meet it again, and report
                del error

    def _say_where(self, index: int) -> None:
        PROGRESS.pack_into(self.progress, 0, index, time.monotonic())

    def _answer(self, what: dict[str, Any]) -> None:
        self.answers.write(json.dumps(what) + "\n")

    def _stop(self) -> NoReturn:
        self.answers.flush()
        os._exit(_STOP_CODE)


def _is_typed(error: BaseException) -> bool:
    """Whether it was raised on purpose; restora is not imported for targets that are not of it."""
    errors = sys.modules.get("restora.errors")
    return errors is not None and isinstance(error, errors.RestoraError)


def _signature(error: BaseException) -> str:
    """The error's type, where it arose, and where our code called."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{Path(frame.filename).name}:{frame.name}" for frame in frames]
    ours = [
        f"{Path(frame.filename).name}:{frame.lineno}"
        for frame in frames
        if "/restora" in frame.filename and "site-packages" not in frame.filename
    ]
    said = str(error) if isinstance(error, AssertionError) else ""
    words = re.findall(r"[a-zA-Z]+", said)[:_WORDS]  # of a check: other words, another fault
    return " ".join((type(error).__name__, *words, *ours[-1:], *places[-1:]))


def _cpu_s() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _peak_kb() -> int:
    """The peak of this process; children that live are watched from outside.

    ru_maxrss would begin at what the process had that started this one.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def _limit_address_space() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + _ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _map(path: Path) -> mmap.mmap:
    path.write_bytes(bytes(PROGRESS.size))
    with path.open("r+b") as stream:
        return mmap.mmap(stream.fileno(), PROGRESS.size)


if __name__ == "__main__":
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    Worker(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])).serve()
