"""The half of the TensorRT double that builds plans."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tensorrt_world import BuiltPlan, log

if TYPE_CHECKING:
    from tensorrt_double import FakeTensorRT


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
        log(trt, builder, "VERBOSE", line)
    for line in trt.world.warns:
        log(trt, builder, "WARNING", line)
    reason = _find_contradiction(trt, build) or trt.world.fail(build)
    if reason is not None:
        log(trt, builder, "ERROR", reason)
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


def _add_profile(_trt: FakeTensorRT, config: Any, profile: Any) -> int:
    config._profiles = [*getattr(config, "_profiles", []), profile._shapes]
    return len(config._profiles) - 1


def _set_shape(_trt: FakeTensorRT, profile: Any, name: str, low: Any, best: Any, high: Any) -> None:
    if not all(a <= b <= c for a, b, c in zip(low, best, high, strict=True)):
        raise ValueError("Shape provided for opt is inconsistent with other shapes.")
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
    if trt.world.timings_are_lost:
        return None
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
    ("IBuilderConfig", "set_preview_feature"): _set_preview,
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
