"""Facts about running steps in processes of their own. The steps here are lines of Python."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from restora_tools import gpu_check
from restora_tools.gpu.conduct import (
    GRACE_S,
    RunningError,
    conduct,
    environment_of,
    find_running,
    start,
)
from restora_tools.gpu.places import Places
from restora_tools.gpu.states import State, read_states, write_state
from restora_tools.gpu.steps import Step

DEVICE, BUILD, SPEED = Step("device"), Step("build", "tiny", "fp32"), Step("speed", "tiny", "fp32")


Command = Callable[[Step, float], Sequence[str]]


def python(lines: dict[Step, str], note: Path | None = None) -> Command:
    """Commands that run these lines; `note` collects the names of the steps that ran."""

    def command(step: Step, budget_s: float) -> Sequence[str]:
        begin = "" if note is None else f"open({str(note)!r}, 'a').write('{step.name} ')\n"
        return [sys.executable, "-c", begin + lines.get(step, "print('fine')")]

    return command


def states_after(
    places: Places, steps: Sequence[Step], command: Command, **words: object
) -> dict[str, State]:
    conduct(places, steps, command, report=lambda _: None, **words)  # type: ignore[arg-type]
    return read_states(places)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "out")


def test_a_step_ends_as_its_exit_code_says_and_for_the_reason_that_it_prints_last(
    places: Places,
) -> None:
    lines = {
        DEVICE: "print('one'); print('no PyCUDA'); raise SystemExit(4)",
        BUILD: "print('refused: 12 dB'); raise SystemExit(1)",
    }
    states = states_after(places, [DEVICE, BUILD], python(lines))
    assert (states["device"].state, states["device"].reason) == ("skipped", "no PyCUDA")
    assert (states[BUILD.name].state, states[BUILD.name].reason) == ("failed", "refused: 12 dB")
    assert "refused: 12 dB" in (places.logs / "build-tiny-fp32.log").read_text()


def test_a_step_that_hangs_or_crashes_does_not_end_the_run(places: Places) -> None:
    lines = {
        DEVICE: "import threading; threading.Event().wait()",
        BUILD: "import os; os.kill(os.getpid(), 11)",
    }
    states = states_after(
        places, [DEVICE, BUILD, Step("ceiling")], python(lines), budget_of=_short_for(DEVICE)
    )
    assert states["device"].state == "over budget"
    assert states[BUILD.name].state == "failed"
    assert "it died by SIGSEGV" in states[BUILD.name].reason
    assert states["ceiling"].state == "done"


def _short_for(step: Step) -> Callable[[Step], float]:
    return lambda other: 0.5 - GRACE_S if other == step else 60


def test_a_second_run_continues_with_what_is_left_and_what_was_slow_comes_last(
    places: Places, tmp_path: Path
) -> None:
    write_state(places, State("device", "done"))
    write_state(places, State(BUILD.name, "over budget", seconds=7, tries=1))
    write_state(places, State("ceiling", "failed"))
    note = tmp_path / "note"
    steps = [DEVICE, BUILD, Step("ceiling"), Step("tests")]
    states = states_after(places, steps, python({}, note))
    assert note.read_text().split() == ["tests", BUILD.name]
    assert states[BUILD.name].state == "done"
    assert states[BUILD.name].tries == 2
    assert states[BUILD.name].seconds >= 7
    states_after(places, steps, python({}, note), again=True)
    assert note.read_text().split()[2:] == ["ceiling"]


def test_a_step_with_more_to_do_is_run_until_it_is_done(places: Places, tmp_path: Path) -> None:
    note = tmp_path / "note"
    lines = {BUILD: f"raise SystemExit(3 * (open({str(note)!r}).read().count('build') < 3))"}
    states = states_after(places, [BUILD], python(lines, note))
    assert note.read_text().split() == [BUILD.name] * 3
    assert (states[BUILD.name].state, states[BUILD.name].tries) == ("done", 3)


def test_a_step_is_skipped_if_the_step_that_it_needs_was_not_done(places: Places) -> None:
    states = states_after(places, [BUILD, SPEED], python({BUILD: "raise SystemExit(1)"}))
    assert states[SPEED.name].state == "skipped"
    assert states[SPEED.name].reason == "it needs build:tiny:fp32: failed"
    states = states_after(places, [SPEED], python({}))
    assert states[SPEED.name].state == "skipped"


def test_a_step_that_the_time_of_the_run_cuts_off_is_left_for_the_next_one(places: Places) -> None:
    said: list[str] = []
    lines = {DEVICE: "import threading; threading.Event().wait()"}
    conduct(places, [DEVICE, BUILD], python(lines), seconds=0.3, report=said.append)
    states = read_states(places)
    assert states["device"].state == "left"
    assert BUILD.name not in states
    assert "the time of this run is used up" in said[-1]


def test_a_build_is_told_when_to_end_so_that_it_keeps_what_it_timed(places: Places) -> None:
    """A budget that the run cut short is not the step's fault."""
    budgets: list[float] = []

    def command(step: Step, budget_s: float) -> Sequence[str]:
        budgets.append(budget_s)
        return [sys.executable, "-c", "raise SystemExit(5)"]

    states = states_after(places, [BUILD], command, seconds=200)
    assert states[BUILD.name].state == "left"
    assert 150 < budgets[0] <= 170
    states = states_after(places, [BUILD], command)
    assert states[BUILD.name].state == "over budget"
    assert budgets[-1] == BUILD.budget_s


def test_no_build_begins_when_the_run_is_about_to_end(places: Places) -> None:
    said: list[str] = []
    conduct(places, [BUILD], python({}), seconds=60, report=said.append)
    assert read_states(places) == {}
    assert said == ["the time of this run is used up: run it again to continue"]


def test_a_run_tells_which_step_it_is_at(places: Places, tmp_path: Path) -> None:
    note = tmp_path / "note"
    lines = {DEVICE: f"open({str(note)!r}, 'w').write(open({str(places.lock)!r}).read())"}
    states_after(places, [DEVICE], python(lines))
    assert note.read_text().startswith("device since ")
    assert find_running(places) is None


def test_only_one_process_runs_steps_in_a_folder(places: Places) -> None:
    assert not find_running(places)
    places.root.mkdir()
    with places.lock.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert find_running(places) == "a run that starts"
        with pytest.raises(RunningError, match="steps are running in"):
            conduct(places, [DEVICE], python({}))
        with pytest.raises(RunningError, match="steps are running in"):
            start(places, [])
    assert not find_running(places)
    assert read_states(places) == {}


def test_a_run_in_the_background_is_polled(
    places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a machine without a GPU its only step is skipped, and `status` says why."""
    pytest.importorskip("numpy")
    process = start(places, ["device", "--out", str(places.root), "--python", sys.executable])
    assert process.wait(60) in (0, 1, 3)
    assert gpu_check.main(["status", "device", "--out", str(places.root)]) in (0, 1, 3)
    said = capsys.readouterr().out
    assert said.startswith("device: ")
    assert "steps are left" in said


def test_another_interpreter_does_not_see_the_packages_of_this_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONHOME", "/bundle/python")
    monkeypatch.setenv("PYTHONPATH", "/bundle/site")
    assert environment_of(sys.executable)["PYTHONHOME"] == "/bundle/python"
    other = environment_of("/usr/bin/python3")
    assert "PYTHONHOME" not in other
    folders = other["PYTHONPATH"].split(os.pathsep)
    assert "/bundle/site" not in folders
    assert all((Path(folder) / "..").resolve().samefile(gpu_root()) for folder in folders)


def gpu_root() -> Path:
    return Path(gpu_check.__file__).parents[2]


def test_running_steps_needs_nothing_but_python(tmp_path: Path) -> None:
    """The interpreters of steps may be bare; the one that runs them may be barer."""
    from restora_tools.gpu.conduct import FOLDERS

    code = (
        "import sys\n"
        "for name in ('numpy', 'cv2', 'torch', 'onnx', 'tensorrt', 'filelock'):\n"
        "    sys.modules[name] = None\n"
        "from restora_tools import gpu_check\n"
        f"sys.exit(gpu_check.main(['list', '--out', {str(tmp_path)!r}]))\n"
    )
    import subprocess

    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": os.pathsep.join(str(gpu_root() / folder) for folder in FOLDERS)},
    )
    assert done.returncode == 0, done.stderr
    assert "build:RealESRGAN_x4plus:fp16" in done.stdout
