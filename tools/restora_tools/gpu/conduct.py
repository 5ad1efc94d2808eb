"""Run steps one after the other, each in a process of its own with a limit of time.

A step that crashes the driver or hangs in a builder costs one row, not the run. This module and
what it imports need nothing but Python.
"""

from __future__ import annotations

import fcntl
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TextIO

from restora_tools.gpu.places import Places
from restora_tools.gpu.states import (
    State,
    missing_need,
    read_states,
    state_of_exit,
    steps_left,
    write_state,
)
from restora_tools.gpu.steps import Interpreter, Stage, Step

FOLDERS = ("engine", "export", "calibration", "benchmarks", "tools")
_ROOT = Path(__file__).parents[3]
GRACE_S = 30.0  # for a step that ends by itself when its budget is used up
_LEAST_S: dict[Stage, float] = {"build": 120, "sweep": 120}  # shorter ones are not worth a start
_CUT = "the time of this run is used up"


@dataclass(frozen=True, slots=True)
class Interpreters:
    """Python for each kind of step; the one that runs this by default."""

    export: str = sys.executable
    tensorrt: str = sys.executable
    torch: str = sys.executable

    def python(self, kind: Interpreter) -> str:
        return {"export": self.export, "tensorrt": self.tensorrt, "torch": self.torch}[kind]


class RunningError(Exception):
    """Another process runs steps in this folder."""


def budget_of(step: Step) -> float:
    return step.budget_s


def conduct(
    places: Places,
    steps: Sequence[Step],
    command: Callable[[Step, float], Sequence[str]],
    *,
    seconds: float | None = None,
    again: bool = False,
    budget_of: Callable[[Step], float] = budget_of,
    report: Callable[[str], None] = print,
) -> None:
    """Run what is left of `steps`.

    command: the command line of a step, with the seconds after which it should end by itself
    seconds: no step starts after that, and one that runs then is stopped and left for later
    again: repeat steps that failed
    budget_of: seconds for a step, which is stopped a while later

    Raises RunningError if another process runs steps in this folder.
    """
    started = time.monotonic()
    with _only_one(places) as lock:
        for step in steps_left(steps, read_states(places), again=again):
            while True:  # a step that is left after one plan goes on with the next one
                rest = math.inf if seconds is None else started + seconds - time.monotonic()
                if rest <= _LEAST_S.get(step.stage, 0):
                    report(f"{_CUT}: run it again to continue")
                    return
                _note(lock, f"{step.name} since {datetime.now():%H:%M:%S}")
                state = _run_step(places, step, command, budget_of(step), rest)
                write_state(places, state)
                report(f"{step.name}: {state.state}, {state.seconds:.0f} s {state.reason}".rstrip())
                if state.reason == _CUT:
                    return
                if state.state != "left":
                    break


def start(places: Places, words: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start `gpu_check run` in the background, with these words.

    Raises RunningError if one is running.
    """
    if find_running(places):
        raise RunningError(f"steps are running in {places.root} already")
    places.root.mkdir(parents=True, exist_ok=True)
    with (places.root / "run.log").open("ab") as log:
        return subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "restora_tools.gpu_check", "run", *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # it outlives the shell that started it
        )


def find_running(places: Places) -> str | None:
    """What a process runs in this folder, and since when; None if none does."""
    if not places.lock.exists():
        return None
    try:
        with _only_one(places):
            return None
    except RunningError:
        return places.lock.read_text() or "a run that starts"


def environment_of(python: str) -> dict[str, str]:
    """The environment of a step: another interpreter must not see this one's packages."""
    environment = dict(os.environ)
    if python == sys.executable:
        return environment
    environment.pop("PYTHONHOME", None)
    environment["PYTHONPATH"] = os.pathsep.join(str(_ROOT / folder) for folder in FOLDERS)
    return environment


@contextmanager
def _only_one(places: Places) -> Iterator[TextIO]:
    places.root.mkdir(parents=True, exist_ok=True)
    with places.lock.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunningError(f"steps are running in {places.root} already") from error
        yield lock


def _note(lock: TextIO, words: str) -> None:
    lock.truncate(0)
    lock.write(words)
    lock.flush()


def _run_step(
    places: Places,
    step: Step,
    command: Callable[[Step, float], Sequence[str]],
    budget: float,
    rest: float,
) -> State:
    """Run one step and read how it ended."""
    states = read_states(places)
    need = missing_need(step, states)
    if need is not None:
        return State(step.name, "skipped", need)
    log = places.logs / f"{step.name.replace(':', '-')}.log"
    cut = rest < budget + GRACE_S
    if cut:
        budget = max(rest - GRACE_S, rest / 2)
    limit = min(rest, budget + GRACE_S)
    seconds, code = _run_process(log, command(step, budget), limit)
    before = states.get(step.name, State(step.name, "left", tries=0))
    state = State(
        step.name, "done", seconds=round(before.seconds + seconds, 1), tries=before.tries + 1
    )
    ended = None if code is None else state_of_exit(code)
    if cut and (code is None or ended == "over budget"):
        return replace(state, state="left", reason=_CUT)
    if code is None:
        return replace(state, state="over budget", reason=f"stopped after {limit:.0f} s")
    if code < 0:
        name = signal.Signals(-code).name
        return replace(state, state="failed", reason=f"it died by {name}: see {log}")
    if ended is None:
        return replace(state, state="failed", reason=f"it ended with code {code}: see {log}")
    return replace(state, state=ended, reason="" if ended == "done" else _last_line(log))


def _run_process(log: Path, command: Sequence[str], timeout_s: float) -> tuple[float, int | None]:
    """Seconds and the exit code; None if it was stopped."""
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with log.open("ab") as stream:
        process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=environment_of(command[0]),
            start_new_session=True,
        )
    try:
        code: int | None = process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # its own children included
            process.wait()
    return time.monotonic() - started, code


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""
