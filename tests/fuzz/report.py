"""Keep what went wrong: the input, as small as is cheap, and how to repeat it."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from dataclasses import dataclass, field, fields
from pathlib import Path

from fuzz.target import Input
from fuzz.watcher import Fault, Slice, Watcher

_KEPT_PER_SIGNATURE = 2
_MINIMIZING_S = 10.0


@dataclass(slots=True)
class Tally:
    """What came of all inputs of one target. faults: how many, by signature; unconfirmed: inputs
    that went through when they were run again alone."""

    inputs: int = 0
    seconds: float = 0.0
    peak_mb: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    unconfirmed: int = 0
    saved: list[str] = field(default_factory=list)

    def add(self, part: Slice, seconds: float) -> None:
        self.inputs += part.inputs
        self.seconds += seconds
        self.peak_mb = max(self.peak_mb, part.peak_mb)
        self.outcomes.update(part.outcomes)


def keep_fault(
    fault: Fault, found: Input, watcher: Watcher, folder: Path, tally: Tally
) -> str | None:
    """Run it again alone, make it smaller and save it; the line to print, None if there is none.

    Of faults with one signature only the first few are kept, the others are counted.
    """
    signature = f"{watcher.name} {fault.signature}"
    if tally.faults[signature] >= _KEPT_PER_SIGNATURE:
        tally.faults[signature] += 1
        return None
    folder.mkdir(parents=True, exist_ok=True)
    name = watcher.name.replace(":", ".") + "-" + hashlib.sha256(found.data).hexdigest()[:10]
    path = folder / f"{name}{found.ending}"
    path.write_bytes(found.data)
    again = watcher.run_file(path).faults
    if not again:
        tally.unconfirmed += 1
        (folder / f"{name}.unconfirmed").write_text(fault.text)
        return f"not seen again: {fault.kind} of {path}"
    fault = again[0]
    tally.faults[signature] += 1
    if fault.kind == "exception" and watcher.target.shrinks:
        path.write_bytes(minimize(found, fault, watcher, path).data)
    command = f"PYTHONPATH=tests python -m fuzz --targets {watcher.name} --input {path}"
    (folder / f"{name}.report").write_text(f"{command}\n{fault.kind}: {signature}\n{fault.text}\n")
    tally.saved.append(str(path))
    lines = fault.text.strip().splitlines() or [""]
    last = lines[-1 if fault.kind == "exception" else 0][:300]
    return f"FAULT {fault.kind} [{signature}]\n  {last}\n  {command}"


def minimize(found: Input, fault: Fault, watcher: Watcher, path: Path) -> Input:
    """Parts are left out as long as the same fault stays, for some seconds."""
    data, size = found.data, max(1, len(found.data) // 2)
    deadline = time.monotonic() + _MINIMIZING_S
    trial = path.with_name(f".smaller-{path.name}")
    while size >= 1 and time.monotonic() < deadline:
        position = 0
        while position < len(data) and time.monotonic() < deadline:
            smaller = data[:position] + data[position + size :]
            trial.write_bytes(smaller)
            faults = watcher.run_again(trial).faults
            if any(other.signature == fault.signature for other in faults):
                data = smaller
            else:
                position += size
        size //= 2
    trial.unlink(missing_ok=True)
    return Input(found.ending, data)


def write_summary(path: Path, *, seed: int, tallies: dict[str, Tally]) -> None:
    rows = {
        name: {item.name: getattr(tally, item.name) for item in fields(Tally)}
        for name, tally in tallies.items()
    }
    path.write_text(json.dumps({"seed": seed, "targets": rows}, indent=1, sort_keys=True) + "\n")
