"""Tiny models and sessions that tests run instead of real ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from restora.artifact import Accuracy, Artifact, ArtifactInfo, SelfCheck, artifact_from_bytes
from restora.artifact.info import METADATA_KEY
from restora.artifact.selfcheck import METADATA_KEY as SELFCHECK_KEY
from restora.backends import SessionOptions, open_session
from restora.backends.base import Batch, Session, SizeLimits
from restora.pipeline import Restorer

if TYPE_CHECKING:
    import pytest

    from restora.artifact import Io
    from restora.backends import OpenedSession

PASSED = Accuracy(
    max_error=0.0,
    psnr_mean=150.0,
    psnr_min=150.0,
    ssim_mean=1.0,
    nonfinite=0,
    tiles=1,
    reference="a test",
)


def make_info(**changes: object) -> ArtifactInfo:
    info = ArtifactInfo(
        model="tiny",
        kind="upsampler",
        architecture="a test network",
        scale=2,
        precision="fp32",
        io="uint8",
        size_multiple=2,
        overlap_px=8,
        weights_sha256="0" * 64,
        exporter="tests",
        accuracy=PASSED,
    )
    return replace(info, **changes)  # type: ignore[arg-type]


def tiny_artifact(
    *, scale: int = 2, io: Io = "uint8", gain: float = 1.0, **changes: object
) -> Artifact:
    """Nearest-neighbor enlargement after one 3x3 blur, written by hand: no torch needed.

    gain  multiplies the picture; float("nan") makes a network whose output is NaN
    """
    weight = np.zeros((3, 3, 3, 3), np.float32)
    for channel in range(3):
        weight[channel, channel] = gain * np.outer([1, 2, 1], [1, 2, 1]) / 16
    white = 255.0 if io == "uint8" else 1.0
    dtype = TensorProto.UINT8 if io == "uint8" else TensorProto.FLOAT
    constants = {
        "weight": weight,
        "scales": np.array([1, 1, scale, scale], np.float32),
        "low": np.float32(0),
        "high": np.float32(white),
        "half": np.float32(0.5 if io == "uint8" else 0),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["nchw", "weight"], ["blurred"], pads=[1, 1, 1, 1]),
        helper.make_node(
            "Resize",
            ["blurred", "", "scales"],
            ["large"],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        ),
        helper.make_node("ReduceMean", ["large"], ["channel_means"], axes=[2, 3], keepdims=0),
        helper.make_node("Add", ["large", "half"], ["raised"]),
        helper.make_node("Clip", ["raised", "low", "high"], ["clipped"]),
        helper.make_node("Transpose", ["clipped"], ["nhwc"], perm=[0, 2, 3, 1]),
        helper.make_node("Cast", ["nhwc"], ["restored"], to=dtype),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", dtype, ["batch", "height", "width", 3])],
        [
            helper.make_tensor_value_info("restored", dtype, ["batch", None, None, 3]),
            helper.make_tensor_value_info("channel_means", TensorProto.FLOAT, ["batch", 3]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return with_info(model, make_info(scale=scale, io=io, **changes))


def with_info(model: onnx.ModelProto, info: ArtifactInfo) -> Artifact:
    helper.set_model_props(model, {METADATA_KEY: info.to_json()})
    return artifact_from_bytes(model.SerializeToString())


def with_selfcheck(artifact: Artifact, selfcheck: SelfCheck) -> Artifact:
    model = onnx.load_from_string(artifact.onnx)
    properties = {METADATA_KEY: artifact.info.to_json(), SELFCHECK_KEY: selfcheck.to_json()}
    helper.set_model_props(model, properties)
    return artifact_from_bytes(model.SerializeToString())


def open_on_cpu(artifact: Artifact | Path | str) -> Session:
    """On ONNX Runtime in FP32, which is exact to a rounding, whatever else this machine has."""
    return open_session(artifact, options=SessionOptions(backend="cpu"))


class NearestSession:
    """Enlarges by repeating pixels, in NumPy: what it returns is known exactly."""

    def __init__(self, *, scale: int = 2, multiple: int = 1, io: Io = "uint8") -> None:
        self.info = make_info(scale=scale, size_multiple=multiple, io=io)
        self.limits = SizeLimits(multiple=multiple)
        self.shapes: list[tuple[int, ...]] = []

    def run(self, batch: Batch) -> Batch:
        self.shapes.append(batch.shape)
        assert batch.shape[1] % self.limits.multiple == 0
        assert batch.shape[2] % self.limits.multiple == 0
        return batch.repeat(self.info.scale, axis=1).repeat(self.info.scale, axis=2)

    def close(self) -> None:
        pass


class BatchingSession(NearestSession):
    """Takes its time, one call at a time, and runs fastest in batches of 4 tiles."""

    def __init__(self, *, tile: int = 16, seconds: float = 0.01) -> None:
        super().__init__(multiple=2)
        self.limits = replace(
            self.limits, best_tiles=((tile, tile),), max_tile=tile, other_tiles_cost=9, best_batch=4
        )
        self.seconds = seconds
        self.lock = threading.Lock()

    def run(self, batch: Batch) -> Batch:
        with self.lock:
            time.sleep(self.seconds)
            return super().run(batch)


def replace_opening(
    monkeypatch: pytest.MonkeyPatch,
    choose: Callable[..., OpenedSession],
    find: Callable[..., Path] = lambda _model, io, _kind: Path(io),
) -> None:
    """Restorers find artifacts by `find` and open them by `choose` until the test ends."""
    monkeypatch.setattr("restora.pipeline.choose_session", choose)
    monkeypatch.setattr("restora.pipeline.artifact_finder", lambda *_, **__: find)


def restorer_of(session: Session) -> Restorer:
    """A Restorer whose upsampler is this session."""
    return Restorer.from_session(session)
