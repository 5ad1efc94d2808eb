"""Every name of TensorRT that the code uses exists in a version, and is run on its double."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuda_bindings_double import FakeDriver, FakeNvrtc
from fakes import open_on_cpu, tiny_artifact, with_selfcheck
from pycuda_double import FakeCuda
from restora.artifact import Artifact, SelfCheck
from restora.backends import PlanOptions, SessionOptions, tensorrt
from restora.backends.tensorrt import open as plans
from restora.backends.tensorrt.build import build_plan
from restora.backends.tensorrt.build_options import BuildOptions
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.engine_step import PlanRunner
from restora.backends.tensorrt.module import features_of
from restora.backends.tensorrt.open import session_on
from restora.backends.tensorrt.profiles import Profile
from restora.errors import BuildCanceledError, BuildError
from tensorrt_double import VERSIONS, FakeTensorRT, read_api

FOLDER = Path(tensorrt.__file__).parent
HOT = Profile((1, 32, 32, 3), (1, 32, 32, 3), (1, 32, 32, 3))
# names of TensorRT's members that are also members of other things, or Python's own
AMBIGUOUS = {
    *("name", "type", "value", "close", "log", "load", "clear", "node", "size", "__init__"),
    *("code", "dtype", "free", "logger", "nbytes", "read", "update", "write"),
    *("DEBUG", "ERROR", "INFO", "WARNING"),
}


def members(version: str) -> set[str]:
    """All names of methods, properties and enum members of all classes."""
    names: set[str] = set()
    for entry in read_api(version).values():
        if isinstance(entry, dict) and "members" in entry:
            names |= set(entry["members"])
    return names


def names_in_the_code() -> set[str]:
    names: set[str] = set()
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                names.add(node.attr)
    known = set().union(*map(members, VERSIONS))
    return (names & known) - AMBIGUOUS


def artifact(precision: str = "fp32") -> Artifact:
    image = np.zeros((2, 16, 24, 3), np.uint8)
    made = tiny_artifact(precision=precision)
    return with_selfcheck(made, SelfCheck(image, open_on_cpu(tiny_artifact()).run(image)))


def a_layer(trt: FakeTensorRT) -> Any:
    """Of style codes, which stay in FP32."""
    tensor, layer = trt.ITensor(), trt.ILayer()
    tensor._set.update(dtype=trt.DataType.FLOAT, shape=(1, 512), is_shape_tensor=False)
    layer._set.update(type=trt.LayerType.ACTIVATION, num_inputs=1, num_outputs=1)
    tensor._set["name"] = "codes"
    layer._inputs, layer._output, layer._types = [tensor], tensor, []
    return layer


def use_everything(version: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> set[str]:
    """Builds, sessions, refits, failures and cancelling; returns what was touched."""
    trt = FakeTensorRT(version)
    cuda = FakeCuda()
    trt.world.cuda = cuda
    trt.world.network = open_on_cpu(tiny_artifact()).run
    trt.world.layers = [a_layer(trt)]
    features = features_of(trt)
    monkeypatch.setenv("RESTORA_PLANS", str(folder / version))
    driver = FakeDriver(cuda)
    monkeypatch.setattr(plans, "import_driver", lambda: driver)
    monkeypatch.setattr(plans, "import_nvrtc", FakeNvrtc)
    family = [artifact(), artifact("fp16")]
    options = SessionOptions(plans=PlanOptions(tile=32, batches=(1, 2), max_tile=64))
    session, _ = session_on(trt, Device(cuda), family, options)
    for _ in range(3):
        session.run(np.zeros((2, 32, 32, 3), np.uint8))
    session.close()
    options = BuildOptions(
        strip_weights=features.strip,
        version_compatible=features.version_compatible,
        hardware="same_capability" if features.same_capability else "ampere_plus",
        tf32=True,
    )
    device = Device(cuda)
    with device.current():
        built = build_plan(trt, family[0], HOT, options, progress=lambda *_: None)
    onnx = family[0].onnx if features.strip else None
    facts = {"info": family[0].info, "profile": HOT, "onnx": onnx, "version_compatible": True}
    with PlanRunner(trt, device, built.plan, **facts) as runner:
        runner.run(np.zeros((1, 32, 32, 3), np.uint8))
    int8 = artifact("int8")
    with device.current():
        build_plan(trt, int8, HOT, BuildOptions(precision="int8"))
        _break_builds(trt, family[0])
    return {name.split(".")[1] for name in trt.used}


def _break_builds(trt: FakeTensorRT, artifact: Artifact) -> None:

    def cancel(*_: object) -> None:
        raise RuntimeError("enough")

    if features_of(trt).progress:
        with pytest.raises(BuildCanceledError):
            build_plan(trt, artifact, HOT, BuildOptions(), progress=cancel)
    trt.world.parser_errors = [
        {"desc": "no such operator", "node": 3, "node_name": "n", "node_operator": "Foo"}
    ]
    with pytest.raises(BuildError, match="no such operator"):
        build_plan(trt, artifact, HOT, BuildOptions())


def test_every_name_of_tensorrt_in_the_code_is_run_on_a_double(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    used = set().union(*(use_everything(v, monkeypatch, tmp_path) for v in VERSIONS))
    names = names_in_the_code()
    assert {"build_serialized_network", "execute_async_v3", "STRONGLY_TYPED"} <= names
    assert names - used == set()
