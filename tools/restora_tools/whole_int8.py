"""Every inner layer in 8 bits, without a search: for measuring what 8 bits gain in speed."""

from __future__ import annotations

import onnx

from restora.artifact import Artifact
from restora_calibration.calibration_set import CalibrationSet
from restora_calibration.int8.artifacts import build_artifact
from restora_calibration.int8.bias import correct_biases
from restora_calibration.int8.layers import find_layers, group_sources, require_float
from restora_calibration.int8.plan import LOWEST_GATE, Plan
from restora_calibration.int8.qdq import Recipe
from restora_calibration.int8.ranges import choose_ranges
from restora_calibration.int8.run import as_input, choose_layers
from restora_calibration.int8.search import without_dead_layers
from restora_calibration.int8.statistics import gather_statistics
from restora_calibration.int8.trial import TrialLog, Trials


def quantize_whole(artifact: Artifact, tiles: CalibrationSet) -> Artifact:
    """FP32 artifact to one with ranges by the largest value and corrected biases. Its accuracy is
    measured and not judged: loading it may be refused."""
    model = onnx.load_from_string(artifact.onnx)
    require_float(model)
    layers = find_layers(model)
    wanted = choose_layers(layers, artifact.info, Plan())
    groups = group_sources(wanted)
    statistics = gather_statistics(model, groups, as_input(tiles.calibrating, artifact.info))
    ranges = choose_ranges(statistics, groups, "max")
    alive, _ = without_dead_layers(wanted, ranges)
    means = {name: found.means for name, found in statistics.items()}
    biases = correct_biases(model, [layer for layer in wanted if layer.name in alive], means)
    judging = as_input(tiles.judging, artifact.info)
    trials = Trials(model, layers, judging, TrialLog(None, ""), judging=judging)
    recipe = Recipe(frozenset(alive), ranges, biases)
    return build_artifact(artifact, trials, recipe, tiles, min_psnr=LOWEST_GATE)
