"""The configuration of one network on a Triton server.

Backend: github.com/triton-inference-server/onnxruntime_backend. `precision_mode` is never written:
without it TensorRT takes the type of each layer from the graph, and FP16 is an artifact of its own,
whose accuracy was measured.
"""

from __future__ import annotations

from restora.artifact import Artifact, ArtifactInfo
from restora.triton.config_text import Message, Word, to_map
from restora.triton.graph_tensors import GraphTensor, tensors_of
from restora.triton.options import ServerOptions

MODEL_FILE = "model.onnx"
_SMALLEST_SIDE = 8  # of a tile, in pixels
_DETECTOR_SIDE = 64  # of the picture that warms a detector up
_WORKSPACE_BYTES = 4 << 30


def network_config(name: str, artifact: Artifact, options: ServerOptions, *, tile: int) -> Message:
    """The fields of config.pbtxt for an artifact that ONNX Runtime runs, on a GPU with TensorRT.

    name: of the model on the server
    tile: the largest side of tiles, in pixels; the engine of an upsampler takes no larger ones
    """
    info = artifact.info
    inputs, outputs = tensors_of(artifact)
    smallest, largest = shapes_of(info, options.max_batch, tile)
    config: dict[str, object] = {
        "name": name,
        "platform": "onnxruntime_onnx",
        "default_model_filename": MODEL_FILE,
        **tensors_config(inputs, outputs, max_batch=options.max_batch),
        **network_queue(options),
        "instance_group": [{"kind": Word("KIND_AUTO"), "count": options.instances}],
    }
    # small networks, for which restora builds no engine either
    if info.kind in ("upsampler", "face"):
        config["optimization"] = _accelerators(inputs[0].name, smallest, largest, options)
    if options.warmup:
        config["model_warmup"] = warmup_config(inputs[0], smallest, largest)
    config["parameters"] = to_map({"intra_op_thread_count": {"string_value": str(options.threads)}})
    return config  # type: ignore[return-value]


def shapes_of(
    info: ArtifactInfo, max_batch: int, tile: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The smallest and the largest input of a network, (batch, height, width, 3) each."""
    multiple = info.size_multiple
    if info.side is not None:
        return (1, info.side, info.side, 3), (max_batch, info.side, info.side, 3)
    if info.kind == "detector":
        return (1, _DETECTOR_SIDE, _DETECTOR_SIDE, 3), (1, _DETECTOR_SIDE, _DETECTOR_SIDE, 3)
    low = -(-_SMALLEST_SIDE // multiple) * multiple
    return (1, low, low, 3), (max_batch, tile, tile, 3)


def tensors_config(
    inputs: tuple[GraphTensor, ...], outputs: tuple[GraphTensor, ...], *, max_batch: int
) -> Message:
    """Inputs and outputs without their batch, which max_batch_size stands for."""

    def describe(tensor: GraphTensor) -> Message:
        return {
            "name": tensor.name,
            "data_type": Word(tensor.data_type),
            "dims": list(tensor.shape[1:]),
        }

    return {
        "max_batch_size": max_batch,
        "input": [describe(tensor) for tensor in inputs],
        "output": [describe(tensor) for tensor in outputs],
    }


def network_queue(options: ServerOptions) -> Message:
    """The queue of a network, with room for the tiles of all photos that are restored at the same
    time: a photo whose tile is refused has failed."""
    return queue_config(
        options.queue_size + options.photos * options.max_batch,
        options.queue_timeout_s,
        batch_delay_ms=options.batch_delay_ms,
    )


def queue_config(size: int, timeout_s: float, *, batch_delay_ms: float = 0) -> Message:
    """Requests of one shape run together; too many, and those that wait too long, are refused.

    batch_delay_ms: how long a request waits for others
    """
    return {
        "dynamic_batching": {
            "max_queue_delay_microseconds": round(1000 * batch_delay_ms),
            "default_queue_policy": {
                "timeout_action": Word("REJECT"),
                "default_timeout_microseconds": round(1e6 * timeout_s),
                "allow_timeout_override": True,
                "max_queue_size": size,
            },
        }
    }


def warmup_config(
    tensor: GraphTensor, smallest: tuple[int, ...], largest: tuple[int, ...]
) -> list[Message]:
    """One run of each size, before the model is ready."""
    return [
        {
            "name": "x".join(map(str, shape)),
            "batch_size": shape[0],
            "inputs": to_map(
                {
                    tensor.name: {
                        "data_type": Word(tensor.data_type),
                        "dims": list(shape[1:]),
                        "zero_data": True,
                    }
                }
            ),
        }
        for shape in dict.fromkeys((smallest, largest))
    ]


def _accelerators(
    name: str, smallest: tuple[int, ...], largest: tuple[int, ...], options: ServerOptions
) -> Message:
    """TensorRT on a GPU; servers without one ignore it. One engine takes all sizes, and is fastest
    for the largest."""
    parameters = {
        "max_workspace_size_bytes": str(_WORKSPACE_BYTES),
        "trt_profile_min_shapes": _shape_text(name, smallest),
        "trt_profile_opt_shapes": _shape_text(name, largest),
        "trt_profile_max_shapes": _shape_text(name, largest),
    }
    if options.engine_cache is not None:
        parameters |= {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": options.engine_cache,
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": options.engine_cache,
        }
    tensorrt: Message = {"name": "tensorrt", "parameters": to_map(parameters)}
    return {"execution_accelerators": {"gpu_execution_accelerator": [tensorrt]}}


def _shape_text(name: str, shape: tuple[int, ...]) -> str:
    return f"{name}:{'x'.join(map(str, shape))}"
