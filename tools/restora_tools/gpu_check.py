"""Check the engine on a machine with a GPU: `python -m restora_tools.gpu_check`.

run     run the steps that are left, most telling first, each in a process with a limit of time
start   the same in the background; `status` shows how far it is
step    run one step in this process
report  tables and verdicts of what was found, and gpu.json
list    the steps

Steps of one folder (--out) may run in several calls and interpreters: TensorRT stages need NumPy,
OpenCV, ONNX, TensorRT and PyCUDA, `ceiling` and `peers` PyTorch, `prepare` the extra `export` and
no GPU. Whatever cannot run here is skipped with its reason, and runs in a later call.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from restora_tools.gpu.conduct import Interpreters, RunningError, conduct, find_running, start
from restora_tools.gpu.places import Places
from restora_tools.gpu.report import make_summary, make_table, merge
from restora_tools.gpu.states import EXIT_CODES, read_states, steps_left
from restora_tools.gpu.steps import Step, choose_steps, find_step
from restora_tools.gpu.subjects import TINY
from restora_tools.gpu.verdicts import Verdict, make_verdicts

OUT = Path("build/gpu-check")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 if all verdicts hold, 1 if one fails, 2 for wrong usage, 3 if steps are left or
    running; `step` returns the code of how it ended."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = _parse(words)
    places = Places(options.out)
    try:
        if options.command == "step":
            return _step(options, places)
        steps = _without_trials(choose_steps(options.steps), options.steps)
        if options.command == "list":
            print("\n".join(step.name for step in steps))
            return 0
        if options.command == "start":
            print(f"started, process {start(places, words[1:]).pid}; see `status`")
            return 0
        if options.command == "run":
            _run(options, places, steps)
        return _conclude(places, steps, options.results, quiet=options.command == "status")
    except (LookupError, RunningError) as error:
        print(error, file=sys.stderr)
        return 2


def _step(options: argparse.Namespace, places: Places) -> int:
    from restora_tools.gpu.effort import FULL, QUICK
    from restora_tools.gpu.run_step import Settings, run_step

    step = find_step(options.name)
    settings = Settings(
        budget_s=options.build_budget if is_build(step) else None,
        retry=options.retry,
        effort=QUICK if options.quick else FULL,
        torch_device=options.device,
    )
    state = run_step(step, places, lambda words: print(words, flush=True), settings)
    return EXIT_CODES[state]


def _run(options: argparse.Namespace, places: Places, steps: Sequence[Step]) -> None:
    pythons = Interpreters(
        export=options.export_python, tensorrt=options.python, torch=options.torch_python
    )

    def command(step: Step, budget_s: float) -> list[str]:
        words = [pythons.python(step.interpreter), "-m", "restora_tools.gpu_check", "step"]
        words += [step.name, "--out", str(options.out.resolve()), "--device", options.device]
        words += ["--build-budget", str(budget_s)]
        words += ["--quick"] * options.quick
        return words + ["--retry"] * options.again

    signal.signal(signal.SIGTERM, _end)
    conduct(
        places,
        steps,
        command,
        seconds=options.seconds,
        again=options.again,
        budget_of=lambda step: options.build_budget if is_build(step) else step.budget_s,
        report=lambda words: print(words, flush=True),
    )


def is_build(step: Step) -> bool:
    """Whether its budget is one of a plan."""
    return step.stage in ("build", "sweep")


def _end(number: int, frame: FrameType | None) -> None:
    del frame
    raise SystemExit(128 + number)  # so that the step at work is stopped too


def _conclude(places: Places, steps: Sequence[Step], results: Path | None, *, quiet: bool) -> int:
    """Print what was found, write gpu.json, and return the exit code."""
    verdicts = make_verdicts(places, steps)
    left = steps_left(steps, read_states(places))
    running = find_running(places)
    if quiet:
        states = read_states(places)
        for step in steps:
            if step.name in states:
                state = states[step.name]
                print(f"{step.name}: {state.state} {state.seconds:.0f} s {state.reason}".rstrip())
        print(f"{len(left)} of {len(steps)} steps are left; running: {running or 'nothing'}")
    else:
        result = merge(places, steps)
        print(make_table(result))
        for folder in (places.root, *([results] if results and result["gpu"] else [])):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "gpu.json").write_text(json.dumps(result, indent=1) + "\n")
            print(f"wrote {folder / 'gpu.json'}")
    print(make_summary(verdicts))
    return _exit_code(verdicts, unfinished=bool(running or left))


def _exit_code(verdicts: Sequence[Verdict], *, unfinished: bool) -> int:
    if any(verdict.must and verdict.outcome == "FAILS" for verdict in verdicts):
        return 1
    return 3 if unfinished else 0


def _without_trials(steps: Sequence[Step], patterns: Sequence[str]) -> tuple[Step, ...]:
    """Sweeps, photos and peers of the tiny network tell nothing: only if they are asked for."""
    if any(TINY.name in pattern for pattern in patterns):
        return tuple(steps)
    trials = ("photos", "sweep", "peers")
    return tuple(s for s in steps if s.subject != TINY.name or s.stage not in trials)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--out", type=Path, default=OUT, help=f"folder of results ({OUT})")
    shared.add_argument("--device", default="cuda", help='of PyTorch; "cpu" tries commands out')
    shared.add_argument("--quick", action="store_true", help="one run each: no figures, a trial")
    shared.add_argument("--build-budget", type=float, default=500, help="seconds for one plan")
    for name in ("run", "start", "status", "report", "list"):
        command = commands.add_parser(name, parents=[shared])
        command.add_argument("steps", nargs="*", help='such as "build:*:fp16" or "speed"; or all')
        command.add_argument("--results", type=Path, help="where gpu.json is written too")
        if name in ("run", "start"):
            command.add_argument(
                "--seconds", type=float, help="stop after this time, to go on later"
            )
            command.add_argument("--again", action="store_true", help="repeat steps that failed")
            for words in ("python", "torch-python", "export-python"):
                command.add_argument(f"--{words}", default=sys.executable)
    step = commands.add_parser("step", parents=[shared])
    step.add_argument("name")
    step.add_argument("--retry", action="store_true", help="build refused plans again")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
