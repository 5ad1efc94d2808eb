"""Start a network on ncnn, ONNX Runtime or OpenVINO with given settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from restora.backends.base import Batch
from restora.backends.openvino_weights import diffuse_rounding
from restora.models.checkpoint_files import files_of_checkpoint
from restora_benchmarks.bench.models import Model

FOLDER = Path("build/experiments")  # for files that runtimes save
Run = Callable[[Batch], Batch]
Start = Callable[[Model], Run]
_SIXTEEN_BITS = ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage", "bf16_packed")


def start_ncnn(threads: int = 2, *, bf16: bool = False, **options: bool) -> Start:
    """ncnn on the published file. options: of ncnn.Option, without "use_" """

    def start(model: Model) -> Run:
        import ncnn

        assert model.checkpoint is not None
        param, weights = files_of_checkpoint(model.checkpoint)
        net = ncnn.Net()
        net.opt.num_threads = threads
        for name in _SIXTEEN_BITS:
            setattr(net.opt, f"use_{name}", bf16 and name.startswith("bf16"))
        for name, value in options.items():
            setattr(net.opt, f"use_{name}", value)
        if net.load_param(str(param)) or net.load_model(str(weights)):
            raise RuntimeError(f"ncnn cannot load {param}")
        return lambda batch: np.stack([_run_ncnn(ncnn, net, picture) for picture in batch])

    return start


def _run_ncnn(ncnn: Any, net: Any, picture: Batch) -> Batch:
    planes = np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32) / 255
    extractor = net.create_extractor()
    extractor.input("data", ncnn.Mat(planes))
    code, result = extractor.extract("output")
    if code:
        raise RuntimeError(f"ncnn: code {code}")
    pixels = np.rint(np.clip(np.array(result), 0, 1) * 255).astype(np.uint8)
    return np.asarray(pixels.transpose(1, 2, 0))


def start_onnxruntime(threads: int = 2, *, spin: str = "200", **entries: str) -> Start:
    """ONNX Runtime. spin: microseconds that idle threads wait actively; "-1" is its default, a
    million turns. entries: of the session's configuration, with "__" for "." """

    def start(model: Model) -> Run:
        return _onnxruntime_run(model.artifact.onnx, _ort_options(threads, spin, entries))

    return start


def start_saved_onnxruntime(*, prepacked: bool) -> Start:
    """Load what ONNX Runtime saved after its optimizations, with weights in its own layout if
    `prepacked`. The file is written by the first start."""

    def start(model: Model) -> Run:
        path = FOLDER / f"{model.name}-{prepacked}" / "optimized.onnx"
        if not path.exists():
            path.parent.mkdir(parents=True)
            save(model, path)
        return _onnxruntime_run(str(path), _ort_options(2, "200", {}))

    def save(model: Model, path: Path) -> None:
        options = _ort_options(2, "200", {})
        options.optimized_model_filepath = str(path)
        entries = {
            "optimized_model_external_initializers_file_name": "weights.bin",
            "optimized_model_external_initializers_min_size_in_bytes": "1024",
            "save_external_prepacked_constant_initializers": "1" if prepacked else "0",
        }
        for name, value in entries.items():
            options.add_session_config_entry(f"session.{name}", value)
        _onnxruntime_run(model.artifact.onnx, options)

    return start


def _ort_options(threads: int, spin: str, entries: Mapping[str, str]) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0" if spin == "0" else "1")
    if spin not in ("0", "-1"):
        options.add_session_config_entry("session.intra_op.spin_duration_us", spin)
    for name, value in entries.items():
        options.add_session_config_entry(name.replace("__", "."), value)
    return options


def _onnxruntime_run(source: bytes | str, options: Any) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])

    def run(batch: Batch) -> Batch:
        return np.concatenate(
            [session.run(["restored"], {"image": picture[None]})[0] for picture in batch]
        )

    return run


def start_openvino(
    threads: int = 2, *, requests: int = 1, diffused: bool = False, **settings: Any
) -> Start:
    """OpenVINO. requests: how many pictures it computes at once; diffused: round weights to
    bfloat16 as restora does"""

    def start(model: Model) -> Run:
        from restora.backends.openvino_core import get_core

        core = get_core()
        chosen = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", **settings}
        network = core.read_model(model.artifact.onnx)
        if diffused:
            diffuse_rounding(network)
        compiled = core.compile_model(network, "CPU", chosen)
        made = [compiled.create_infer_request() for _ in range(requests)]

        def run(batch: Batch) -> Batch:
            results = []
            for begin in range(0, len(batch), requests):
                group = batch[begin : begin + requests]
                for request, picture in zip(made, group, strict=False):
                    request.start_async({"image": picture[None]}, share_inputs=True)
                for request, _ in zip(made, group, strict=False):
                    request.wait()
                    results.append(np.array(request.get_tensor("restored").data[0]))
            return np.stack(results)

        return run

    return start


def start_side_by_side(starts: Sequence[Start]) -> Start:
    """Several sessions, each with its own tiles, at the same time."""

    def start(model: Model) -> Run:
        runs = [one(model) for one in starts]
        workers = ThreadPoolExecutor(len(runs))

        def run(batch: Batch) -> Batch:
            parts = [batch[index :: len(runs)] for index in range(len(runs))]
            results = workers.map(lambda run, part: run(part), runs, parts)
            return _interleave(list(results))

        return run

    return start


def _interleave(parts: list[Batch]) -> Batch:
    found = np.empty((sum(map(len, parts)), *parts[0].shape[1:]), parts[0].dtype)
    for index, part in enumerate(parts):
        found[index :: len(parts)] = part
    return found
