"""Build the host program, and run it on one file."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from restora_tools.trt_parse.interfaces import make_classes
from restora_tools.trt_parse.sources import (
    ONNX_TENSORRT,
    TENSORRT,
    fetch_headers,
    fetch_libraries,
)

_CODE = Path(__file__).parent / "host"
# TensorRT's headers need two types of CUDA's headers
_CUDA_HEADER = """#pragma once
typedef struct CUstream_st* cudaStream_t;
typedef struct CUevent_st* cudaEvent_t;
"""
# libraries that TensorRT's plugins name, and that nothing calls here: empty ones do
_UNUSED = ("libcublas.so.12", "libcublasLt.so.12", "libcudnn.so.8")


@dataclass(frozen=True, slots=True)
class HostProgram:
    """The built program. libraries: the folders in which it finds shared libraries"""

    path: Path
    libraries: tuple[Path, ...]

    def parse(self, onnx: Path) -> dict[str, Any]:
        """What the parser makes of one file; see host.cpp.

        Raises RuntimeError if the program fails, with its messages.
        """
        search = os.pathsep.join(map(str, self.libraries))
        result = subprocess.run(  # noqa: S603
            [self.path, str(onnx)],
            env=os.environ | {"LD_LIBRARY_PATH": search},
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode or not result.stdout:
            raise RuntimeError(f"{self.path} ends with {result.returncode}: {result.stderr}")
        parsed: dict[str, Any] = json.loads(result.stdout)
        return parsed


def build_host_program(
    work: Path, *, tensorrt: Path | None = None, onnx_tensorrt: Path | None = None
) -> HostProgram:
    """Build it in the folder `work`, which keeps all downloads. Needs git, pip, gcc and g++.

    tensorrt, onnx_tensorrt: git directories of the two repositories; None fetches them
    """
    work = work.resolve()
    made, unused = work / "made", work / "unused"
    for folder in (made, unused):
        folder.mkdir(parents=True, exist_ok=True)
    headers = fetch_headers(TENSORRT, work, clone=tensorrt)
    parser_header = fetch_headers(ONNX_TENSORRT, work, clone=onnx_tensorrt)
    libraries = fetch_libraries(work)
    (made / "cuda_runtime_api.h").write_text(_CUDA_HEADER)
    interface, implementation = (
        (headers / name).read_text() for name in ("NvInfer.h", "NvInferImpl.h")
    )
    (made / "stored.h").write_text(make_classes(implementation, interface))
    for name in _UNUSED:
        soname = f"-Wl,-soname,{name}"
        _compile("gcc", "-shared", "-x", "c", os.devnull, soname, "-o", unused / name)
    program = work / "host"
    includes = (f"-I{folder}" for folder in (_CODE, made, parser_header, headers))
    linked = (
        f"-L{libraries}",
        "-l:libnvonnxparser.so.8",
        "-l:libnvinfer.so.8",
        "-Wl,--allow-shlib-undefined",
    )
    code = _CODE / "host.cpp"
    _compile("g++", "-std=c++17", "-O1", "-w", *includes, code, "-o", program, *linked)
    return HostProgram(program, (libraries, unused))


def _compile(*command: str | Path) -> None:
    subprocess.run(list(map(str, command)), check=True)  # noqa: S603
