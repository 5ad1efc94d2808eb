"""Facts about fair timing."""

import sys
from types import SimpleNamespace

import pytest

from fakes import tiny_artifact
from restora_calibration import timing
from restora_calibration.int8.speed import measure_artifacts, median_seconds
from restora_calibration.timing import time_in_turns, times_from


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nobody waits; how long they would have."""
    asked: list[float] = []
    monkeypatch.setattr("restora_calibration.timing.time.sleep", asked.append)
    return asked


def test_ways_take_turns_and_the_first_turn_is_not_counted() -> None:
    calls: list[str] = []
    ways = {name: lambda name=name: calls.append(name) for name in "ab"}  # type: ignore[misc]
    times = time_in_turns(ways, repeats=3)
    turns = [calls[begin : begin + 2] for begin in range(0, 8, 2)]
    assert all(sorted(turn) == ["a", "b"] for turn in turns)
    assert times["a"].count == 3


def test_no_way_always_runs_after_the_same_one() -> None:
    calls: list[str] = []
    ways = {name: lambda name=name: calls.append(name) for name in "abc"}  # type: ignore[misc]
    time_in_turns(ways, repeats=11)
    assert calls[:3] == ["a", "b", "c"]
    for name in "abc":
        before = {calls[at - 1] for at in range(1, len(calls)) if calls[at] == name}
        assert set("abc") - {name} <= before


def test_before_each_way_the_cores_come_to_rest(pauses: list[float]) -> None:
    ways = {"a": lambda: None, "b": lambda: None}
    time_in_turns(ways, repeats=1, pause_s=0.02)
    assert pauses == [0.02] * 4
    time_in_turns(ways, repeats=1)
    assert pauses[4:] == [timing.PAUSE_S] * 4


def test_times_are_summed_up() -> None:
    times = times_from([1.0, 2.0, 3.0])
    assert (times.median, times.fastest, times.slowest, times.spread) == (2, 1, 3, 3)


def test_artifacts_are_timed_on_each_runtime_that_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    artifacts = {"fp32": tiny_artifact(), "float": tiny_artifact(io="float32")}
    found = measure_artifacts(artifacts, side=16, repeats=2)
    assert {name for name, _ in found} == {"fp32", "float"}
    assert ("fp32", "ONNX Runtime") in found
    assert all(times.count == 2 for times in found.values())
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "restora.backends.openvino_cpu", raising=False)
    words: list[str] = []
    found = measure_artifacts(artifacts, side=16, repeats=1, report=words.append)
    assert {runtime for _, runtime in found} == {"ONNX Runtime"}
    assert "nothing is timed on OpenVINO" in words[0]
    assert set(median_seconds(artifacts)) == set(found)


def test_what_takes_too_long_is_repeated_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def note(_ways: object, *, repeats: int) -> dict[str, object]:
        asked.append(repeats)
        return {}

    monkeypatch.setattr("restora_calibration.int8.speed.time_in_turns", note)
    clock = iter(range(0, 10_000, 4))  # each first run takes 4 seconds
    watch = SimpleNamespace(perf_counter=lambda: next(clock))
    monkeypatch.setattr("restora_calibration.int8.speed.time", watch)
    for budget_s in (float("inf"), 40.0, 1.0):
        artifacts = {"tiny": tiny_artifact()}
        measure_artifacts(artifacts, repeats=5, budget_s=budget_s)
    assert asked == [5, 2, 1]  # 12 seconds for a turn of three runtimes
