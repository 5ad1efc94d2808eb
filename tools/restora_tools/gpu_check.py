"""Check TensorRT on a machine with a GPU: `python -m restora_tools.gpu_check`.

Stages, each of which can be run alone and again:

prepare  export the artifacts with PyTorch's answers (PyTorch, and no GPU)
build    TensorRT plans, each checked (NumPy, OpenCV, ONNX, TensorRT and PyCUDA)
verify   what test doubles cannot prove: tiles on the device, graphs, threads, leaks (the same)
speed    device-only and end to end, with accuracy (the same)
peers    PyTorch eager and compiled, ONNX Runtime CUDA, the matrix-product ceiling (PyTorch)
report   gpu.json and a table of all results

Without --stage all of them run in this order. A stage whose packages this interpreter lacks is
skipped with a message: run the check with each interpreter of the machine, on the same --out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from restora.artifact import Precision
from restora.errors import MissingBackendError
from restora_benchmarks.machine import describe_machine
from restora_tools.gpu.machine import Modules, import_modules
from restora_tools.gpu.places import Places
from restora_tools.gpu.report import make_table, merge
from restora_tools.gpu.subjects import Subject, choose_subjects

STAGES = ("prepare", "build", "verify", "speed", "peers", "report")
BUDGET_S = 400.0
Report = Callable[[str], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 if all that was run holds, 1 if something failed, 3 if builds are left to do."""
    options = _parse(arguments)
    places = Places(options.out)
    subjects = choose_subjects(options.subjects)
    precisions: list[Precision] = options.precisions.split(",")
    stages = [options.stage] if options.stage else list(STAGES)
    code = 0
    for stage in stages:
        try:
            found = _run_stage(stage, places, subjects, precisions, options, print)
        except MissingBackendError as error:
            print(f"{stage}: skipped: {error}")
            code = max(code, 1 if options.stage else 0)
            continue
        code = max(code, found)
    if "report" in stages:
        result = merge(places)
        path = places.root / "gpu.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        machine = describe_machine()
        path.write_text(json.dumps({"machine": machine, **result}, indent=1) + "\n")
        print(make_table(result))
        print(f"wrote {path}")
    return code


def _run_stage(
    stage: str,
    places: Places,
    subjects: Sequence[Subject],
    precisions: Sequence[Precision],
    options: argparse.Namespace,
    report: Report,
) -> int:
    if stage == "prepare":
        _require_torch()
        from restora_tools.gpu.prepare import prepare

        wanted: list[Precision] = ["fp32"]
        wanted += ["fp16"] if options.half else []
        wanted += ["int8"] if "int8" in precisions else []
        prepare(places, subjects, wanted, report)
    elif stage == "build":
        from restora_tools.gpu.build import build

        modules = _modules(places)
        done = build(modules, places, subjects, precisions, budget_s=options.budget, report=report)
        failed = any("error" in row for row in places.rows("build"))
        return 1 if failed else 0 if done else 3
    elif stage == "verify":
        from restora_tools.gpu.verify import verify

        return 0 if verify(_modules(places), places, subjects, precisions, report) else 1
    elif stage == "speed":
        from restora_tools.gpu.speed import measure

        measure(_modules(places), places, subjects, precisions, report)
    elif stage == "peers":
        _require_torch()
        from restora_tools.gpu.peers import measure_peers

        measure_peers(places, subjects, report, device=_torch_device(options.device))
    return 0


def _modules(places: Places) -> Modules:
    modules = import_modules()
    device = modules.open_device()
    facts = asdict(device.facts(str(modules.trt.__version__)))
    device.close()
    places.add_rows("device", [facts], key=("name",))
    return modules


def _require_torch() -> None:
    if find_spec("torch") is None:
        raise MissingBackendError("PyTorch is not in this interpreter")


def _torch_device(asked: str) -> str:
    import torch

    if asked == "cuda" and not torch.cuda.is_available():
        raise MissingBackendError("PyTorch sees no GPU here")
    return asked


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("build/gpu-check"))
    parser.add_argument("--stage", choices=STAGES)
    parser.add_argument("--subjects", default="all", help="names with commas between them")
    parser.add_argument("--precisions", default="fp16,fp32,int8")
    parser.add_argument("--half", action="store_true", help="export FP16 too, for TensorRT >= 10")
    parser.add_argument("--budget", type=float, default=BUDGET_S, help="s for builds in one run")
    parser.add_argument("--device", default="cuda", help="of the peers")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
