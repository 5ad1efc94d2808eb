"""Stage `layers`: what TensorRT made of a network: layers, copies between them, kernels, times."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from restora.artifact.tensors import INPUT, MEANS, OUTPUT
from restora.backends.tensorrt.loaded import tensor_bytes
from restora.backends.tensorrt.log import BuildLog, make_logger
from restora.backends.tensorrt.memory import DeviceBuffer
from restora.errors import PlanError
from restora_benchmarks.pictures import make_pictures
from restora_tools.gpu.job import Job
from restora_tools.gpu.places import Row
from restora_tools.gpu.sessions import Plans
from restora_tools.gpu.states import StateName

_RUNS = 10
_SHOWN = 12  # kernels in a row
_COPIES = ("Reformat", "NoOp", "Shuffle", "Concat", "Copy", "Slice")
# layers that TensorRT can join with the convolution before them
_JOINABLE = ("PRelu", "LeakyRelu", "Add", "Mul", "Clip", "Relu", "Sigmoid", "PointWise")


def inspect_layers(job: Job) -> StateName:
    """One row, and the whole dump beside it in `layers`."""
    plans, places = Plans(job), job.places
    hot = plans.profiles()[-1]
    plan = plans.get([hot])[0][0].plan
    dump, times = _inspect(job, plans, plan)
    file = _store(job, dump, times)
    row = job.row(
        dump=str(file.relative_to(places.root)),
        **describe_layers(dump.get("Layers", [])),
        **describe_times(times),
    )
    places.add_rows("layers", [row], key=("model", "precision"))
    share = row.get("copies_time_share", row.get("copies_share"))
    job.report(f"{row['layers']} layers; share of copies {share}; " + row.get("not_measured", ""))
    return "done"


def describe_layers(layers: list[Any]) -> Row:
    """Counts of layers by type, of copies and of what was not joined with a convolution.

    layers: the list that the inspector gives: objects, or names where the plan was built without
        details
    """
    named = [layer if isinstance(layer, dict) else {"Name": str(layer)} for layer in layers]
    if not named:
        return {"layers": 0, "not_measured": "the inspector shows no layers"}
    copies = [layer for layer in named if is_copy(layer)]
    alone = [layer["Name"] for layer in named if _is_joinable_alone(layer)]
    types = Counter(str(layer.get("LayerType", "unknown")) for layer in named)
    kernels = Counter(str(layer["TacticName"]) for layer in named if layer.get("TacticName"))
    found: Row = {
        "layers": len(named),
        "types": dict(types.most_common()),
        "copies": len(copies),
        "copies_share": round(len(copies) / len(named), 4),
        "joined": sum(" + " in layer["Name"] for layer in named),
        "not_joined": alone,
        "kernels": dict(kernels.most_common(_SHOWN)),
    }
    if set(types) == {"unknown"}:
        found["not_measured"] = "the plan was built without details of its layers"
    return found


def describe_times(times: Mapping[str, float]) -> Row:
    """Share of time in copies, and the slowest layers. times: ms of each layer."""
    total = sum(times.values())
    if not total:
        return {"times_not_measured": "the profiler reported no layer"}
    copies = sum(ms for name, ms in times.items() if is_copy({"Name": name}))
    slowest = sorted(times.items(), key=lambda item: -item[1])[:_SHOWN]
    return {
        "profiled_ms": round(total, 4),
        "copies_time_share": round(copies / total, 4),
        "slowest": {name: round(ms / total, 4) for name, ms in slowest},
    }


def is_copy(layer: Mapping[str, Any]) -> bool:
    """Whether a layer only moves data: a new layout, a copy for a concatenation."""
    kind = str(layer.get("LayerType", ""))
    name = str(layer["Name"])
    moved = re.search(r"Reformatting CopyNode| copy(\b|_)|\bcopy$", name) is not None
    return moved or kind in _COPIES


def _is_joinable_alone(layer: Mapping[str, Any]) -> bool:
    name = str(layer["Name"])
    return " + " not in name and any(word in name for word in _JOINABLE) and not is_copy(layer)


def _inspect(job: Job, plans: Plans, plan: bytes) -> tuple[dict[str, Any], dict[str, float]]:
    trt, device = job.modules.trt, plans.device
    with device.current():
        log = BuildLog()
        logger = make_logger(trt, log)
        runtime = trt.Runtime(logger)
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise PlanError(log.describe(f"TensorRT does not load the plan of {plans.info.model}"))
        inspector = engine.create_engine_inspector()
        dump = parse_dump(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
        times = _profile(job, plans, engine)
        del inspector, engine, runtime  # in this order
    return dump, times


def parse_dump(text: str) -> dict[str, Any]:
    """Parse the inspector's JSON; some versions end it with a NUL byte or a comma too many."""
    cleaned = re.sub(r",(\s*[\]}])", r"\1", text.rstrip("\0 \n"))
    try:
        found = json.loads(cleaned)
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {"Layers": found}


def _profile(job: Job, plans: Plans, engine: Any) -> dict[str, float]:
    """ms of each layer in one run, the sum of some runs divided by their number."""
    trt: Any = job.modules.trt
    cuda, device, shape = job.modules.cuda, plans.device, job.subject.shape
    times: dict[str, float] = {}

    class Profiler(trt.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            times[layer_name] = times.get(layer_name, 0.0) + float(ms)

    stream = device.make_stream()
    context = engine.create_execution_context()
    buffers = {name: DeviceBuffer(device, name) for name in (INPUT, OUTPUT, MEANS)}
    scale, io = plans.info.scale, plans.info.io
    larger = (shape[0], shape[1] * scale, shape[2] * scale, 3)
    sizes = {
        INPUT: tensor_bytes(shape, io),
        OUTPUT: tensor_bytes(larger, io),
        MEANS: tensor_bytes((shape[0], 3), "float32"),
    }
    try:
        context.set_optimization_profile_async(0, stream.handle)
        stream.synchronize()
        context.set_input_shape(INPUT, shape)
        for name, size in sizes.items():
            context.set_tensor_address(name, buffers[name].of_size(size))
        cuda.memcpy_htod_async(buffers[INPUT].address, make_pictures(shape), stream)
        context.execute_async_v3(stream.handle)
        stream.synchronize()  # a first run allocates
        profiler = Profiler()
        context.profiler = profiler
        for _ in range(_RUNS):
            context.execute_async_v3(stream.handle)
            stream.synchronize()
    finally:
        for buffer in buffers.values():
            buffer.free()
        del context, stream
    return {name: ms / _RUNS for name, ms in times.items()}


def _store(job: Job, dump: dict[str, Any], times: Mapping[str, float]) -> Path:
    file = job.places.root / "layers" / f"{job.subject.name}.{job.precision}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"times_ms": times, **dump}, indent=1) + "\n")
    return file
