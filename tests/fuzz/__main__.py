"""`python -m fuzz`: all targets for some minutes, or one saved input again.

Exit code 0 if nothing was found, 1 if something was.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from fuzz.report import Tally, keep_fault, write_summary
from fuzz.target import draw_mutant, find_target, load_seeds, save_seeds
from fuzz.watcher import Watcher

TARGETS = (
    "read",
    "header",
    "isolated",
    "onnx",
    "checkpoint",
    "ncnn",
    "foreign_onnx",
    "manifest",
    "video",
    "segments",
    "command_line",
    "service",
)
_SLICE_S = 5.0
_FIRST_SLICE = 20
_SAY_EVERY_S = 30.0


def main(arguments: list[str] | None = None) -> int:
    asked = _parse(arguments)
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=asked.scratch) as scratch:
        if asked.input is not None:
            return repeat(asked.targets[0], asked.input, Path(scratch))
        run = Run(asked.targets, asked.out, Path(scratch), asked.seed)
        run.work(minutes=asked.minutes, inputs=asked.inputs, workers=asked.workers)
    return 1 if run.found else 0


class Run:
    """Workers that share the targets among themselves.

    out      faults and the summary
    scratch  seeds, and the inputs under way: better in memory than on a disk
    """

    def __init__(self, names: list[str], out: Path, scratch: Path, seed: int) -> None:
        self.names, self.out, self.scratch, self.seed = names, out, scratch, seed
        self.targets = {name: find_target(name) for name in names}
        self.tallies = {name: Tally() for name in names}
        self._next = dict.fromkeys(names, 0)
        self._planned = dict.fromkeys(names, 0.0)
        self._lock = threading.Lock()
        self._end, self._most = float("inf"), sys.maxsize
        self._failed: list[BaseException] = []
        out.mkdir(parents=True, exist_ok=True)
        print(f"seed {seed}")
        for name, target in self.targets.items():
            save_seeds(target, self._seeds(name))

    @property
    def found(self) -> int:
        return sum(tally.faults.total() for tally in self.tallies.values())

    def work(self, *, minutes: float, inputs: int | None, workers: int) -> None:
        """Until the time is over, or each target has had so many inputs."""
        started = time.monotonic()
        if inputs is None:
            self._end = started + 60 * minutes
        else:
            self._most = inputs
        threads = [threading.Thread(target=self._run_worker, args=(n,)) for n in range(workers)]
        for thread in threads:
            thread.start()
        said = started
        try:
            while any(thread.is_alive() for thread in threads):
                time.sleep(0.05)
                if time.monotonic() - said > _SAY_EVERY_S:
                    said = time.monotonic()
                    self._say(f"after {said - started:.0f} s")
        finally:
            self._end = 0.0  # whoever is interrupted ends its slice
            for thread in threads:
                thread.join()
        self._say(f"seed {self.seed}, {time.monotonic() - started:.0f} s")
        write_summary(self.out / "summary.json", seed=self.seed, tallies=self.tallies)
        if self._failed:
            raise self._failed[0]

    def _run_worker(self, number: int) -> None:
        watchers = {
            name: Watcher(name, self.scratch / f"{name}-{number}", self._seeds(name), self.seed)
            for name in self.names
        }
        try:
            while not self._failed and (part := self._take_slice()) is not None:
                self._run_slice(watchers[part[0]], *part)
        except BaseException as error:  # noqa: BLE001  # raised again by the main thread
            self._failed.append(error)
        finally:
            for watcher in watchers.values():
                watcher.close()

    def _run_slice(self, watcher: Watcher, name: str, start: int, stop: int) -> None:
        watcher.start()
        started = time.monotonic()
        part = watcher.run_slice(start, stop)
        with self._lock:
            self.tallies[name].add(part, time.monotonic() - started)
        seeds = load_seeds(self._seeds(name)) if part.faults else []
        for fault in part.faults:
            found = draw_mutant(self.targets[name], seeds, name, self.seed, fault.index)
            with self._lock:
                line = keep_fault(fault, found, watcher, self.out / "faults", self.tallies[name])
            if line is not None:
                print(line, flush=True)

    def _take_slice(self) -> tuple[str, int, int] | None:
        """Of the target that has had the least time for its weight."""
        with self._lock:
            open_ = [name for name in self.names if self._next[name] < self._most]
            if not open_ or time.monotonic() > self._end:
                return None
            name = min(open_, key=lambda one: self._planned[one] / self.targets[one].weight)
            tally, start = self.tallies[name], self._next[name]
            rate = tally.inputs / tally.seconds if tally.seconds else 0.0
            count = max(1, int(rate * _SLICE_S)) if rate else _FIRST_SLICE
            stop = min(start + count, self._most)
            self._next[name] = stop
            self._planned[name] += _SLICE_S
            return name, start, stop

    def _say(self, when: str) -> None:
        print(f"{when}: {self.found} faults")
        for name, tally in self.tallies.items():
            if not tally.inputs:
                continue
            rate = tally.inputs / max(tally.seconds, 1e-9)
            outcomes = ", ".join(f"{what} {count}" for what, count in tally.outcomes.most_common(8))
            print(
                f"  {name}: {tally.inputs} inputs ({rate:.0f}/s, +{tally.peak_mb} MB), "
                f"{tally.faults.total()} faults, {tally.unconfirmed} unconfirmed; {outcomes}",
                flush=True,
            )

    def _seeds(self, name: str) -> Path:
        return self.scratch / "seeds" / name


def repeat(name: str, path: Path, scratch: Path) -> int:
    """One input in a worker of its own."""
    save_seeds(find_target(name), scratch / "seeds")
    watcher = Watcher(name, scratch / "worker", scratch / "seeds", 0)
    try:
        done = watcher.run_file(path)
    finally:
        watcher.close()
    for fault in done.faults:
        print(f"{fault.kind}\n{fault.text}")
    print(", ".join(done.outcomes))
    return 1 if done.faults else 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--inputs", type=int, help="of each target, instead of minutes")
    parser.add_argument("--targets", type=lambda text: text.split(","), default=list(TARGETS))
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    parser.add_argument("--workers", type=int, default=min(8, os.cpu_count() or 1))
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"))
    memory = Path("/dev/shm")
    parser.add_argument("--scratch", type=Path, default=memory if memory.is_dir() else None)
    parser.add_argument("--input", type=Path, help="a saved input, to be run once more")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what runs is ended and removed
    sys.exit(main())
