"""The report of a calibration."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from restora_calibration.calibration_set import CalibrationSet
from restora_calibration.int8.plan import LEAST_GATE, Plan
from restora_calibration.int8.run import Calibration
from restora_calibration.int8.search import Candidate
from restora_calibration.int8.trial import key_of


def describe(result: Calibration, tiles: CalibrationSet, plan: Plan) -> dict[str, Any]:
    """The report as a JSON object."""
    return {
        "passed": result.artifact is not None,
        "format": plan.format,
        "min_psnr": plan.min_psnr,
        "min_psnr_of_a_tile": LEAST_GATE,
        "judged": None if result.judged is None else asdict(result.judged),
        "best": _describe_candidate(result.best),
        "kept": list(result.kept),
        "dead": list(result.dead),
        "whole_network_in_8_bits": dict(result.tried),
        "fine_tuning": None if result.tuning is None else asdict(result.tuning),
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
