"""The stages of the GPU check that run TensorRT, in an interpreter that has little else.

`python bare_machine.py FOLDER`, with the artifacts of the stage `prepare` in FOLDER: any import
but those of ALLOWED fails, and doubles stand in for TensorRT and CUDA.
"""

from __future__ import annotations

import importlib.abc
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

PACKAGES = {"restora", "restora_benchmarks", "restora_tools"}
DOUBLES = {"tensorrt_double", "pycuda_double", "cuda_bindings_double", "kernel_double"}
ONNX_NEEDS = {"google", "ml_dtypes", "typing_extensions"}
ALLOWED = {"numpy", "cv2", "onnx", *ONNX_NEEDS, *PACKAGES, *DOUBLES, *sys.stdlib_module_names}


class Refuse(importlib.abc.MetaPathFinder):
    """Asked before all others. Raises ModuleNotFoundError for what a bare machine lacks."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> None:
        if name.partition(".")[0] not in ALLOWED:
            raise ModuleNotFoundError(f"no {name} on a bare machine", name=name)


def main(folder: Path) -> None:
    sys.meta_path.insert(0, Refuse())
    import onnx
    from onnx.reference import ReferenceEvaluator

    from cuda_bindings_double import FakeDriver, FakeNvrtc
    from pycuda_double import FakeCuda
    from restora_tools import gpu_check
    from restora_tools.gpu.machine import Modules
    from restora_tools.gpu.places import Places
    from restora_tools.gpu.speed import measure
    from restora_tools.gpu.subjects import TINY
    from tensorrt_double import VERSIONS, FakeTensorRT

    network = ReferenceEvaluator(onnx.load(folder / "artifacts" / "tiny.onnx"))
    trt, cuda = FakeTensorRT(VERSIONS[-1]), FakeCuda()
    trt.world.cuda = cuda
    trt.world.network = lambda image: network.run(None, {"image": image})[0]
    modules = Modules(trt, cuda, FakeDriver(cuda), FakeNvrtc())
    gpu_check.import_modules = lambda: modules
    run_stage("build", folder)
    run_stage("verify", folder)
    # the stage itself, with fewer runs
    measure(modules, Places(folder), TINY, ["fp32"], print, repeats=1, runs=1, photos=1)
    run_stage("report", folder)


def run_stage(stage: str, folder: Path) -> None:
    from restora_tools import gpu_check

    words = ["--out", str(folder), "--subjects", "tiny", "--precisions", "fp32"]
    code = gpu_check.main([*words, "--stage", stage])
    assert code == 0, f"{stage} ends with {code}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
