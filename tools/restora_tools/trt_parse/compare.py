"""Compare what the parser made with the metadata, and with what it made before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx

from restora_tools.trt_parse.subjects import Subject

BATCH, HEIGHT, WIDTH = 2, 96, 128
_ANCHORS_PER_CELL, _STRIDES, _ROW = 2, (8, 16, 32), 16
_HARMLESS = "does not natively support INT64"  # sizes and axes, which fit into INT32


def with_size(subject: Subject) -> onnx.ModelProto:
    """A copy with one input size, whose output sizes the parser then computes."""
    model = onnx.ModelProto()
    model.CopyFrom(subject.model)
    (image,) = model.graph.input
    for dim, size in zip(
        image.type.tensor_type.shape.dim, (BATCH, *_size(subject), _channels(subject)), strict=True
    ):
        dim.dim_value = size
    return model


def expected_outputs(subject: Subject) -> dict[str, tuple[list[int], str]]:
    """Shape and type of each output of `with_size`, as the metadata states them."""
    height, width = _size(subject)
    if subject.kind == "detector":
        cells = sum(-(-height // stride) * -(-width // stride) for stride in _STRIDES)
        shape, labels = [BATCH, cells * _ANCHORS_PER_CELL, _ROW], _ROW
        return {"restored": (shape, "float32"), "channel_means": ([BATCH, labels], "float32")}
    channels = 1 if subject.kind in ("parser", "damage-detector") else 3
    shape = [BATCH, height * subject.scale, width * subject.scale, channels]
    means = _labels(subject) if subject.kind == "parser" else channels
    return {"restored": (shape, subject.io), "channel_means": ([BATCH, means], "float32")}


def find_faults(
    subject: Subject, dynamic: Mapping[str, Any], static: Mapping[str, Any]
) -> list[str]:
    """What is wrong with one subject.

    dynamic, static: what the parser made of the artifact, and of its copy with one input size
    """
    faults = []
    for form, made in (("", dynamic), (" with one size", static)):
        if not made["parsed"]:
            faults.append(f"refused{form}: {'; '.join(made['errors'])}")
        messages = [line for line in made["log"] if _HARMLESS not in line]
        faults += [f"{fault}{form}" for fault in (*messages, *made["faults"])]
    for name, (shape, kind) in expected_outputs(subject).items():
        got = static["outputs"].get(name, {"shape": None, "type": None})
        if (got["shape"], got["type"]) != (shape, kind):
            faults.append(f"{name} must be {kind} {shape}, got {got['type']} {got['shape']}")
        dims = dynamic["outputs"].get(name, {"shape": []})["shape"]
        known = [size if dim == -1 else dim for dim, size in zip(dims, shape, strict=False)]
        if len(dims) != len(shape) or known != shape:
            faults.append(f"{name} of any size must fit {shape}, got {dims}")
    return faults


def find_changes(
    recorded: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Where layer counts differ from the recorded ones."""
    before = {row["name"]: row["layers"] for row in recorded}
    after = {row["name"]: row["layers"] for row in rows}
    changes = [f"{name}: not recorded" for name in after.keys() - before.keys()]
    changes += [f"{name}: recorded, but not parsed" for name in before.keys() - after.keys()]
    for name in before.keys() & after.keys():
        kinds = sorted(before[name].keys() | after[name].keys())
        differences = [
            f"{kind} {before[name].get(kind, 0)} -> {after[name].get(kind, 0)}"
            for kind in kinds
            if before[name].get(kind) != after[name].get(kind)
        ]
        if differences:
            changes.append(f"{name}: {', '.join(differences)}")
    return sorted(changes)


def _channels(subject: Subject) -> int:
    """RGB; and for a repairer the mask."""
    return 4 if subject.kind == "repairer" else 3


def _size(subject: Subject) -> tuple[int, int]:
    return (subject.side, subject.side) if subject.side else (HEIGHT, WIDTH)


def _labels(subject: Subject) -> int:
    means = subject.model.graph.output[1]
    return int(means.type.tensor_type.shape.dim[1].dim_value)
