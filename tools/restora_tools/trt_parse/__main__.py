"""`python -m restora_tools.trt_parse`; see __init__.py.

The first run downloads 819 MB and takes 1.3 GB below build/. Needs git, gcc and g++; no GPU.
"""

import argparse
import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx

from restora_tools.results import write_results
from restora_tools.trt_parse.compare import find_changes, find_faults, with_size
from restora_tools.trt_parse.host_program import HostProgram, build_host_program
from restora_tools.trt_parse.sources import WHEEL
from restora_tools.trt_parse.subjects import Subject, iter_subjects

RESULTS = Path("benchmarks/results/trt-parse.json")
WORK = Path("build/trt-parse")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=RESULTS, help="the recorded layer counts")
    parser.add_argument("--update", action="store_true", help="record what was made")
    parser.add_argument("--work", type=Path, default=WORK, help="for downloads and the program")
    parser.add_argument("--tensorrt", type=Path, help="a git directory of NVIDIA/TensorRT")
    parser.add_argument("--onnx-tensorrt", type=Path, help="a git directory of onnx/onnx-tensorrt")
    arguments = parser.parse_args()
    program = build_host_program(
        arguments.work, tensorrt=arguments.tensorrt, onnx_tensorrt=arguments.onnx_tensorrt
    )
    rows, faults = [], []
    for subject in iter_subjects():
        row, found = examine(program, subject)
        rows.append(row)
        faults += [f"{subject.name}: {fault}" for fault in found]
        print(f"{subject.name}: {sum(row['layers'].values())} layers{', FAULTY' * bool(found)}")
    if arguments.update and not faults:
        libraries = {name: version(name) for name in ("torch", "onnx", "onnxscript")}
        write_results(arguments.json, parser=WHEEL, libraries=libraries, rows=rows)
    recorded = json.loads(arguments.json.read_text())["rows"]
    changes = find_changes(recorded, rows)
    print("\n".join([*faults, *changes]) or f"{len(rows)} artifacts parse as recorded")
    return 1 if faults or changes else 0


def examine(program: HostProgram, subject: Subject) -> tuple[dict[str, Any], list[str]]:
    """Parse one subject. Returns the row to record, and what is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        onnx.save(subject.model, path)
        dynamic = program.parse(path)
        onnx.save(with_size(subject), path)
        static = program.parse(path)
    row = {"name": subject.name, "layers": dynamic["layers"], "outputs": static["outputs"]}
    return row, find_faults(subject, dynamic, static)


if __name__ == "__main__":
    sys.exit(main())
