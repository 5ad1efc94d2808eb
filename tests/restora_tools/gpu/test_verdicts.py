"""Facts about verdicts: what must hold, what is a goal, and what nobody measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from restora_tools.gpu.gpu_tests import TESTS
from restora_tools.gpu.places import Places
from restora_tools.gpu.states import State, write_state
from restora_tools.gpu.steps import Step
from restora_tools.gpu.verdicts import Verdict, make_verdicts

SPEED, PHOTOS = Step("speed", "tiny", "fp16"), Step("photos", "tiny", "fp16")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path, "NVIDIA Double")


def verdicts_of(places: Places, step: Step, rows: list[dict[str, Any]]) -> dict[str, Verdict]:
    write_state(places, State(step.name, "done"))
    places.add_rows(step.stage, rows, key=("model", "precision", "photo"))
    return {v.statement: v for v in make_verdicts(places, [step])}


def speed_row(**facts: Any) -> dict[str, Any]:
    return {"model": "tiny", "precision": "fp16", "device_ms": 2.0, "graphs_launched": 9, **facts}


def test_a_figure_without_graphs_fails(places: Places) -> None:
    name = "tiny fp16: it is timed through CUDA graphs"
    assert verdicts_of(places, SPEED, [speed_row()])[name].outcome == "holds"
    found = verdicts_of(places, SPEED, [speed_row(no_graphs="error 906")])[name]
    assert (found.outcome, found.detail, found.must) == ("FAILS", "error 906", True)


@pytest.mark.parametrize(("ms", "outcome"), [(4.0, "holds"), (1.0, "FAILS")])
def test_the_fastest_peer_decides_and_is_a_goal(places: Places, ms: float, outcome: str) -> None:
    peers = [
        {"model": "tiny", "way": "eager", "ms": 9.0},
        {"model": "tiny", "way": "compiled", "ms": ms},
        {"model": "tiny", "way": "absent", "not_measured": "no onnxruntime"},
        {"model": "other", "way": "eager", "ms": 0.1},
    ]
    places.add_rows("peers", peers, key=("model", "way"))
    found = verdicts_of(places, SPEED, [speed_row()])
    goal = found["tiny fp16: it is faster than every other runtime"]
    assert (goal.outcome, goal.must) == (outcome, False)
    assert "compiled" in goal.detail


def test_photos_are_goals_of_their_own(places: Places) -> None:
    row = {"model": "tiny", "precision": "fp16", "photo": "150x130", "device_share": 0.5}
    busy = {**row, "gpu_state": {"busy": [0.1, 0.96, 1.0]}, "computed_share": 1.3}
    found = verdicts_of(places, PHOTOS, [busy]).values()
    assert [(v.outcome, v.must) for v in found] == [("holds", False), ("FAILS", False)]
    unknown = {**row, "gpu_state": {"not_measured": "no NVML"}, "computed_share": 1.1}
    found = verdicts_of(places, PHOTOS, [unknown]).values()
    assert [v.outcome for v in found] == ["not measured", "holds"]
    assert next(iter(found)).detail == "no NVML; 50.0% by the speed of one batch"


def test_damage_is_found_as_on_the_cpu_and_nothing_else_changes(places: Places) -> None:
    row = {"photo": "40x30", "mask_overlap": 0.99, "changed_outside": 0}
    found = verdicts_of(places, Step("damage"), [row]).values()
    assert [(v.outcome, v.must) for v in found] == [("holds", True)] * 2
    other = verdicts_of(places, Step("damage"), [{**row, "mask_overlap": 0.9}]).values()
    assert [v.outcome for v in other] == ["FAILS", "holds"]
    changed = verdicts_of(places, Step("damage"), [{**row, "changed_outside": 1}]).values()
    assert [v.outcome for v in changed] == ["holds", "FAILS"]


def test_a_row_of_another_precision_is_not_taken(places: Places) -> None:
    found = verdicts_of(places, SPEED, [speed_row(precision="fp32", no_graphs="none")])
    assert found == {}


@pytest.mark.parametrize(
    ("state", "outcome"),
    [("skipped", "not measured"), ("over budget", "not measured"), ("failed", "FAILS")],
)
def test_a_step_that_did_not_run_is_no_pass(places: Places, state: Any, outcome: str) -> None:
    write_state(places, State(SPEED.name, state, "why"))
    (verdict,) = make_verdicts(places, [SPEED])
    assert verdict.outcome == outcome
    assert "why" in verdict.detail


def test_each_file_of_tests_speaks_for_its_own_step(places: Places) -> None:
    for subject, passed in (("", True), ("damage", False)):
        row = {"tests": TESTS[subject], "passed": passed, "counts": {"passed": 2}}
        places.add_rows("tests", [row], key=("tests",))
    steps = [Step("tests"), Step("tests", "damage")]
    for step in steps:
        write_state(places, State(step.name, "done"))
    assert [(v.statement, v.outcome) for v in make_verdicts(places, steps)] == [
        ("the tests on a GPU pass", "holds"),
        ("the tests of damage on a GPU pass", "FAILS"),
    ]
