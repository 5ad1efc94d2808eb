"""Facts about `restora build`, in processes of their own whose TensorRT and GPU are doubles."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tensorrt_double import VERSIONS

ROOT = Path(__file__).parents[3]
SCRIPT = """
import os, signal, sys
from pathlib import Path
from cuda_bindings_double import FakeDriver, FakeNvrtc
from pycuda_double import FakeCuda
from restora.backends.tensorrt import prebuild
from restora.cli import main
from restora.backends import SessionOptions, open_session
from restora.models import find_artifact
from tensorrt_double import FakeTensorRT

trt, cuda = FakeTensorRT(os.environ["VERSION"]), FakeCuda()
trt.world.cuda = cuda
options = SessionOptions(backend="cpu")
trt.world.network = open_session(find_artifact("restora-lite-x2", "uint8"), options=options).run
prebuild.require_driver = lambda: None
prebuild.import_tensorrt = lambda: trt
prebuild.import_pycuda = lambda: cuda

def fail(build):
    number = len(trt.world.builds)
    what = os.environ.get("FAIL", "")
    if what == "interrupt" and number == 2:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass
    if what == "kill" and number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return "out of everything" if what == "always" else None

trt.world.fail = fail
sys.argv = ["restora", *sys.argv[1:]]
main()
"""


def build(
    folder: Path, version: str, *words: str, fail: str = ""
) -> subprocess.CompletedProcess[str]:
    places = ("engine", "export", "calibration", "benchmarks", "tests")
    environment = {
        **os.environ,
        "PYTHONPATH": ":".join(str(ROOT / place) for place in places),
        "RESTORA_PLANS": str(folder / "plans"),
        "VERSION": version,
        "FAIL": fail,
    }
    command = [sys.executable, "-c", SCRIPT, "build", *words]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "version",
    [pytest.param(v, marks=[] if v == "10.16" else pytest.mark.slow) for v in VERSIONS],
)
def test_the_bundled_model_is_built_with_no_more_words_than_its_name(
    tmp_path: Path, version: str
) -> None:
    result = build(tmp_path, version, "restora-lite-x2", "--json")
    assert result.returncode == 0, result.stderr
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["options"]["precision"] for row in rows] == ["fp16"] * 2
    assert [row["profile"]["best"] for row in rows] == [[1, 512, 512, 3]] * 2
    assert all(row["selfcheck"]["gate"] == "passed" for row in rows)
    assert len(list((tmp_path / "plans").glob("*.plan"))) == 2
    assert len(list((tmp_path / "plans").glob("*.timing"))) == 1
    again = build(tmp_path, version, "restora-lite-x2")
    assert "building" not in again.stderr


@pytest.mark.parametrize("version", ["8.6", "10.16"])
def test_an_interrupted_build_keeps_what_is_finished_and_goes_on(
    tmp_path: Path, version: str
) -> None:
    first = build(tmp_path, version, "restora-lite-x2", fail="interrupt")
    assert first.returncode == 130, first.stderr
    assert len(list((tmp_path / "plans").glob("*.plan"))) == 1
    second = build(tmp_path, version, "restora-lite-x2")
    assert second.returncode == 0, second.stderr
    assert second.stderr.count("building restora-lite-x2") == 1


def test_a_killed_build_goes_on_too(tmp_path: Path) -> None:
    assert build(tmp_path, "10.16", "restora-lite-x2", fail="kill").returncode == -9
    second = build(tmp_path, "10.16", "restora-lite-x2")
    assert second.returncode == 0, second.stderr
    assert second.stderr.count("building restora-lite-x2") == 1


def test_a_build_that_cannot_be_is_one_readable_error_until_a_retry(tmp_path: Path) -> None:
    words = ("restora-lite-x2", "--precision", "fp32")
    result = build(tmp_path, "10.16", *words, fail="always")
    assert result.returncode == 5
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert "out of everything" in line
    again = build(tmp_path, "10.16", *words)
    assert again.returncode == 5
    assert "known from an earlier build; `restora build --retry` tries it" in again.stderr
    retried = build(tmp_path, "10.16", *words, "--retry")
    assert retried.returncode == 0, retried.stderr


def test_an_onnx_file_from_elsewhere_is_refused_with_its_name(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    node = helper.make_node("Identity", ["x"], ["y"])
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([node], "foreign", value[:1], value[1:])
    onnx.save(helper.make_model(graph), tmp_path / "foreign.onnx")
    result = build(tmp_path, "10.16", "foreign.onnx")
    assert result.returncode == 5
    assert "error: foreign.onnx: its layers must be those of an RRDBNet" in result.stderr


def test_a_tile_that_tensorrt_cannot_hold_is_refused_before_anything_is_built(
    tmp_path: Path,
) -> None:
    result = build(tmp_path, "10.16", "restora-lite-x2", "--max-tile", "16384")
    assert result.returncode == 2
    assert "use tiles of at most" in result.stderr
    assert "building" not in result.stderr
