"""Run graphs for measuring their accuracy: with OpenVINO where it is several times as fast."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import onnx

from restora.artifact.tensors import INPUT, OUTPUT
from restora.backends.cores import count_allowed_cores
from restora_calibration.int8.statistics import Tiles, open_graph

# a batch of tiles to the restored tiles
Run = Callable[[Tiles], Tiles]
_MIXED_OPSET = 17  # FP32 around INT8; what is newer has FP16 or FP8
_LARGE = 500_000  # weights: OpenVINO takes longer to compile a small network than to run it


def open_runner(model: onnx.ModelProto) -> Run:
    """Open a graph of a large network that computes in FP32, or in INT8 and FP32, with OpenVINO,
    which is three times as fast as ONNX Runtime in INT8; all others, and all without OpenVINO, with
    ONNX Runtime."""
    (opset,) = (entry.version for entry in model.opset_import)
    weights = sum(math.prod(tensor.dims) for tensor in model.graph.initializer)
    if opset <= _MIXED_OPSET and weights >= _LARGE:
        try:
            return _open_openvino(model)
        except ImportError:
            pass
    session = open_graph(model)
    return lambda batch: np.asarray(session.run([OUTPUT], {INPUT: batch})[0])


def _open_openvino(model: onnx.ModelProto) -> Run:
    from restora.backends.openvino_core import get_core
    from restora.backends.openvino_rounding import drop_repeats, join_rounding

    core = get_core()
    read = core.read_model(model.SerializeToString())
    join_rounding(read)
    drop_repeats(read)
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": count_allowed_cores(),
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }
    request = core.compile_model(read, "CPU", settings).create_infer_request()
    return partial(_infer, request)


def _infer(request: object, batch: Tiles) -> Tiles:
    results = request.infer({INPUT: batch}, share_inputs=True)  # type: ignore[attr-defined]
    return np.array(results[OUTPUT])
