"""What has happened to each step, and which steps are left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from restora_tools.gpu.places import Places
from restora_tools.gpu.steps import Step

# left: its budget was not used up, another call continues
StateName = Literal["done", "failed", "skipped", "over budget", "left"]

EXIT_CODES: dict[StateName, int] = {
    "done": 0,
    "failed": 1,
    "left": 3,
    "skipped": 4,
    "over budget": 5,
}
_ROWS = "steps"


@dataclass(frozen=True, slots=True)
class State:
    """How a step ended, why, and how long it took, earlier tries included."""

    step: str
    state: StateName
    reason: str = ""
    seconds: float = 0.0
    tries: int = 1


def read_states(places: Places) -> dict[str, State]:
    return {
        row["step"]: State(**{name: row[name] for name in State.__slots__})
        for row in places.rows(_ROWS)
    }


def write_state(places: Places, state: State) -> None:
    places.add_rows(_ROWS, [asdict(state)], key=("step",))


def state_of_exit(code: int) -> StateName | None:
    """None for a code with which no step ends by itself."""
    return next((name for name, known in EXIT_CODES.items() if known == code), None)


def steps_left(
    steps: Sequence[Step], states: Mapping[str, State], *, again: bool = False
) -> list[Step]:
    """Steps to run, in order; those that were over their budget come last.

    again: run those that failed too
    """
    left, slow = [], []
    for step in steps:
        state = states.get(step.name)
        if state is None or state.state in ("skipped", "left"):
            left.append(step)
        elif state.state == "over budget":
            slow.append(step)
        elif state.state == "failed" and again:
            left.append(step)
    return left + slow


def missing_need(step: Step, states: Mapping[str, State]) -> str | None:
    """Why a step cannot run: a step that it needs has not been done."""
    for name in step.needs():
        state = states.get(name)
        if state is None:
            return f"it needs {name}, which has not run"
        if state.state != "done":
            return f"it needs {name}: {state.state}"
    return None
