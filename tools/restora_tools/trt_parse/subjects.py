"""The artifacts that are parsed: small networks of each family, and the bundled model.

A graph has one form for all weights and sizes, so that small networks show what the parser makes
of large ones. Graphs of opset 19 (INT8 in FP16, FP8) need TensorRT 10 and are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
from torch import nn

import restora
from restora.artifact import Io, Kind, Precision, read_artifact
from restora_benchmarks.recipe import fill_network
from restora_calibration.int8.layers import find_layers
from restora_calibration.int8.qdq import Recipe, quantize_graph
from restora_export.facts import facts_of
from restora_export.onnx_file import onnx_from_network
from restora_export.reference import (
    DamageDetector,
    GFPGANBilinear,
    GFPGANv1,
    GFPGANv1Clean,
    ParseNet,
    Repairer,
    RetinaFace,
    RRDBNet,
    SRVGGNetCompact,
)

NEWEST_OPSET = 17  # that TensorRT 8.6 reads
BUNDLED = Path(restora.__file__).parent / "data"
_SEED = 3
UPSAMPLERS: dict[str, Callable[[], nn.Module]] = {
    "RRDBNet x2": lambda: fill_network(RRDBNet(2, 8, 4, 1), _SEED, "rrdb"),
    "RRDBNet x4": lambda: fill_network(RRDBNet(4, 8, 4, 1), _SEED, "rrdb"),
    "SRVGGNetCompact x4": lambda: fill_network(SRVGGNetCompact(4, 8, 2), _SEED, "srvgg"),
}
FACES: dict[str, Callable[[], nn.Module]] = {
    "GFPGANv1Clean": lambda: fill_network(
        GFPGANv1Clean(32, 16, 1, 2, narrow=0.125), _SEED, "gfpgan_clean"
    ),
    "GFPGANBilinear": lambda: fill_network(
        GFPGANBilinear(32, 16, 1, 2, narrow=0.125), _SEED, "gfpgan_equal"
    ),
    "GFPGANv1": lambda: fill_network(GFPGANv1(32, 16, 1, 2, narrow=0.125), _SEED, "gfpgan_equal"),
}
OTHERS: dict[str, Callable[[], nn.Module]] = {
    "ParseNet": lambda: fill_network(ParseNet(64, 64, 16, 8, 19, 2, (4, 16)), _SEED, "parsenet"),
    "RetinaFace": lambda: fill_network(RetinaFace(), _SEED, "retinaface"),
    "DamageDetector": lambda: DamageDetector((8, 8, 8, 8)).eval(),
    "Repairer": lambda: Repairer((8, 8, 8)).eval(),
}
_IN_HALF = ("damage-detector", "repairer")


@dataclass(frozen=True, slots=True)
class Subject:
    """A graph, with the facts that the metadata of its artifact has."""

    name: str
    model: onnx.ModelProto
    kind: Kind
    scale: int
    io: Io
    size_multiple: int
    side: int | None


def iter_subjects() -> Iterator[Subject]:
    """The bundled artifacts, then each family in each precision and type of image."""
    for path in sorted(BUNDLED.glob("*.onnx")):
        artifact = read_artifact(path)
        info = artifact.info
        model = onnx.load_from_string(artifact.onnx)
        if model.opset_import[0].version > NEWEST_OPSET:
            continue
        yield Subject(
            path.name, model, info.kind, info.scale, info.io, info.size_multiple, info.side
        )
    for family, make in (UPSAMPLERS | FACES | OTHERS).items():
        yield from _iter_family(family, make(), quantized=family in UPSAMPLERS)


def _iter_family(family: str, network: nn.Module, *, quantized: bool) -> Iterator[Subject]:
    facts = facts_of(network)
    images = facts.kind in ("upsampler", "face")
    precisions: tuple[Precision, ...] = ("fp32", "fp16", "mixed") if images else ("fp32",)
    if facts.kind in _IN_HALF:
        precisions = ("fp32", "fp16")
    types: tuple[Io, ...] = ("uint8", "float32") if images else ("uint8",)
    for io in types:
        for precision in (*precisions, *(("int8",) if quantized else ())):
            if precision == "int8":
                model = _quantize(onnx_from_network(network, io=io))
            else:
                model = onnx_from_network(network, io=io, precision=precision)
            name = f"{family}, {precision}, {io}"
            yield Subject(name, model, facts.kind, facts.scale, io, facts.size_multiple, facts.side)


def _quantize(model: onnx.ModelProto) -> onnx.ModelProto:
    """All convolutions in INT8, with arbitrary ranges: those decide no shape."""
    layers = find_layers(model)
    names = frozenset(layer.name for layer in layers)
    ranges = dict.fromkeys((source for layer in layers for source in layer.sources), 1.0)
    return quantize_graph(model, layers, Recipe(names, ranges))
