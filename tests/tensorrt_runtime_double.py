"""The half of the TensorRT double that runs plans, on the memory of the CUDA double."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorrt_world import BuiltPlan, log

if TYPE_CHECKING:
    from tensorrt_double import FakeTensorRT

_ANY_PLAN = BuiltPlan(None, True, set(), None, None, None)  # written by hand in a test


def _deserialize(trt: FakeTensorRT, runtime: Any, plan: bytes) -> Any:
    if trt.world.refusal is not None or not bytes(plan).startswith(b"PLAN"):
        reason = trt.world.refusal or "Serialization assertion magicTag failed"
        log(trt, runtime, "ERROR", reason)
        return None
    known, gpu = trt.world.plans.get(bytes(plan), _ANY_PLAN), trt.world.gpu
    if known.gpu is not None and known.gpu != gpu and "HARDWARE" not in known.flags:
        log(trt, runtime, "ERROR", f"the plan was built on GPU {known.gpu}, GPU {gpu} is current")
        return None
    later = _number(known.version or trt.__version__) < _number(trt.__version__)
    if known.version not in (None, trt.__version__) and not (
        later and "VERSION_COMPATIBLE" in known.flags
    ):
        log(trt, runtime, "ERROR", f"the plan is of TensorRT {known.version}")
        return None
    try:
        if trt.world.cuda is not None:
            trt.world.cuda.use_legacy_stream("cudaMemcpy")  # weights are copied synchronously
    except trt.world.cuda.Error as error:
        log(trt, runtime, "ERROR", f"Error Code 1: Cuda Runtime ({error})")
        return None
    if "VERSION_COMPATIBLE" in known.flags and not runtime._set.get("engine_host_code_allowed"):
        log(trt, runtime, "ERROR", "the plan holds host code")
        return None
    engine = trt.ICudaEngine()
    engine._has_weights = "STRIP_PLAN" not in known.flags
    engine._shapes, engine._shared, engine._onnx = known.shapes, known.shared, known.onnx
    engine._flags = known.flags
    engine._contexts = weakref.WeakSet()
    engine._runtime = runtime
    return engine


def _make_context(trt: FakeTensorRT, engine: Any, *strategy: Any) -> Any:
    if trt.world.context_error is not None:
        log(trt, engine._runtime, "ERROR", trt.world.context_error)
        return None
    context = trt.IExecutionContext()
    context._engine = engine
    context._owns_scratch = not strategy
    trt.world.contexts.add(context)
    engine._contexts.add(context)
    return context


def _make_bare_context(trt: FakeTensorRT, engine: Any) -> Any:
    return _make_context(trt, engine, "without device memory")


def _use_profile(trt: FakeTensorRT, context: Any, index: int, stream_handle: int) -> bool:
    assert index == 0
    assert stream_handle
    engine = context._engine
    others = [c for c in engine._contexts if c is not context and getattr(c, "_profile", 1) == 0]
    # 8.6: a profile serves one context unless the build allowed sharing
    if trt.world.profile_fails or (others and not engine._shared):
        log(trt, engine._runtime, "ERROR", "the profile is in use")
        raise RuntimeError("Error in set optimization profile async.")
    context._profile = 0
    return True


def _set_input_shape(_trt: FakeTensorRT, context: Any, name: str, shape: Any) -> bool:
    assert name == "image"
    shapes = context._engine._shapes
    if shapes is not None:
        low, _, high = shapes
        if not all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True)):
            return False
    if getattr(context, "_shape", None) != tuple(shape):
        context._warm = False  # the next run allocates what the new shape needs
    context._shape = tuple(shape)
    return True


def _tensor_shape(trt: FakeTensorRT, context: Any, name: str) -> tuple[int, ...]:
    answer = trt.world.network(np.zeros(context._shape, trt.world.io))
    if name == "channel_means":
        return (context._shape[0], answer.shape[3])
    return tuple(answer.shape)


def _set_address(_trt: FakeTensorRT, context: Any, name: str, address: int) -> bool:
    context._addresses = {**getattr(context, "_addresses", {}), name: address}
    return True


def _set_scratch(_trt: FakeTensorRT, context: Any, memory: int, size: int) -> None:
    context._scratch = (memory, size)


def _execute(trt: FakeTensorRT, context: Any, stream_handle: int) -> bool:
    """Queue the world's network on the pictures in the CUDA double's memory."""
    assert stream_handle, "the default stream is never used"
    cuda, needed = trt.world.cuda, trt.world.scratch_bytes
    stream, runtime = cuda.streams[stream_handle], context._engine._runtime
    try:
        cuda.called("execute_async_v3")
        if stream.recording is not None and not context._warm:
            stream.capture_broken = context._broken = True
            raise cuda.LogicError("operation not permitted when stream is capturing")
    except cuda.Error as error:
        log(trt, runtime, "ERROR", f"Error Code 1: Cuda Runtime ({error})")
        return False
    reason = trt.world.execute_error
    if max(context._shape[1:3]) > (trt.world.largest_side or max(context._shape)):
        reason = "Error Code 2: OutOfMemory (Requested size was 4294967296 bytes.)"
    if reason is not None:
        log(trt, runtime, "ERROR", reason)
    if reason is not None or trt.world.execute_fails or getattr(context, "_broken", False):
        return False
    context._warm = True
    scratch = None
    if not context._owns_scratch:
        old = context._set.get("device_memory")
        scratch, size = (old, needed) if old is not None else context._scratch
        assert size >= needed, "the scratch memory is too small"
    shape, addresses = context._shape, dict(context._addresses)
    io, network = trt.world.io, trt.world.network
    weights = context._engine._has_weights

    def work() -> None:
        if scratch is not None:
            cuda.at(scratch, needed)[:] = 0xEE
        size = int(np.prod(shape)) * io.itemsize
        image = cuda.at(addresses["image"], size).view(io).reshape(shape)
        answer = np.asarray(network(image))
        if not weights:
            answer = np.zeros_like(answer)
        pictures = np.clip(answer, 0, 255) if io == np.uint8 else answer
        restored = pictures.astype(io).ravel().view(np.uint8)
        cuda.at(addresses["restored"], restored.size)[:] = restored
        means = answer.astype(np.float32).mean((1, 2)).astype(np.float32).view(np.uint8).ravel()
        cuda.at(addresses["channel_means"], means.size)[:] = means

    stream.enqueue(work)
    return True


def _parse_refit(trt: FakeTensorRT, parser: Any, model: bytes, path: str | None = None) -> bool:
    """The weights must be those that the plan was built from: TensorRT does not compare them."""
    del path
    refitter = parser._args[0]
    refitter._parsed = model
    return True


def _refit(trt: FakeTensorRT, refitter: Any) -> bool:
    engine = refitter._args[0]
    assert "STRIP_PLAN" in engine._flags or engine._onnx is None, "the plan cannot be refitted"
    engine._has_weights = engine._onnx in (None, refitter._parsed)
    trt.world.refits += 1
    return True


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


BEHAVIORS: dict[tuple[str, str], Callable[..., Any]] = {
    ("Runtime", "deserialize_cuda_engine"): _deserialize,
    ("ICudaEngine", "create_execution_context"): _make_context,
    ("ICudaEngine", "create_execution_context_without_device_memory"): _make_bare_context,
    ("ICudaEngine", "device_memory_size"): lambda trt, _e: trt.world.scratch_bytes,
    ("ICudaEngine", "device_memory_size_v2"): lambda trt, _e: trt.world.scratch_bytes,
    ("IExecutionContext", "set_optimization_profile_async"): _use_profile,
    ("IExecutionContext", "update_device_memory_size_for_shapes"): (
        lambda trt, _c: 0 if trt.world.scratch_fails else trt.world.scratch_bytes
    ),
    ("IExecutionContext", "set_device_memory"): _set_scratch,
    ("IExecutionContext", "set_input_shape"): _set_input_shape,
    ("IExecutionContext", "get_tensor_shape"): _tensor_shape,
    ("IExecutionContext", "set_tensor_address"): _set_address,
    ("IExecutionContext", "execute_async_v3"): _execute,
    ("OnnxParserRefitter", "refit_from_bytes"): _parse_refit,
    ("Refitter", "refit_cuda_engine"): _refit,
}
