"""Facts about networks that run in two parts: the same result, less memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from fakes import make_info, tiny_artifact, with_info
from restora.artifact import Artifact
from restora.artifact.split import split_graph
from restora.artifact.tensors import INPUT, MEANS, OUTPUT
from restora.backends import CpuOptions, openvino_cpu, openvino_shapes
from restora.backends.base import limits_of
from restora.backends.onnxruntime_cpu import OnnxRuntimeCpuSession
from restora.backends.openvino_cpu import OpenVinoSession
from restora.backends.openvino_shapes import FixedShapes, Shape
from restora.backends.openvino_weights import diffuse_rounding
from restora.backends.two_parts import Run, TwoParts, limits_of_parts, split_upsampler
from restora.tile_memory import bytes_of_network

CHANNELS = 8


def enlarging_artifact(
    *, mode: str = "nearest", kernel: int = 3, skip: bool = False, pooled: bool = False
) -> Artifact:
    """Enlarges four times as RRDBNet does: two convolutions, then twice a Resize and a convolution.

    mode: of the second Resize
    kernel: of the last convolution
    skip: the enlarged input is added to the result
    pooled: the result depends on the mean of all pixels
    """
    random = np.random.default_rng(5)
    constants: dict[str, Any] = {
        "twice": np.array([1, 1, 2, 2], np.float32),
        "four": np.array([1, 1, 4, 4], np.float32),
        "small": np.float32(1 / 255),
        "white": np.float32(255),
        "zero": np.float32(0),
    }

    def conv(name: str, source: str, shape: tuple[int, ...]) -> onnx.NodeProto:
        constants[f"{name}_w"] = random.normal(0, 0.2, shape).astype(np.float32)
        side = shape[-1]
        pads = [side // 2] * 4
        return helper.make_node("Conv", [source, f"{name}_w"], [name], pads=pads)

    def resize(name: str, source: str, scales: str, how: str) -> onnx.NodeProto:
        return helper.make_node("Resize", [source, "", scales], [name], mode=how)

    c = CHANNELS
    nodes = [
        helper.make_node("Cast", [INPUT], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["f"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["t", "small"], ["x"]),
        conv("first", "x", (c, 3, 3, 3)),
        conv("body", "first", (c, c, 3, 3)),
        helper.make_node("Add", ["first", "body"], ["features"]),
        resize("up1", "features", "twice", "nearest"),
        conv("conv_up1", "up1", (c, c, 3, 3)),
        helper.make_node("LeakyRelu", ["conv_up1"], ["lifted"], alpha=0.2),
        resize("up2", "lifted", "twice", mode),
        conv("last", "up2", (3, c, kernel, kernel)),
    ]
    result = "last"
    if skip:
        nodes += [
            resize("base", "x", "four", "nearest"),
            helper.make_node("Add", [result, "base"], ["sum"]),
        ]
        result = "sum"
    if pooled:
        nodes += [
            helper.make_node("GlobalAveragePool", [result], ["mean"]),
            helper.make_node("Sub", [result, "mean"], ["centered"]),
        ]
        result = "centered"
    nodes += [
        helper.make_node("ReduceMean", [result], [MEANS], axes=[2, 3], keepdims=0),
        helper.make_node("Mul", [result, "white"], ["bright"]),
        helper.make_node("Clip", ["bright", "zero", "white"], ["clipped"]),
        helper.make_node("Transpose", ["clipped"], ["back"], perm=[0, 2, 3, 1]),
        helper.make_node("Cast", ["back"], [OUTPUT], to=TensorProto.UINT8),
    ]
    shape: list[str | int | None] = ["batch", "height", "width", 3]
    graph = helper.make_graph(
        nodes,
        "enlarging",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, shape)],
        [
            helper.make_tensor_value_info(OUTPUT, TensorProto.UINT8, ["batch", "h", "w", 3]),
            helper.make_tensor_value_info(MEANS, TensorProto.FLOAT, ["batch", 3]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return with_info(model, make_info(scale=4, size_multiple=1, elements_per_pixel=16.0 * CHANNELS))


def load(data: bytes) -> Run:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return lambda inputs, outputs: session.run(outputs, inputs)


def picture(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(shape[1]).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 7, 8, 3), (1, 9, 40, 3), (1, 33, 26, 3)])
def test_two_parts_compute_what_the_whole_network_computes(shape: tuple[int, ...]) -> None:
    artifact, batch = enlarging_artifact(), picture(*shape)
    whole, _ = load(artifact.onnx)({INPUT: batch}, (OUTPUT, MEANS))
    parts = split_graph(artifact.onnx)
    assert parts is not None
    assert (parts.features, parts.channels, parts.reach) == ("features", CHANNELS, 2)
    network = TwoParts(parts, load(parts.trunk), load(parts.head), scale=4, window=8)
    images, means = network.compute(batch)
    # sums of a convolution may be in another order, and cast to the other side of a whole number
    assert np.abs(images.astype(int) - whole).max() <= 1
    assert (images == whole).mean() > 0.99
    assert means.shape == (shape[0], 3)


def test_the_head_runs_on_windows_of_one_size() -> None:
    parts = split_graph(enlarging_artifact().onnx)
    assert parts is not None
    sizes = []
    head = load(parts.head)

    def watched(inputs: Mapping[str, Any], outputs: Sequence[str]) -> Sequence[NDArray[Any]]:
        sizes.append(inputs["features"].shape[2:])
        return head(inputs, outputs)

    network = TwoParts(parts, load(parts.trunk), watched, scale=4, window=8)
    network.compute(picture(1, 30, 40, 3))
    assert len(set(sizes)) == 1
    assert len(sizes) > 12
    assert max(sizes[0]) <= 8 + 2 * parts.reach


def test_one_window_that_is_not_finite_shows_in_the_means() -> None:
    parts = split_graph(enlarging_artifact().onnx)
    assert parts is not None
    head, calls = load(parts.head), []

    def broken(inputs: Mapping[str, Any], outputs: Sequence[str]) -> Sequence[NDArray[Any]]:
        images, means = head(inputs, outputs)
        calls.append(means)
        return images, means * (np.inf if len(calls) == 3 else 1)

    network = TwoParts(parts, load(parts.trunk), broken, scale=4, window=8)
    _, means = network.compute(picture(1, 30, 40, 3))
    assert not np.isfinite(means).all()


@pytest.mark.parametrize(
    "change",
    [{"mode": "linear"}, {"kernel": 5}, {"skip": True}, {"pooled": True}],
    ids=["interpolation", "wide kernel", "skip connection", "global mean"],
)
def test_a_head_that_looks_further_than_is_known_is_not_cut_off(change: dict[str, Any]) -> None:
    assert split_graph(enlarging_artifact(**change).onnx) is None


def test_networks_that_enlarge_the_image_itself_or_are_not_onnx_run_as_a_whole() -> None:
    assert split_upsampler(tiny_artifact(scale=4)) is None
    assert split_upsampler(Artifact(make_info(), b"\xff" * 9)) is None


@pytest.mark.parametrize("kind", [OnnxRuntimeCpuSession, OpenVinoSession])
def test_sessions_run_in_two_parts_and_count_the_memory_of_the_trunk(kind: type[Any]) -> None:
    artifact, batch = enlarging_artifact(), picture(1, 140, 150, 3)
    session = kind(artifact)
    whole, _ = load(artifact.onnx)({INPUT: batch}, (OUTPUT, MEANS))
    difference = np.abs(session.run(batch).astype(int) - whole)
    assert difference.max() <= 1
    assert difference.mean() < 0.02
    limits = session.limits
    assert limits.bytes_per_call > 0
    large = 1 << 20
    whole_bytes = bytes_of_network(artifact.info, limits_of(artifact.info), large)
    assert bytes_of_network(artifact.info, limits, large) < whole_bytes
    session.close()


def test_on_openvino_the_head_can_compute_in_fp32_beside_a_trunk_in_bf16(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    rounded: list[int] = []
    settings = OpenVinoSession._settings

    def record(session: OpenVinoSession, arithmetic: Any) -> dict[str, Any]:
        asked.append(arithmetic)
        return settings(session, "f32")

    monkeypatch.setattr(OpenVinoSession, "_settings", record)
    monkeypatch.setattr(
        openvino_cpu, "diffuse_rounding", lambda model: rounded.append(diffuse_rounding(model))
    )
    options = CpuOptions(threads=1)
    for exact_head in (True, False):
        OpenVinoSession(
            enlarging_artifact(), options, arithmetic="bf16", exact_head=exact_head
        ).close()
    assert asked == ["bf16", "f32", "bf16", "bf16"]
    assert len(rounded) == 3
    assert min(rounded) > 0


def test_a_shape_of_its_own_changes_no_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    artifact, batch = enlarging_artifact(), picture(1, 33, 26, 3)
    with_any = OpenVinoSession(artifact, CpuOptions(threads=1)).run(batch)
    monkeypatch.setattr(openvino_shapes, "SMALL_PX", 0)
    compiled: list[Shape] = []
    network_for = FixedShapes._network_for

    def watched(shapes: FixedShapes, shape: Shape) -> Any:
        compiled.append(shape)
        return network_for(shapes, shape)

    monkeypatch.setattr(FixedShapes, "_network_for", watched)
    session = OpenVinoSession(artifact, CpuOptions(threads=1))
    assert (session.run(batch) == with_any).all()
    assert compiled == [batch.shape]
    session.close()


def test_a_network_whose_trunk_is_nearly_as_large_runs_as_a_whole() -> None:
    artifact = enlarging_artifact()
    small = make_info(scale=4, size_multiple=1, elements_per_pixel=5.0 * CHANNELS)
    unlike = Artifact(small, artifact.onnx)
    assert split_upsampler(artifact) is not None
    assert split_upsampler(unlike) is None
    assert limits_of_parts(small, None, bytes_per_element=16) == limits_of(small)
