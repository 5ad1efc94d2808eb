"""Networks of damage whose answers are known, as artifacts written by hand: magenta is damage, and
damage becomes gray."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from fakes import make_info, open_on_cpu, with_info
from restora.artifact import Artifact
from restora.damage import DamageOptions, DamageStage
from restora.damage.networks import DamageFinder, PhotoRepairer

MAGENTA = (255, 0, 255)
FILLED = 100


def detector_artifact() -> Artifact:
    """The probability is 1 for magenta and 0 for gray and dark pixels."""
    constants = {
        "weight": np.array([1, -2, 1], np.float32).reshape(1, 3, 1, 1),
        "bias": np.array([-255], np.float32),
        "low": np.float32(0),
        "high": np.float32(255),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["nchw", "weight", "bias"], ["signed"]),
        helper.make_node("ReduceMean", ["signed"], ["channel_means"], axes=[2, 3], keepdims=0),
        helper.make_node("Clip", ["signed", "low", "high"], ["clipped"]),
        helper.make_node("Transpose", ["clipped"], ["nhwc"], perm=[0, 2, 3, 1]),
        helper.make_node("Cast", ["nhwc"], ["restored"], to=TensorProto.UINT8),
    ]
    info = make_info(model="marks", kind="damage-detector", scale=1, size_multiple=8, overlap_px=16)
    return with_info(_model(nodes, constants, 3, 1), info)


def repairer_artifact() -> Artifact:
    """Every damaged pixel becomes FILLED."""
    constants = {
        "sizes": np.array([3, 1], np.int64),
        "half": np.float32(127.5),
        "filled": np.float32(FILLED),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Split", ["nchw", "sizes"], ["color", "mask"], axis=1),
        helper.make_node("ReduceMean", ["color"], ["channel_means"], axes=[2, 3], keepdims=0),
        helper.make_node("Greater", ["mask", "half"], ["damaged"]),
        helper.make_node("Where", ["damaged", "filled", "color"], ["mixed"]),
        helper.make_node("Transpose", ["mixed"], ["nhwc"], perm=[0, 2, 3, 1]),
        helper.make_node("Cast", ["nhwc"], ["restored"], to=TensorProto.UINT8),
    ]
    info = make_info(model="filler", kind="repairer", scale=1, size_multiple=32, overlap_px=16)
    return with_info(_model(nodes, constants, 4, 3), info)


def write_networks(folder: Path) -> tuple[Path, Path]:
    """The files of both."""
    paths = folder / "marks.onnx", folder / "filler.onnx"
    for path, artifact in zip(paths, (detector_artifact(), repairer_artifact()), strict=True):
        path.write_bytes(artifact.onnx)
    return paths


def stage_of(options: DamageOptions | None = None) -> DamageStage:
    options = options or DamageOptions()
    finder = None
    if options.find != "off":
        finder = DamageFinder(open_on_cpu(detector_artifact()))
    return DamageStage(finder, PhotoRepairer(open_on_cpu(repairer_artifact())), options)


def gray_picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """RGB of random levels, none of which is damage."""
    levels = np.random.default_rng(seed).integers(120, 256, (height, width, 1), np.uint8)
    return np.repeat(levels, 3, 2)


def _model(
    nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], taken: int, given: int
) -> onnx.ModelProto:
    dtype = TensorProto.UINT8
    graph = helper.make_graph(
        nodes,
        "damage",
        [helper.make_tensor_value_info("image", dtype, ["batch", "height", "width", taken])],
        [
            helper.make_tensor_value_info("restored", dtype, ["batch", None, None, given]),
            helper.make_tensor_value_info("channel_means", TensorProto.FLOAT, ["batch", None]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
