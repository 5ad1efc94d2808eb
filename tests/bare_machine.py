"""The steps of the GPU check in an interpreter that has little else.

`python bare_machine.py FOLDER KIND`, with the artifacts of the stage `prepare` in FOLDER: any
import but those of KIND ("tensorrt" or "torch") fails. Doubles stand in for TensorRT and CUDA.
"""

from __future__ import annotations

import importlib.abc
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

PACKAGES = {"restora", "restora_benchmarks", "restora_tools"}
DOUBLES = {path.stem for path in Path(__file__).parent.glob("*.py")}
ONNX_NEEDS = {"google", "ml_dtypes", "typing_extensions"}
TORCH_NEEDS = {"torchgen", "functorch", "sympy", "mpmath", "networkx", "jinja2", "markupsafe"}
TORCH_NEEDS |= {"filelock", "fsspec", "typing_extensions", "triton"}
SHARED = {"numpy", *PACKAGES, *sys.stdlib_module_names}
ALLOWED = {
    "tensorrt": {"cv2", "onnx", *ONNX_NEEDS, *DOUBLES, *SHARED},
    # restora_export holds the networks in PyTorch
    "torch": {"torch", "restora_export", *TORCH_NEEDS, *SHARED},
}


class Refuse(importlib.abc.MetaPathFinder):
    """Asked before all others. Raises ModuleNotFoundError for what a bare machine lacks."""

    def __init__(self, allowed: set[str]) -> None:
        self._allowed = allowed

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> None:
        if name.partition(".")[0] not in self._allowed:
            raise ModuleNotFoundError(f"no {name} on a bare machine", name=name)


def main(folder: Path, kind: str) -> None:
    sys.meta_path.insert(0, Refuse(ALLOWED[kind]))
    from restora_tools.gpu.effort import QUICK
    from restora_tools.gpu.places import Places
    from restora_tools.gpu.run_step import Settings, run_step
    from restora_tools.gpu.steps import find_step

    if kind == "tensorrt":
        settings = Settings(effort=QUICK, modules=_make_modules(folder))  # type: ignore[arg-type]
        stages = ("build", "verify", "speed", "photos")
        names = ["device", *(f"{stage}:tiny:fp16" for stage in stages)]
    else:
        settings = Settings(effort=QUICK, torch_device="cpu")
        names = ["ceiling", "peers:tiny:eager", "peers:tiny:onnxruntime"]
    for name in names:
        state = "left"
        while state == "left":
            state = run_step(find_step(name), Places(folder), print, settings)
        assert state == "done", f"{name}: {state}"


def _make_modules(folder: Path) -> object:
    import onnx
    from onnx.reference import ReferenceEvaluator

    from cuda_bindings_double import FakeDriver, FakeNvrtc
    from pycuda_double import FakeCuda
    from restora_tools.gpu.machine import Modules
    from tensorrt_double import VERSIONS, FakeTensorRT

    network = ReferenceEvaluator(onnx.load(folder / "artifacts" / "tiny.onnx"))
    trt, cuda = FakeTensorRT(VERSIONS[0]), FakeCuda()
    trt.world.cuda = cuda
    trt.world.network = lambda image: network.run(None, {"image": image})[0]
    modules = Modules(trt, cuda, FakeDriver(cuda), FakeNvrtc())
    return lambda: modules


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
