"""What this machine's arithmetic reaches at best: large matrix products and convolutions, measured
in the same run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from restora_calibration.timing import time_in_turns

# OpenVINO leaves the last operation of a graph in FP32, so that there are a few in a row
_STEPS = 4
_OPSET, _IR = 17, 8


@dataclass(frozen=True, slots=True)
class Work:
    """A graph of one kind of operation, its input, and floating-point operations of one run."""

    model: bytes
    feed: dict[str, NDArray[np.float32]]
    flops: float


def measure_ceilings(threads: int, *, repeats: int = 5, side: int = 1536) -> dict[str, float]:
    """GFLOP/s, the better one of matrix products and of 3x3 convolutions: "fp32" through ONNX
    Runtime, "bf16" through OpenVINO where the CPU has bfloat16.

    side  of the matrices
    """
    works = {"product": make_products(side), "convolution": make_convolutions(side // 12)}
    runs: dict[str, Callable[[], object]] = {}
    for kind, work in works.items():
        for precision, start in (("fp32", _start_onnxruntime), ("bf16", _start_bf16)):
            run = start(work, threads)
            if run is not None:
                runs[f"{precision} {kind}"] = run
    best: dict[str, float] = {}
    for name, found in time_in_turns(runs, repeats=repeats).items():
        precision, _, kind = name.partition(" ")
        gflops = works[kind].flops / found.median / 1e9
        best[precision] = round(max(best.get(precision, 0.0), gflops), 1)
    return best


def make_products(side: int) -> Work:
    """Square matrix products."""
    shape = (side, side)
    return _make_chain("MatMul", shape, shape, 2.0 * side**3, {})


def make_convolutions(side: int, channels: int = 64) -> Work:
    """3x3 convolutions of 64 channels, as these networks are made of."""
    picture, weight = (1, channels, side, side), (channels, channels, 3, 3)
    flops = 2.0 * side**2 * channels**2 * 9
    return _make_chain("Conv", picture, weight, flops, {"pads": [1, 1, 1, 1]})


def _make_chain(
    operator: str,
    shape: tuple[int, ...],
    weight: tuple[int, ...],
    flops: float,
    attributes: dict[str, Any],
) -> Work:
    rng = np.random.default_rng(0)
    fan_in = float(np.prod(weight[1:]))
    names = ["a", *(f"between_{n}" for n in range(_STEPS - 1)), "c"]
    weights, nodes = [], []
    for number in range(_STEPS):
        values = (rng.standard_normal(weight) / fan_in**0.5).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"weight_{number}"))
        inputs = [names[number], f"weight_{number}"]
        nodes.append(helper.make_node(operator, inputs, [names[number + 1]], **attributes))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "ac"]
    graph = helper.make_graph(nodes, "ceiling", ends[:1], ends[1:], weights)
    opsets = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR)
    feed = {"a": rng.standard_normal(shape).astype(np.float32)}
    return Work(bytes(model.SerializeToString()), feed, flops * _STEPS)


def _start_onnxruntime(work: Work, threads: int) -> Callable[[], object]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(work.model, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, work.feed)


def _start_bf16(work: Work, threads: int) -> Callable[[], object] | None:
    try:
        from restora.backends.openvino_core import get_core
    except ImportError:
        return None
    core = get_core()
    if "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return None
    settings = {"INFERENCE_PRECISION_HINT": "bf16", "INFERENCE_NUM_THREADS": threads}
    compiled = core.compile_model(core.read_model(work.model), "CPU", settings)
    request = compiled.create_infer_request()
    return lambda: request.infer(work.feed, share_inputs=True)
