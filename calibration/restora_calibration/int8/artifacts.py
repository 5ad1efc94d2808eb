"""Make artifacts from an FP32 artifact and a layer assignment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx

from restora.artifact import Artifact, Precision, Quantization, measure_psnr
from restora.errors import ModelError
from restora_calibration.calibration_set import CalibrationSet
from restora_calibration.int8.layers import Layer, find_layers
from restora_calibration.int8.qdq import Recipe, quantize_graph, raise_to_opset19
from restora_calibration.int8.runner import open_runner
from restora_calibration.int8.trial import Distance, Trials
from restora_export.onnx_file import onnx_bytes
from restora_export.verify import measure_against


def build_artifact(
    artifact: Artifact, trials: Trials, recipe: Recipe, tiles: CalibrationSet, *, min_psnr: float
) -> Artifact:
    """Build the artifact in INT8 and FP32, with its accuracy on the tiles to judge on.

    min_psnr: the gate that it is held to, a mean PSNR in dB
    """
    graph = quantize_graph(trials.model, trials.layers, recipe)
    return _measured(graph, "int8", artifact, trials, recipe, tiles, min_psnr)


def build_half_artifact(
    artifact: Artifact,
    half: Artifact,
    trials: Trials,
    recipe: Recipe,
    tiles: CalibrationSet,
    *,
    min_psnr: float,
) -> Artifact:
    """Build the artifact in INT8 or FP8, by the recipe, with FP16 around it.

    half: the FP16 artifact of the same network

    The accuracy is that of ONNX Runtime, which computes FP16 in FP32; what FP16 costs on a GPU is
    part of the accuracy of `half`. Raises ModelError if the networks differ.
    """
    model = raise_to_opset19(onnx.load_from_string(half.onnx))
    layers = find_layers(model)
    graph = quantize_graph(model, layers, transfer_recipe(recipe, trials.layers, layers))
    precision: Precision = "int8_fp16" if recipe.format == "int8" else "fp8"
    return _measured(graph, precision, artifact, trials, recipe, tiles, min_psnr)


def transfer_recipe(recipe: Recipe, layers: Sequence[Layer], others: Sequence[Layer]) -> Recipe:
    """The recipe for another graph of the same network, whose tensors have other names.

    layers, others: all layers of both graphs

    Raises ModelError if a layer of the recipe is missing there, or reads other tensors.
    """
    found = {layer.name: layer for layer in others}
    ranges: dict[str, float] = {}
    branches = {}
    for layer in layers:
        if layer.name not in recipe.layers:
            continue
        other = found.get(layer.name)
        if other is None or len(other.sources) != len(layer.sources):
            raise ModelError(f"the FP16 artifact has no layer {layer.name} like the FP32 artifact")
        for old, new in zip(layer.sources, other.sources, strict=True):
            ranges[new] = recipe.ranges[old]
            if old in recipe.factors.branches:
                branches[new] = recipe.factors.branches[old]
    return replace(recipe, ranges=ranges, factors=replace(recipe.factors, branches=branches))


def measure_selfcheck(made: Artifact) -> Distance | None:
    """What the artifact reaches on its self-check; None without a self-check."""
    selfcheck = made.read_selfcheck()
    if selfcheck is None:
        return None
    run = open_runner(onnx.load_from_string(made.onnx))
    return Distance(*measure_psnr(run(selfcheck.image), selfcheck.answer))


def kept_layers(layers: Sequence[Layer], recipe: Recipe) -> tuple[str, ...]:
    """Names of the layers that are not in 8 bits."""
    return tuple(layer.name for layer in layers if layer.name not in recipe.layers)


def _measured(
    graph: onnx.ModelProto,
    precision: Precision,
    artifact: Artifact,
    trials: Trials,
    recipe: Recipe,
    tiles: CalibrationSet,
    min_psnr: float,
) -> Artifact:
    quantization = Quantization(
        layers=len(recipe.layers),
        kept=kept_layers(trials.layers, recipe),
        min_psnr=min_psnr,
        bias_corrected=bool(recipe.biases),
        tiles_sha256=tiles.sha256,
    )
    accuracy = measure_against(
        open_runner(graph),
        trials.cases(),
        io=artifact.info.io,
        kind=artifact.info.kind,
        reference=f"the FP32 artifact {artifact.sha256[:12]}",
    )
    info = replace(artifact.info, precision=precision, accuracy=accuracy, quantization=quantization)
    return Artifact(info, onnx_bytes(graph, info, artifact.read_selfcheck()))
