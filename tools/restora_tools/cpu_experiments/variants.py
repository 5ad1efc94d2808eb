"""The experiments: what is varied, and how each variant starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from restora_tools.cpu_experiments.runtimes import (
    FOLDER,
    Start,
    start_ncnn,
    start_onnxruntime,
    start_openvino,
    start_saved_onnxruntime,
    start_side_by_side,
)


@dataclass(frozen=True, slots=True)
class Variant:
    """environment: of its process, beyond that of this one"""

    name: str
    start: Start
    environment: Mapping[str, str] = field(default_factory=dict)


# the first variant of each experiment is the base that the others are compared with
EXPERIMENTS: dict[str, tuple[Variant, ...]] = {
    "idle threads of ncnn": (
        Variant("sleep at once", start_ncnn(), {"OMP_WAIT_POLICY": "PASSIVE"}),
        Variant("wait for 0.1 ms", start_ncnn(), {"GOMP_SPINCOUNT": "10000"}),
        Variant("wait for 1 ms (restora)", start_ncnn(), {"GOMP_SPINCOUNT": "100000"}),
        Variant("wait for 3 ms (OpenMP)", start_ncnn()),
    ),
    "idle threads of ONNX Runtime": (
        Variant("sleep at once", start_onnxruntime(spin="0")),
        Variant("wait for 0.2 ms (restora)", start_onnxruntime(spin="200")),
        Variant("wait for 1 ms", start_onnxruntime(spin="1000")),
        Variant("wait without a limit (ONNX Runtime)", start_onnxruntime(spin="-1")),
    ),
    "convolutions of ncnn in FP32": (
        Variant("Winograd (ncnn)", start_ncnn()),
        Variant("Winograd without F(6, 3)", start_ncnn(winograd63_convolution=False)),
        Variant("matrix products", start_ncnn(winograd_convolution=False)),
        Variant("direct", start_ncnn(winograd_convolution=False, sgemm_convolution=False)),
    ),
    "convolutions of ncnn in bf16": (
        Variant("FP32, Winograd", start_ncnn()),
        Variant("bf16, Winograd", start_ncnn(bf16=True)),
        Variant(
            "bf16, Winograd without F(6, 3)", start_ncnn(bf16=True, winograd63_convolution=False)
        ),
        Variant("bf16, matrix products", start_ncnn(bf16=True, winograd_convolution=False)),
    ),
    "weights in bf16 on OpenVINO": (
        Variant(
            "rounded to the nearest (OpenVINO)", start_openvino(INFERENCE_PRECISION_HINT="bf16")
        ),
        Variant(
            "errors diffused in each kernel (restora)",
            start_openvino(INFERENCE_PRECISION_HINT="bf16", diffused=True),
        ),
    ),
    "pinned threads of ncnn": (
        Variant("free", start_ncnn()),
        Variant("pinned", start_ncnn(), {"OMP_PROC_BIND": "close", "OMP_PLACES": "cores"}),
    ),
    "pinned threads of ONNX Runtime": (
        Variant("free", start_onnxruntime()),
        Variant("pinned", start_onnxruntime(session__intra_op_thread_affinities="2")),
    ),
    "pinned threads of OpenVINO": (
        Variant("free", start_openvino(ENABLE_CPU_PINNING=False)),
        Variant("pinned", start_openvino(ENABLE_CPU_PINNING=True)),
    ),
    "two tiles at once on ncnn": (
        Variant("one after the other", start_ncnn()),
        Variant("one core each", start_side_by_side([start_ncnn(1), start_ncnn(1)])),
    ),
    "two tiles at once on ONNX Runtime": (
        Variant("one after the other", start_onnxruntime()),
        Variant("one core each", start_side_by_side([start_onnxruntime(1), start_onnxruntime(1)])),
    ),
    "two tiles at once on OpenVINO": (
        Variant("one after the other", start_openvino()),
        Variant("one stream each", start_openvino(requests=2, NUM_STREAMS=2)),
        Variant("throughput hint", start_openvino(requests=2, PERFORMANCE_HINT="THROUGHPUT")),
    ),
    "two tiles at once on OpenVINO in bf16": (
        Variant("one after the other", start_openvino(INFERENCE_PRECISION_HINT="bf16")),
        Variant(
            "one stream each",
            start_openvino(requests=2, NUM_STREAMS=2, INFERENCE_PRECISION_HINT="bf16"),
        ),
        Variant(
            "throughput hint",
            start_openvino(
                requests=2, PERFORMANCE_HINT="THROUGHPUT", INFERENCE_PRECISION_HINT="bf16"
            ),
        ),
    ),
    "load time of ncnn": (Variant("the file", start_ncnn()),),
    "load time of ONNX Runtime": (
        Variant("the artifact", start_onnxruntime()),
        Variant("its optimized graph", start_saved_onnxruntime(prepacked=False)),
        Variant("and packed weights", start_saved_onnxruntime(prepacked=True)),
    ),
    "load time of OpenVINO": (
        Variant("the artifact", start_openvino()),
        Variant("its cache", start_openvino(CACHE_DIR=str(FOLDER / "openvino"))),
    ),
}


def find_variant(experiment: str, name: str) -> Variant:
    return next(variant for variant in EXPERIMENTS[experiment] if variant.name == name)
