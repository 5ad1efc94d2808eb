"""Facts about the layers that stay in FP32 where precision is a flag of the builder."""

from __future__ import annotations

from typing import Any

import pytest

from fakes import tiny_artifact
from restora.backends.tensorrt.build import build_plan
from restora.backends.tensorrt.build_options import BuildOptions
from restora.backends.tensorrt.profiles import Profile
from tensorrt_double import FakeTensorRT

HOT = Profile((1, 256, 256, 3), (1, 256, 256, 3), (1, 256, 256, 3))


class Layers:
    """Layers of one network, whose settings can be looked at."""

    def __init__(self, trt: FakeTensorRT) -> None:
        self.trt = trt
        self.made = trt.world.layers = []

    def add(self, kind: str, *shape: int, reads: tuple[Any, ...] = (), dtype: str = "FLOAT") -> Any:
        """A layer with one output, of this shape, that reads the outputs of `reads`."""
        layer = self.trt.ILayer()
        kinds = self.trt.LayerType
        layer._set.update(type=getattr(kinds, kind), num_inputs=len(reads), num_outputs=1)
        layer._inputs = [None if other is None else self._tensor(other) for other in reads]
        layer._facts = {"name": f"tensor {len(self.made)}", "dtype": dtype, "shape": shape}
        layer._output, layer._types = self._tensor(layer), []
        self.made.append(layer)
        return layer

    def _tensor(self, maker: Any) -> Any:
        """As in TensorRT, each time another object."""
        tensor, facts = self.trt.ITensor(), maker._facts
        dtype = getattr(self.trt.DataType, facts["dtype"])
        shape_tensor = facts["dtype"] == "INT32"
        tensor._set.update(facts, dtype=dtype, is_shape_tensor=shape_tensor)
        return tensor


def is_kept(layer: Any) -> bool:
    kept = "precision" in layer._set
    assert kept == bool(layer._types)
    return kept and layer._set["precision"].name == layer._types[0][1].name == "FLOAT"


@pytest.fixture
def layers() -> Layers:
    return Layers(FakeTensorRT("8.6"))


def build(layers: Layers, precision: Any = "fp16") -> dict[str, Any]:
    source = "int8" if precision.startswith("int8") else "fp32"
    artifact = tiny_artifact(precision=source)
    build_plan(layers.trt, artifact, HOT, BuildOptions(precision=precision))
    result: dict[str, Any] = layers.trt.world.builds[-1]
    return result


def test_fp16_of_8_6_keeps_styles_factors_and_pictures_in_fp32(layers: Layers) -> None:
    kept = [
        layers.add("MATRIX_MULTIPLY", -1, 512),
        layers.add("UNARY", -1, 512, 1, 1),
        layers.add("ELEMENTWISE", -1, 3, 512, 512),
        layers.add("ELEMENTWISE", -1, 512, 512, 3),
    ]
    free = [
        layers.add("CONVOLUTION", -1, 3, 512, 512),
        layers.add("ACTIVATION", -1, 64, 128, 128),
        layers.add("SHAPE", 4, dtype="INT32"),
    ]
    assert "OBEY_PRECISION_CONSTRAINTS" in build(layers)["flags"]
    assert all(map(is_kept, kept))
    assert not any(map(is_kept, free))
    assert build(layers, "fp32")["flags"] == set()


def test_constants_that_an_fp32_layer_reads_stay_in_fp32(layers: Layers) -> None:
    """A demodulation adds 1e-8, which is 0 in FP16, to a sum of squares."""
    epsilon = layers.add("CONSTANT", 1)
    moved = layers.add("CONSTANT", 512)
    shuffled = layers.add("SHUFFLE", 1, 512, 4, 4, reads=(moved,))
    identity = layers.add("IDENTITY", 1, 512, 4, 4, reads=(shuffled,))
    features = layers.add("CONSTANT", 1, 512, 4, 4)
    convolution = layers.add("CONVOLUTION", -1, 512, 4, 4, reads=(features,))
    sizes = layers.add("CONSTANT", 4, dtype="INT32")
    resized = layers.add("RESIZE", -1, 512, 8, 8, reads=(convolution, sizes, None))
    demodulation = layers.add("ELEMENTWISE", -1, 512, 1, 1, reads=(convolution, epsilon, identity))
    indices = layers.add("CONSTANT", 4, dtype="INT32")
    gathered = layers.add("GATHER", 4, 512, reads=(demodulation, indices))
    build(layers)
    assert all(map(is_kept, (demodulation, epsilon, moved, shuffled, identity, gathered)))
    assert not any(map(is_kept, (features, convolution, sizes, resized, indices)))


def test_a_constant_of_features_that_a_shuffle_moves_stays_free(layers: Layers) -> None:
    constant = layers.add("CONSTANT", 512, 4, 4)
    shuffled = layers.add("SHUFFLE", 1, 512, 4, 4, reads=(constant,))
    layers.add("ELEMENTWISE", -1, 512, 4, 4, reads=(shuffled,))
    build(layers)
    assert not any(map(is_kept, (constant, shuffled)))


def test_quantization_is_free_of_constraints(layers: Layers) -> None:
    """A weight of a 3x3 convolution has 3 in its shape, like a picture."""
    scale = layers.add("CONSTANT", 64)
    weight = layers.add("DEQUANTIZE", 64, 64, 3, 3, reads=(scale,))
    picture = layers.add("QUANTIZE", -1, 3, 512, 512, dtype="FLOAT")
    flags = build(layers, "int8_fp16")["flags"]
    assert {"FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS"} <= flags
    assert not any(map(is_kept, (scale, weight, picture)))
    assert build(layers, "int8")["flags"] == {"INT8"}
