"""A stand-in for the `tensorrt` module, made from the lists of what each version really has.

An attribute that a version lacks raises AttributeError, a call with arguments that its signature
does not take raises TypeError, and every access is recorded. It proves that a call exists; it
proves nothing about results.
"""

from __future__ import annotations

import enum
import hashlib
import inspect
import json
import re
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

VERSIONS = ("8.6", "10.16", "11.4")
_DATA = Path(__file__).parent / "data" / "tensorrt"


@cache
def read_api(version: str) -> dict[str, Any]:
    api: dict[str, Any] = json.loads((_DATA / f"{version}.json").read_text())
    return api


class FakeTensorRT:
    """The module. `used` collects what was touched, as "Class.member"."""

    def __init__(self, version: str) -> None:
        self._api = read_api(version)
        self.__version__ = self._api["_meta"]["version"]
        self.used: set[str] = set()
        self.world = World()
        self._made: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._api:
            raise AttributeError(f"tensorrt {self.__version__} has no {name}")
        if name not in self._made:
            entry = self._api[name]
            make = self._make_enum if entry["kind"] == "enum" else self._make_class
            self._made[name] = make(name, entry["members"])
        return self._made[name]

    def _make_enum(self, name: str, members: dict[str, int]) -> Any:
        made = enum.IntEnum(name, members)  # type: ignore[misc]
        used = self.used

        class Recorded:
            def __getattr__(self, member: str) -> Any:
                if member not in members:
                    raise AttributeError(f"{name} has no {member}")
                used.add(f"{name}.{member}")
                return made[member]

        return Recorded()

    def _make_class(self, name: str, members: dict[str, Any]) -> type:
        module = self

        def _init(this: Any, *args: Any) -> None:
            object.__setattr__(this, "_args", args)
            object.__setattr__(this, "_set", {})
            if name in ("Builder", "Runtime", "Refitter"):
                object.__setattr__(this, "_gpu", module.world.gpu)

        def _getattr(this: Any, member: str) -> Any:
            if member.startswith("_") or member not in members:
                raise AttributeError(f"{name} of tensorrt {module.__version__} has no {member}")
            module.used.add(f"{name}.{member}")
            behavior = BEHAVIORS.get((name, member))
            if members[member]["kind"] == "method":
                _, call = members[member], behavior or (lambda *_a, **_k: None)
                return _checked(module, this, name, member, members[member].get("sig"), call)
            if member in this._set:
                return this._set[member]
            return behavior(module, this) if behavior else None

        def _setattr(this: Any, member: str, value: Any) -> None:
            if member.startswith("_"):
                object.__setattr__(this, member, value)
                return
            if member not in members:
                if type(this).__name__ != name:  # a subclass of ours keeps its own fields
                    object.__setattr__(this, member, value)
                    return
                raise AttributeError(f"{name} of tensorrt {module.__version__} has no {member}")
            assert members[member].get("writable"), f"{name}.{member} cannot be set"
            module.used.add(f"{name}.{member}")
            this._set[member] = value

        body = {"__init__": _init, "__getattr__": _getattr, "__setattr__": _setattr}
        if name == "IHostMemory":
            body["__bytes__"] = lambda this: this._data  # type: ignore[dict-item]
        if "__len__" in members:
            body["__len__"] = lambda this: len(this._items)  # type: ignore[dict-item]
            body["__getitem__"] = lambda this, index: this._items[index]  # type: ignore[dict-item]
        return type(name, (), body)


@dataclass(frozen=True)
class BuiltPlan:
    """What a plan holds, and where and with what it was built."""

    shapes: Any
    shared: bool
    flags: set[str]
    gpu: int | None
    onnx: bytes | None
    version: str | None


_ANY_PLAN = BuiltPlan(None, True, set(), None, None, None)  # written by hand in a test


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


class World:
    """What the double's builder and parser do. Tests change it."""

    def __init__(self) -> None:
        self.parser_errors: list[dict[str, Any]] = []
        self.fail: Callable[[dict[str, Any]], str | None] = lambda _build: None
        self.warns: tuple[str, ...] = ()  # what the builder warns of
        self.while_logging: Callable[[], None] = lambda: None  # such as a signal that arrives
        self.while_building: Callable[[], None] = lambda: None
        self.steps = 0  # that the last build took, where there are any
        self.swallowed: list[BaseException] = []  # what loggers raised
        self.builds: list[dict[str, Any]] = []
        self.layers: list[Any] = []
        self.timing_cache_is_valid = True
        self.cuda: Any = None  # a pycuda double whose memory the network works on
        self.network: Callable[[Any], Any] = lambda image: image
        self.execute_fails = False
        self.execute_error: str | None = None  # what execute logs before it returns False
        self.largest_side: int | None = None  # TensorRT's memory is full for larger tiles
        self.context_error: str | None = None  # why there are no execution contexts
        self.profile_fails = False
        self.scratch_fails = False  # the size of the scratch memory cannot be determined
        self.refusal: str | None = None  # why plans are not loaded
        self.io = np.dtype(np.uint8)
        self.scratch_bytes = 4096
        self.contexts: weakref.WeakSet[Any] = weakref.WeakSet()
        self.refits = 0
        self.plans: dict[bytes, BuiltPlan] = {}

    @property
    def gpu(self) -> int | None:
        """The number of the GPU that a builder or runtime uses: the one that is current.

        CUDA takes the first GPU if none is. Here that is an error, since it hides who forgot.
        """
        if self.cuda is None:
            return None
        assert self.cuda.current is not None, "no context is current in this thread"
        current: int = self.cuda.current
        return current


def _checked(
    module: FakeTensorRT, this: Any, name: str, member: str, sig: str | None, call: Any
) -> Callable[..., Any]:
    def method(*args: Any, **kwargs: Any) -> Any:
        if sig and "*args" not in sig:
            _bind(sig, member, (this, *args), kwargs)
        return call(module, this, *args, **kwargs)

    return method


def _bind(sig: str, member: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """TypeError unless the arguments fit a pybind11 signature line (its first overload)."""
    inside = sig[sig.index("(") + 1 : sig.rindex(")")]
    parameters = []
    for part in re.split(r",\s*(?![^\[\(]*[\]\)])", inside):
        match = re.match(r"\s*(\w+)\s*(?::[^=]*)?(=.*)?$", part)
        if match:
            default = inspect.Parameter.empty if match[2] is None else None
            kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
            parameters.append(inspect.Parameter(match[1], kind, default=default))
    try:
        inspect.Signature(parameters).bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{member}: {error}; its signature is {sig}") from error


def _create_network(trt: FakeTensorRT, _builder: Any, flags: int = 0) -> Any:
    network = trt.INetworkDefinition()
    network._flags = flags
    network._items = trt.world.layers
    return network


def _build(trt: FakeTensorRT, builder: Any, network: Any, config: Any) -> Any:
    gpu = trt.world.gpu
    assert gpu == builder._gpu, "another GPU is current than the one the builder was made on"
    hardware = config._set.get("hardware_compatibility_level")
    build = {
        "gpu": gpu,
        "network_flags": network._flags,
        "flags": set(getattr(config, "_flags", ())),
        "workspace": getattr(config, "_pools", {}),
        "settings": dict(config._set),
        "preview": set(getattr(config, "_preview", ())),
        "profiles": getattr(config, "_profiles", []),
        "onnx": getattr(network, "_onnx", b""),
    }
    trt.world.builds.append(build)
    monitor = config._set.get("progress_monitor")
    if monitor is not None:
        monitor.phase_start("Building Engine", None, 2)
        for step in range(2):
            trt.world.while_building()
            trt.world.steps = step + 1
            if not monitor.step_complete("Building Engine", step):
                return None
        monitor.phase_finish("Building Engine")
    for line in ("Timing Runner: conv_1", "Timing Runner: conv_2"):
        _log(trt, builder, "VERBOSE", line)
    for line in trt.world.warns:
        _log(trt, builder, "WARNING", line)
    reason = _find_contradiction(trt, build) or trt.world.fail(build)
    if reason is not None:
        _log(trt, builder, "ERROR", reason)
        return None
    plan = trt.IHostMemory()
    plan._data = b"PLAN" + hashlib.sha256(repr(sorted(map(str, build.items()))).encode()).digest()
    trt.world.plans[plan._data] = BuiltPlan(
        shapes=build["profiles"][0]["image"],
        shared=trt.__version__[0] != "8" or "PROFILE_SHARING_0806" in build["preview"],
        flags=build["flags"] | ({"HARDWARE"} if hardware is not None else set()),
        gpu=build["gpu"],
        onnx=build["onnx"],
        version=trt.__version__,
    )
    return plan


def _find_contradiction(trt: FakeTensorRT, build: dict[str, Any]) -> str | None:
    """Why TensorRT refuses a configuration."""
    creation = trt.NetworkDefinitionCreationFlag
    typed = getattr(creation, "STRONGLY_TYPED", None)
    typed = trt.__version__.startswith("11") or (
        typed is not None and build["network_flags"] >> int(typed) & 1
    )
    set_types = build["flags"] & {"FP16", "BF16", "INT8", "FP8", "OBEY_PRECISION_CONSTRAINTS"}
    if typed and set_types:
        return f"{sorted(set_types)} cannot be set for a strongly typed network"
    if "INT8" not in build["flags"] and not typed and b'"precision": "int8"' in build["onnx"]:
        return "the network has Q/DQ layers but INT8 is not set"
    return None


def _log(trt: FakeTensorRT, owner: Any, severity: str, line: str) -> None:
    """Call a logger as the binding does: what it raises is printed there and forgotten."""
    try:
        trt.world.while_logging()
        owner._args[0].log(SimpleNamespace(name=severity), line)
    except BaseException as error:  # noqa: BLE001
        trt.world.swallowed.append(error)


def _add_profile(_trt: FakeTensorRT, config: Any, profile: Any) -> int:
    config._profiles = [*getattr(config, "_profiles", []), profile._shapes]
    return len(config._profiles) - 1


def _set_shape(_trt: FakeTensorRT, profile: Any, name: str, low: Any, best: Any, high: Any) -> None:
    profile._shapes = {name: (tuple(low), tuple(best), tuple(high))}


def _set_flag(_trt: FakeTensorRT, config: Any, flag: Any) -> None:
    config._flags = {*getattr(config, "_flags", ()), flag.name}


def _clear_flag(_trt: FakeTensorRT, config: Any, flag: Any) -> None:
    config._flags = set(getattr(config, "_flags", ())) - {flag.name}


def _set_pool(_trt: FakeTensorRT, config: Any, pool: Any, size: int) -> None:
    config._pools = {**getattr(config, "_pools", {}), pool.name: size}


def _set_preview(_trt: FakeTensorRT, config: Any, feature: Any, enable: bool) -> None:
    if enable:
        config._preview = {*getattr(config, "_preview", ()), feature.name}


def _create_cache(trt: FakeTensorRT, _config: Any, data: bytes) -> Any:
    cache = trt.ITimingCache()
    cache._data = data
    return cache


def _set_cache(trt: FakeTensorRT, config: Any, cache: Any, ignore_mismatch: bool) -> bool:
    assert ignore_mismatch is False
    if cache._data and not trt.world.timing_cache_is_valid:
        return False
    config._cache = cache
    return True


def _serialize_cache(trt: FakeTensorRT, cache: Any) -> Any:
    memory = trt.IHostMemory()
    memory._data = cache._data + b"T"
    return memory


def _parse(trt: FakeTensorRT, parser: Any, model: bytes, path: str | None = None) -> bool:
    del path
    parser._args[0]._onnx = model
    return not trt.world.parser_errors


def _get_error(trt: FakeTensorRT, _parser: Any, index: int) -> Any:
    error = trt.ParserError()
    error._facts = trt.world.parser_errors[index]
    return error


def _deserialize(trt: FakeTensorRT, runtime: Any, plan: bytes) -> Any:
    if trt.world.refusal is not None or not bytes(plan).startswith(b"PLAN"):
        reason = trt.world.refusal or "Serialization assertion magicTag failed"
        _log(trt, runtime, "ERROR", reason)
        return None
    known, gpu = trt.world.plans.get(bytes(plan), _ANY_PLAN), trt.world.gpu
    if known.gpu is not None and known.gpu != gpu and "HARDWARE" not in known.flags:
        _log(trt, runtime, "ERROR", f"the plan was built on GPU {known.gpu}, GPU {gpu} is current")
        return None
    later = _number(known.version or trt.__version__) < _number(trt.__version__)
    if known.version not in (None, trt.__version__) and not (
        later and "VERSION_COMPATIBLE" in known.flags
    ):
        _log(trt, runtime, "ERROR", f"the plan is of TensorRT {known.version}")
        return None
    try:
        if trt.world.cuda is not None:
            trt.world.cuda.use_legacy_stream("cudaMemcpy")  # weights are copied synchronously
    except trt.world.cuda.Error as error:
        _log(trt, runtime, "ERROR", f"Error Code 1: Cuda Runtime ({error})")
        return None
    if "VERSION_COMPATIBLE" in known.flags and not runtime._set.get("engine_host_code_allowed"):
        _log(trt, runtime, "ERROR", "the plan holds host code")
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
        _log(trt, engine._runtime, "ERROR", trt.world.context_error)
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
        _log(trt, engine._runtime, "ERROR", "the profile is in use")
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
    if name == "channel_means":
        return (context._shape[0], 3)
    answer = trt.world.network(np.zeros(context._shape, trt.world.io))
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
        _log(trt, runtime, "ERROR", f"Error Code 1: Cuda Runtime ({error})")
        return False
    reason = trt.world.execute_error
    if max(context._shape[1:3]) > (trt.world.largest_side or max(context._shape)):
        reason = "Error Code 2: OutOfMemory (Requested size was 4294967296 bytes.)"
    if reason is not None:
        _log(trt, runtime, "ERROR", reason)
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


def _fact(name: str) -> Callable[..., Any]:
    return lambda _trt, error: error._facts[name]


BEHAVIORS: dict[tuple[str, str], Callable[..., Any]] = {
    ("Builder", "create_network"): _create_network,
    ("Builder", "create_builder_config"): lambda trt, _b: trt.IBuilderConfig(),
    ("Builder", "create_optimization_profile"): lambda trt, _b: trt.IOptimizationProfile(),
    ("Builder", "build_serialized_network"): _build,
    ("IBuilderConfig", "add_optimization_profile"): _add_profile,
    ("IBuilderConfig", "set_flag"): _set_flag,
    ("IBuilderConfig", "clear_flag"): _clear_flag,
    ("IBuilderConfig", "set_memory_pool_limit"): _set_pool,
    ("IBuilderConfig", "create_timing_cache"): _create_cache,
    ("IBuilderConfig", "set_timing_cache"): _set_cache,
    ("IBuilderConfig", "get_timing_cache"): lambda _trt, config: config._cache,
    ("INetworkDefinition", "num_layers"): lambda _trt, network: len(network._items),
    ("INetworkDefinition", "get_layer"): lambda _trt, network, index: network._items[index],
    ("ILayer", "get_input"): lambda _trt, layer, index: layer._inputs[index],
    ("ILayer", "get_output"): lambda _trt, layer, _index: layer._output,
    ("ILayer", "set_output_type"): lambda _trt, layer, i, dtype: layer._types.append((i, dtype)),
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
    ("IBuilderConfig", "set_preview_feature"): _set_preview,
    ("IExecutionContext", "set_input_shape"): _set_input_shape,
    ("IExecutionContext", "get_tensor_shape"): _tensor_shape,
    ("IExecutionContext", "set_tensor_address"): _set_address,
    ("IExecutionContext", "execute_async_v3"): _execute,
    ("OnnxParserRefitter", "refit_from_bytes"): _parse_refit,
    ("Refitter", "refit_cuda_engine"): _refit,
    ("ITimingCache", "serialize"): _serialize_cache,
    ("IOptimizationProfile", "set_shape"): _set_shape,
    ("OnnxParser", "parse"): _parse,
    ("OnnxParser", "num_errors"): lambda trt, _p: len(trt.world.parser_errors),
    ("OnnxParser", "get_error"): _get_error,
    ("ParserError", "desc"): _fact("desc"),
    ("ParserError", "node"): _fact("node"),
    ("ParserError", "node_name"): _fact("node_name"),
    ("ParserError", "node_operator"): _fact("node_operator"),
}
