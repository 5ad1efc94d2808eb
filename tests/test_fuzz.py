"""Facts about the fuzzer: it finds planted faults of every kind, and none where there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fuzz import planted
from fuzz.__main__ import TARGETS, main
from fuzz.target import Input, Target, draw_mutant, find_target
from restora.errors import RestoraError

KINDS = {
    "EXCEPTION": "KeyError: 'planted'",
    "DEATH": "signal 11",
    "MEMORY": "allowed are 32 MB",
    "HANG": "not done after",
    "TIME": "s of CPU, allowed are",
}
INPUTS = 2


def test_planted_faults_are_found_and_their_inputs_repeat_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"fuzz.planted:{name}" for name in KINDS]
    words = ["--targets", ",".join(names), "--inputs", str(INPUTS), "--seed", "3"]
    assert main([*words, "--workers", "2", "--out", str(tmp_path)]) == 1
    tallies = json.loads((tmp_path / "summary.json").read_text())["targets"]
    for name, kind in zip(names, KINDS.values(), strict=True):
        assert tallies[name]["inputs"] == INPUTS
        first = Path(tallies[name]["saved"][0])
        report = first.with_suffix(".report").read_text()
        assert kind in report
        assert f"--targets {name} --input {first}" in report.splitlines()[0]
    capsys.readouterr()
    again = Path(tallies[names[0]]["saved"][0])
    assert main(["--targets", names[0], "--input", str(again)]) == 1
    assert KINDS["EXCEPTION"] in capsys.readouterr().out
    assert len(again.read_bytes()) == 1  # of what is needed for it


def test_nothing_is_found_where_there_is_nothing(tmp_path: Path) -> None:
    words = ["--targets", "fuzz.planted:CLEAN", "--inputs", "50", "--workers", "1"]
    assert main([*words, "--out", str(tmp_path)]) == 0
    tally = json.loads((tmp_path / "summary.json").read_text())["targets"]["fuzz.planted:CLEAN"]
    assert tally["faults"] == {}
    assert sum(tally["outcomes"].values()) == 50
    assert not (tmp_path / "faults").exists()


def test_an_input_is_a_function_of_seed_target_and_number() -> None:
    seeds = list(planted.CLEAN.make_seeds().values())
    drawn = [draw_mutant(planted.CLEAN, seeds, "clean", 7, index) for index in range(30)]
    assert drawn == [draw_mutant(planted.CLEAN, seeds, "clean", 7, index) for index in range(30)]
    assert len(set(drawn)) > 20
    assert drawn != [draw_mutant(planted.CLEAN, seeds, "clean", 8, index) for index in range(30)]


@pytest.mark.parametrize("name", [name for name in TARGETS if name != "command_line"])
def test_every_target_takes_its_seeds_and_some_mutants(name: str, tmp_path: Path) -> None:
    target = find_target(name)
    named = target.make_seeds()
    seeds = list(named.values())
    mutants = [draw_mutant(target, seeds, name, 1, index) for index in range(20)]
    outcomes = [run_input(target, one, tmp_path) for one in (*seeds, *mutants)]
    good = [outcome for outcome in outcomes[: len(seeds)] if outcome is not None]
    assert len(good) > len(seeds) / 2  # the others are of kinds that are refused


def run_input(target: Target, one: Input, folder: Path) -> str | None:
    """None if it is refused. What is no RestoraError is a fault."""
    path = folder / f"input{one.ending}"
    path.write_bytes(one.data)
    try:
        return target.check(path)
    except RestoraError:
        return None
