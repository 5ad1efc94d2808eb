"""Calibrate an FP32 artifact: find the fastest layer assignment that passes the accuracy gate."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import onnx

from restora.artifact import Artifact, ArtifactInfo, Quantization
from restora.errors import OptionError
from restora.version import __version__
from restora_calibration.calibration_set import CalibrationSet
from restora_calibration.int8.layers import (
    Layer,
    find_layers,
    group_sources,
    inner_layers,
    require_float,
)
from restora_calibration.int8.qdq import Recipe, quantize_graph
from restora_calibration.int8.ranges import METHODS, Method, choose_ranges
from restora_calibration.int8.search import (
    Candidate,
    Sensitivity,
    choose_recipe,
    measure_sensitivity,
    search_mixes,
    without_dead_layers,
)
from restora_calibration.int8.statistics import Tiles, gather_statistics, open_graph
from restora_calibration.int8.trial import TrialLog, Trials, key_of, run_graph
from restora_export.onnx_file import onnx_bytes
from restora_export.verify import measure_against

Report = Callable[[str], None]
# maps artifacts by name to seconds per tile by (name of the artifact, runtime)
SpeedMeter = Callable[[Mapping[str, Artifact]], Mapping[tuple[str, str], float]]
FP32 = "fp32"
LOWEST_GATE = 40.0  # dB; the runtime refuses artifacts below
_AS_FAST = 1.03  # factor of the fastest time, within the noise of the measurement
_FEW = 8  # tiles for comparisons between layers
_ENCODER = r"conv_body_(first|down)|final_conv"


@dataclass(frozen=True, slots=True)
class Plan:
    """Options of the search.

    methods: methods to find value ranges, all of which are tried
    min_psnr: required mean PSNR against FP32 over the validation tiles, in dB; at least 40
    only: regular expression for names of layers; None uses all inner layers of an upsampler, or the
        encoder of the U-Net of a face network
    residuals: use INT8 for the skip connections of dense blocks too, which is faster and less
        accurate
    """

    methods: tuple[Method, ...] = METHODS
    min_psnr: float = LOWEST_GATE
    only: str | None = None
    residuals: bool = False

    def __post_init__(self) -> None:
        unknown = [method for method in self.methods if method not in METHODS]
        if unknown or not self.methods:
            raise OptionError(
                f"methods of finding ranges must be some of {', '.join(METHODS)}, got "
                f"{', '.join(unknown) or 'none'}"
            )
        if not self.min_psnr >= LOWEST_GATE:
            raise OptionError(
                f"the gate can only be raised: INT8 under {LOWEST_GATE:g} dB is refused when it "
                f"is loaded, got {self.min_psnr:g}"
            )


@dataclass(frozen=True, slots=True)
class Calibration:
    """The result of a calibration.

    artifact: the INT8 artifact, or None if no layer assignment passes
    best: the chosen layer assignment, or the closest one
    seconds: seconds per tile, by (layer assignment or "fp32", runtime)
    """

    artifact: Artifact | None
    best: Candidate
    candidates: tuple[Candidate, ...]
    sensitivities: tuple[Sensitivity, ...]
    tried: Mapping[str, float]
    dead: tuple[str, ...]
    kept: tuple[str, ...]
    seconds: Mapping[tuple[str, str], float]

    def speedups(self) -> dict[str, float]:
        """Speedup of the best layer assignment over FP32 on ONNX Runtime, by runtime."""
        name = name_of(self.best)
        base = self.seconds.get((FP32, "ONNX Runtime"))
        if base is None:
            return {}
        return {
            runtime: round(base / seconds, 2)
            for (mix, runtime), seconds in self.seconds.items()
            if mix == name
        }


def name_of(candidate: Candidate) -> str:
    return f"{len(candidate.recipe.layers)} layers"


def calibrate(
    artifact: Artifact,
    tiles: CalibrationSet,
    plan: Plan,
    *,
    log: TrialLog,
    speed: SpeedMeter | None,
    report: Report,
) -> Calibration:
    """Find the fastest assignment of layers to INT8 and FP32 that passes the accuracy gate.

    artifact: an upsampler or a face network in FP32
    log: measurements, including those of an earlier, interrupted run
    speed: measures the speed; with None, the assignment with the most work in INT8 counts as the
        fastest

    Raises ModelError or OptionError if the artifact cannot be calibrated, and NonFiniteOutputError
    if the network returns NaN or Inf on a tile.
    """
    _check_artifact(artifact.info)
    model = onnx.load_from_string(artifact.onnx)
    require_float(model)
    layers = find_layers(model)
    wanted = choose_layers(layers, artifact.info, plan)
    groups = group_sources(wanted)
    calibrating = as_input(tiles.calibrating, artifact.info)
    judging = as_input(tiles.judging, artifact.info)
    report(f"collecting values of {len(groups)} tensors on {len(calibrating)} tiles")
    statistics = gather_statistics(model, groups, calibrating, report=report)
    alive, dead = without_dead_layers(wanted, choose_ranges(statistics, groups, "max"))
    if dead:
        report(f"{len(dead)} layers have only zeros as input and stay in FP32: {', '.join(dead)}")
    if not alive:
        raise OptionError("all layers have only zeros as input on the calibration tiles")
    trials = Trials(model, layers, judging, calibrating[:_FEW], log)
    recipe, tried = choose_recipe(
        trials,
        alive,
        statistics,
        groups,
        plan.methods,
        residuals=plan.residuals,
        report=report,
    )
    sensitivities = measure_sensitivity(trials, recipe, report=report)
    candidates = search_mixes(trials, recipe, sensitivities, min_psnr=plan.min_psnr, report=report)
    passing = [found for found in candidates if found.distance.mean >= plan.min_psnr]
    best = max(candidates, key=lambda found: found.distance.mean)
    seconds: Mapping[tuple[str, str], float] = {}
    built = {
        name_of(found): build_artifact(artifact, trials, found.recipe, plan, tiles)
        for found in passing
    }
    if passing and speed is not None:
        report(f"timing {len(passing)} layer assignments that pass")
        seconds = speed({FP32: artifact, **built})
        best = _choose(passing, seconds)
    elif passing:
        best = max(passing, key=lambda found: found.macs)
    return Calibration(
        artifact=built.get(name_of(best)),
        best=best,
        candidates=tuple(candidates),
        sensitivities=tuple(sensitivities),
        tried=tried,
        dead=tuple(dead),
        kept=_kept(layers, best.recipe),
        seconds=seconds,
    )


def log_key(artifact: Artifact, tiles: CalibrationSet) -> str:
    """Hash of everything that a trial depends on, except for its recipe."""
    words = f"{artifact.sha256} {tiles.sha256} restora {__version__}"
    return hashlib.sha256(words.encode()).hexdigest()[:24]


def describe(result: Calibration, tiles: CalibrationSet, plan: Plan) -> dict[str, Any]:
    """The report as a JSON object."""
    return {
        "passed": result.artifact is not None,
        "min_psnr": plan.min_psnr,
        "best": _describe_candidate(result.best),
        "kept": list(result.kept),
        "dead": list(result.dead),
        "whole_network_in_8_bits": dict(result.tried),
        "curve": [_describe_candidate(found) for found in result.candidates],
        "sensitivity": [
            {"layer": found.layer, **asdict(found.distance), "products": found.macs}
            for found in result.sensitivities
        ],
        "seconds_per_tile": [
            {"mix": mix, "runtime": runtime, "seconds": round(value, 6)}
            for (mix, runtime), value in result.seconds.items()
        ],
        "times_fp32_onnx_runtime": result.speedups(),
        "tiles": tiles.manifest,
    }


def _describe_candidate(found: Candidate) -> dict[str, Any]:
    return {
        "layers": len(found.recipe.layers),
        "products": round(found.macs, 4),
        "psnr_mean": round(found.distance.mean, 2),
        "psnr_min": round(found.distance.least, 2),
        "recipe": key_of(found.recipe),
    }


def _check_artifact(info: ArtifactInfo) -> None:
    if info.kind not in ("upsampler", "face"):
        raise OptionError(
            f"INT8 needs an upsampler or a face network, {info.model} is a {info.kind}"
        )
    if info.precision != "fp32":
        raise OptionError(
            f"{info.model} is an artifact in {info.precision}: calibrate its FP32 artifact"
        )


def choose_layers(layers: list[Layer], info: ArtifactInfo, plan: Plan) -> list[Layer]:
    """The layers that may be quantized. Raises OptionError if there are none."""
    pattern = plan.only or (_ENCODER if info.kind == "face" else "")
    chosen = [layer for layer in inner_layers(layers) if re.search(pattern, layer.name)]
    if not chosen:
        raise OptionError(
            f"no inner layer of {info.model} matches {pattern!r}; they are "
            f"{', '.join(layer.name for layer in inner_layers(layers)[:8])}, ..."
        )
    return chosen


def as_input(tiles: Tiles, info: ArtifactInfo) -> Tiles:
    """Convert tiles to the dtype of the artifact, and check their size."""
    if info.side is not None and tiles.shape[1] != info.side:
        raise OptionError(f"{info.model} takes tiles of {info.side}: use --tile {info.side}")
    if tiles.shape[1] % info.size_multiple:
        raise OptionError(
            f"the side of tiles must be a multiple of {info.size_multiple} for {info.model}, got "
            f"{tiles.shape[1]}"
        )
    return tiles if info.io == "uint8" else tiles.astype(np.float32) / np.float32(255)


def build_artifact(
    artifact: Artifact, trials: Trials, recipe: Recipe, plan: Plan, tiles: CalibrationSet
) -> Artifact:
    """Build the INT8 artifact, with its accuracy on the validation tiles."""
    graph = quantize_graph(trials.model, trials.layers, recipe)
    quantization = Quantization(
        layers=len(recipe.layers),
        kept=_kept(trials.layers, recipe),
        min_psnr=plan.min_psnr,
        bias_corrected=bool(recipe.biases),
        tiles_sha256=tiles.sha256,
    )
    accuracy = measure_against(
        partial(run_graph, open_graph(graph)),
        trials.cases(),
        io=artifact.info.io,
        kind=artifact.info.kind,
        reference=f"the FP32 artifact {artifact.sha256[:12]}",
    )
    info = replace(artifact.info, precision="int8", accuracy=accuracy, quantization=quantization)
    return Artifact(info, onnx_bytes(graph, info, artifact.read_selfcheck()))


def _kept(layers: Sequence[Layer], recipe: Recipe) -> tuple[str, ...]:
    return tuple(layer.name for layer in layers if layer.name not in recipe.layers)


def _choose(passing: Sequence[Candidate], seconds: Mapping[tuple[str, str], float]) -> Candidate:
    """The most accurate of the assignments that are as fast as the fastest one."""
    times = {name_of(found): _fastest(seconds, name_of(found)) for found in passing}
    limit = min(times.values()) * _AS_FAST
    alike = [found for found in passing if times[name_of(found)] <= limit]
    return max(alike, key=lambda found: found.distance.mean)


def _fastest(seconds: Mapping[tuple[str, str], float], mix: str) -> float:
    return min(value for (name, _), value in seconds.items() if name == mix)
