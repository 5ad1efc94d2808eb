"""Verdicts: what the rows of all stages say about the engine on this GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from restora_tools.gpu.gpu_tests import TESTS
from restora_tools.gpu.places import Places, Row
from restora_tools.gpu.states import State, read_states
from restora_tools.gpu.steps import Step

Outcome = Literal["holds", "FAILS", "not measured"]

BUSY = 0.95  # share of time in which the device computes
COMPUTED = 1.12  # computed / photo area of photos of 2 MP and more
COPIES = 0.20  # share of the device's time in copies between layouts
SAME_MASK = 0.98  # overlap of masks: FP16 decides a few pixels of the rims otherwise


@dataclass(frozen=True, slots=True)
class Verdict:
    """One statement.

    must: the engine is broken if it does not hold; the others are goals
    """

    statement: str
    outcome: Outcome
    detail: str
    must: bool = True


def make_verdicts(places: Places, steps: Sequence[Step]) -> list[Verdict]:
    """All statements, in the order of the steps."""
    states = read_states(places)
    found = [verdict for step in steps for verdict in _of_step(places, step, states)]
    return list(dict.fromkeys(found))


def measured_peers(peers: Sequence[Row], row: Row) -> list[Row]:
    """The figures of other runtimes for the network of a row, on the same card."""
    same = (row["model"], row["card"])
    return [peer for peer in peers if (peer["model"], peer["card"]) == same and "ms" in peer]


def _of_step(places: Places, step: Step, states: dict[str, State]) -> Iterator[Verdict]:
    about = f"{step.subject} {step.kind}"
    if step.stage == "prepare":
        return
    state = states.get(step.name)
    rows = [row for row in places.rows(step.stage) if _is_of(row, step)]
    if state is None or state.state in ("skipped", "over budget", "left"):
        why = "it has not run" if state is None else f"{state.state}: {state.reason}".strip(": ")
        yield Verdict(f"{step.name} runs", "not measured", why)
    elif state.state == "failed":
        yield Verdict(f"{step.name} runs", "FAILS", state.reason)
    if step.stage == "device":
        for row in places.rows("loads"):
            outcome = _outcome(row["passed"])
            yield Verdict(row["check"], outcome, row["detail"], must=row["must"])
    elif step.stage == "tests":
        for row in places.rows("tests"):
            if row["tests"] != TESTS[step.subject]:
                continue
            name = f"the tests{f' of {step.subject}' if step.subject else ''} on a GPU pass"
            yield Verdict(name, _outcome(row["passed"]), str(row["counts"]))
    elif step.stage == "build":
        for row in rows:
            name = f"{about}: the plan for {row['profile']} is built and passes its gate"
            if "error" in row:
                yield Verdict(name, "FAILS", row["error"])
            else:
                yield Verdict(name, "holds", f"{row['build_s']} s, {row['psnr_mean']} dB")
    elif step.stage == "verify":
        for row in rows:
            yield Verdict(f"{about}: {row['check']}", _outcome(row["passed"]), row["detail"])
    elif step.stage == "speed":
        yield from (verdict for row in rows for verdict in _of_speed(places, row, about))
    elif step.stage == "layers":
        yield from (_of_layers(row, about) for row in rows)
    elif step.stage == "damage":
        yield from (verdict for row in rows for verdict in _of_damage(row))
    elif step.stage == "photos":
        yield from (verdict for row in rows for verdict in _of_photo(row, about))


def _of_speed(places: Places, row: Row, about: str) -> Iterator[Verdict]:
    launched = f"{row['graphs_launched']} launches"
    yield Verdict(
        f"{about}: it is timed through CUDA graphs",
        _outcome(not row.get("no_graphs")),
        row.get("no_graphs", launched),
    )
    peers = measured_peers(places.rows("peers"), row)
    name = f"{about}: it is faster than every other runtime"
    if not peers:
        yield Verdict(name, "not measured", "no other runtime was measured", must=False)
        return
    best = min(peers, key=lambda peer: peer["ms"])
    factor = best["ms"] / row["device_ms"]
    yield Verdict(name, _outcome(factor > 1), f"{factor:.2f} times {best['way']}", must=False)


def _of_layers(row: Row, about: str) -> Verdict:
    share = row.get("copies_time_share")
    name = f"{about}: copies take at most {COPIES:.0%} of the time"
    if share is None:
        return Verdict(name, "not measured", row.get("times_not_measured", ""), must=False)
    return Verdict(name, _outcome(share <= COPIES), f"{share:.1%}", must=False)


def _of_damage(row: Row) -> Iterator[Verdict]:
    overlap, changed = row["mask_overlap"], row["changed_outside"]
    same = _outcome(overlap >= SAME_MASK)
    yield Verdict("damage: the mask of the print is that of the CPU", same, f"{overlap:.2%}")
    kept = _outcome(changed == 0)
    yield Verdict("damage: no pixel outside the mask changes", kept, f"{changed} changed")


def _of_photo(row: Row, about: str) -> Iterator[Verdict]:
    name, state = f"{about}, {row['photo']}", row["gpu_state"]
    statement = f"{name}: the GPU works {BUSY:.0%} of the time"
    estimate = f"{row['device_share']:.1%} by the speed of one batch"
    if "busy" in state:
        _, busy, _ = state["busy"]
        yield Verdict(statement, _outcome(busy >= BUSY), f"{busy:.1%}; {estimate}", must=False)
    else:
        yield Verdict(statement, "not measured", f"{state['not_measured']}; {estimate}", must=False)
    share = row["computed_share"]
    yield Verdict(
        f"{name}: at most {COMPUTED} of its area is computed",
        _outcome(share <= COMPUTED),
        f"{share:.3f}",
        must=False,
    )


def _is_of(row: Row, step: Step) -> bool:
    kind = row.get("precision")
    return (not step.subject or row.get("model") == step.subject) and kind in (
        None,
        step.kind or None,
        step.kind,
    )


def _outcome(holds: bool | None) -> Outcome:
    return "not measured" if holds is None else "holds" if holds else "FAILS"
