"""Calibrate an FP32 artifact: find the fastest layer assignment that passes the accuracy gate."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from restora.artifact import Artifact, ArtifactInfo
from restora.errors import OptionError
from restora.version import __version__
from restora_calibration.calibration_set import CalibrationSet
from restora_calibration.int8.artifacts import (
    build_artifact,
    build_half_artifact,
    kept_layers,
    measure_selfcheck,
)
from restora_calibration.int8.layers import (
    Layer,
    find_layers,
    group_sources,
    inner_layers,
    require_float,
)
from restora_calibration.int8.plan import Plan
from restora_calibration.int8.qdq import raise_to_opset19
from restora_calibration.int8.recipes import Material, choose_largest, choose_recipe
from restora_calibration.int8.search import (
    FURTHER,
    Candidate,
    Search,
    Sensitivity,
    without_dead_layers,
)
from restora_calibration.int8.statistics import Tiles, gather_channels, keep_channels
from restora_calibration.int8.trial import Distance, TrialLog, Trials
from restora_calibration.int8.tuning import Tuning, choose_tuned
from restora_calibration.judges import MIN_KINDS, require_judges

Report = Callable[[str], None]
# maps artifacts by name to seconds per tile by (name of the artifact, runtime)
SpeedMeter = Callable[[Mapping[str, Artifact]], Mapping[tuple[str, str], float]]
FP32 = "fp32"
_AS_FAST = 1.03  # factor of the fastest time, within the noise of the measurement
_ENCODER = r"conv_body_(first|down)|final_conv"


@dataclass(frozen=True, slots=True)
class Calibration:
    """The result of a calibration.

    artifact: the artifact in INT8, with FP32 around it, or in FP8, with FP16 around it; None if no
        layer assignment passes
    half: the artifact in INT8 with FP16 around it; None without an FP16 artifact to make it from,
        or if it does not pass
    best: the chosen layer assignment, or the closest one, with its distance on the search's tiles
    judged: the distance of `best` on tiles that calibration and search have not seen; None if it
        was not built
    seconds: seconds per tile, by (layer assignment or "fp32", runtime)
    tuning: what fine-tuning changed; None without it
    """

    artifact: Artifact | None
    half: Artifact | None
    best: Candidate
    judged: Distance | None
    candidates: tuple[Candidate, ...]
    sensitivities: tuple[Sensitivity, ...]
    tried: Mapping[str, float]
    dead: tuple[str, ...]
    kept: tuple[str, ...]
    seconds: Mapping[tuple[str, str], float]
    tuning: Tuning | None = None

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
    half: Artifact | None = None,
    log: TrialLog,
    speed: SpeedMeter | None,
    report: Report,
) -> Calibration:
    """Find the fastest assignment of layers to 8 bits and FP32 that passes the accuracy gate.

    artifact: an upsampler or a face network in FP32
    half: the FP16 artifact of the same network, which FP8 needs
    log: measurements, including those of an earlier, interrupted run
    speed: measures the speed; with None, the assignment with the most work in INT8 counts as the
        fastest

    Raises ModelError or OptionError if the artifact cannot be calibrated, and NonFiniteOutputError
    if the network returns NaN or Inf on a tile.
    """
    _check_artifact(artifact.info)
    require_judges(
        tiles.judging,
        (tiles.calibrating, tiles.searching),
        min_kinds=1 if artifact.info.kind == "face" else MIN_KINDS,
    )
    if plan.format == "fp8" and half is None:
        raise OptionError(
            f"FP8 needs the FP16 artifact of {artifact.info.model}: make it with "
            "`restora export --precision fp16`"
        )
    model = onnx.load_from_string(artifact.onnx)
    require_float(model)
    if plan.format == "fp8":
        model = raise_to_opset19(model)
    layers = find_layers(model)
    wanted = choose_layers(layers, artifact.info, plan)
    groups = group_sources(wanted)
    calibrating = as_input(tiles.calibrating, artifact.info)
    searching = as_input(tiles.searching, artifact.info)
    judging = as_input(tiles.judging, artifact.info)
    report(f"collecting values of {len(groups)} tensors on {len(calibrating)} tiles")
    channels = keep_channels(log.keep, lambda: gather_channels(model, groups, calibrating))
    peaks = {name: found.peaks for name, found in channels.items()}
    alive, dead = without_dead_layers(wanted, choose_largest(peaks, groups))
    if dead:
        report(f"{len(dead)} layers have only zeros as input and stay in FP32: {', '.join(dead)}")
    if not alive:
        raise OptionError("all layers have only zeros as input on the calibration tiles")
    trials = Trials(model, layers, searching, log, judging=judging)
    recipe, tried = choose_recipe(
        trials,
        Material([layer for layer in wanted if layer.name in alive], groups, channels, calibrating),
        plan.range_methods,
        residuals=plan.residuals,
        form=plan.format,
        report=report,
    )
    tuning = None
    if plan.fine_tune:
        recipe, tuning = choose_tuned(trials, recipe, calibrating, plan, report=report)
    seconds: Mapping[tuple[str, str], float] = {}
    built: dict[str, Artifact] = {}
    judged: dict[str, Distance] = {}
    candidates: list[Candidate] = []
    passing: list[Candidate] = []
    search = Search(trials, recipe, plan, report)
    for found in search:
        candidates.append(found)
        if not plan.passes(found.distance):
            continue
        if plan.format == "int8":
            made = build_artifact(artifact, trials, found.recipe, tiles, min_psnr=plan.min_psnr)
            judged[name_of(found)] = distance_of(made)
            if not _accepts(made, plan, name_of(found), report):
                continue
            built[name_of(found)] = made
        passing.append(found)
        if len(passing) > (FURTHER if search.sensitivities else 0):  # a preset needs no other
            break
    close = [found for found in candidates if plan.passes(found.distance)]
    best = max(passing or close or candidates, key=lambda found: found.distance.mean)
    if built and speed is not None:
        report(f"timing {len(passing)} layer assignments that pass")
        seconds = speed({FP32: artifact, **built})
        best = _choose(passing, seconds)
    elif passing:
        best = max(passing, key=lambda found: found.macs)
    around = None
    if passing and half is not None:
        around = build_half_artifact(
            artifact, half, trials, best.recipe, tiles, min_psnr=plan.min_psnr
        )
        if plan.format == "fp8":
            judged[name_of(best)] = distance_of(around)
        around = around if _accepts(around, plan, around.info.precision, report) else None
    return Calibration(
        artifact=built.get(name_of(best)) if plan.format == "int8" else around,
        half=around if plan.format == "int8" else None,
        best=best,
        judged=judged.get(name_of(best)),
        candidates=tuple(sorted(candidates, key=lambda found: -found.macs)),
        sensitivities=tuple(search.sensitivities),
        tried=tried,
        dead=tuple(dead),
        kept=kept_layers(layers, best.recipe),
        seconds=seconds,
        tuning=tuning,
    )


def distance_of(made: Artifact) -> Distance:
    """The accuracy of an artifact on the tiles to judge on."""
    accuracy = made.info.accuracy
    assert accuracy is not None
    return Distance(accuracy.psnr_mean, accuracy.psnr_min)


def _accepts(made: Artifact, plan: Plan, name: str, report: Report) -> bool:
    """Whether the artifact passes on the tiles to judge on, and its self-check."""
    judged = distance_of(made)
    report(f"{name}, on unseen tiles: {judged.mean:.2f} dB mean, {judged.least:.2f} dB min")
    if not plan.passes(judged):
        return False
    checked = measure_selfcheck(made)
    if checked is None or plan.passes(checked):
        return True
    report(f"{name} fails its self-check: {checked.mean:.2f} dB mean, {checked.least:.2f} dB min")
    return False


def log_key(artifact: Artifact, tiles: CalibrationSet) -> str:
    """Hash of everything that a trial depends on, except for its recipe."""
    words = f"{artifact.sha256} {tiles.sha256} restora {__version__}"
    return hashlib.sha256(words.encode()).hexdigest()[:24]


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


def _choose(passing: Sequence[Candidate], seconds: Mapping[tuple[str, str], float]) -> Candidate:
    """The most accurate of the assignments that are as fast as the fastest one."""
    times = {name_of(found): _fastest(seconds, name_of(found)) for found in passing}
    limit = min(times.values()) * _AS_FAST
    alike = [found for found in passing if times[name_of(found)] <= limit]
    return max(alike, key=lambda found: found.distance.mean)


def _fastest(seconds: Mapping[tuple[str, str], float], mix: str) -> float:
    return min(value for (name, _), value in seconds.items() if name == mix)
