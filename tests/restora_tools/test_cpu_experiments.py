"""Facts about the experiments with CPU settings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from restora.backends.base import Batch
from restora_tools.cpu_experiments.run import merge
from restora_tools.cpu_experiments.runtimes import Run, start_side_by_side
from restora_tools.cpu_experiments.table import experiments_table
from restora_tools.cpu_experiments.variants import EXPERIMENTS, find_variant


def row(experiment: str, variant: str, model: str, seconds: float, **more: Any) -> dict[str, Any]:
    values = {"side": 128, "share": seconds / 0.2, "load_s": 0.5, "psnr_mean": 90.0, "repeats": 5}
    named = {"experiment": experiment, "variant": variant, "model": model, "seconds": seconds}
    return named | values | more


RESULT = {
    "machine": {"cpu": "A CPU", "onnxruntime": "1", "openvino": "2", "ncnn": "3"},
    "threads": 2,
    "rows": [
        row("threads", "sleep", "small", 0.2),
        row("threads", "wait", "small", 0.1),
        row("threads", "sleep", "large", 2.0, share=1.0, load_s=1.25),
        row("threads", "wait", "large", 3.0, share=1.5, psnr_mean=55.5),
    ],
}


def test_variants_stand_beside_their_time_relative_to_the_first() -> None:
    lines = experiments_table(RESULT).splitlines()
    assert lines[2:4] == [
        "| threads | sleep | 200 ms | 1.00 | 2000 ms | 1.00 | 90.0 and 90.0 dB | 0.50 and 1.25 s |",
        "| threads | wait | 100 ms | 0.50 | 3000 ms | 1.50 | 90.0 and 55.5 dB | 0.50 and 0.50 s |",
    ]
    assert lines[-1].startswith("A CPU, 2 threads; ONNX Runtime 1, OpenVINO 2, ncnn 3;")


def test_each_variant_is_found_by_its_name() -> None:
    for experiment, variants in EXPERIMENTS.items():
        assert "," not in experiment  # the command separates them so
        for variant in variants:
            assert find_variant(experiment, variant.name) is variant


@pytest.mark.parametrize("count", [2, 4])
def test_sessions_side_by_side_share_the_tiles_and_keep_their_order(count: int) -> None:
    seen: list[list[int]] = []

    def start(_model: Any) -> Run:
        def run(batch: Batch) -> Batch:
            seen.append([int(picture.flat[0]) for picture in batch])
            return batch + 1

        return run

    tiles = np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1)
    result = start_side_by_side([start, start])(None)(tiles)  # type: ignore[arg-type]
    assert (result == tiles + 1).all()
    assert sorted(seen) == [list(range(0, count, 2)), list(range(1, count, 2))]


def test_an_experiment_that_is_repeated_replaces_its_rows_and_keeps_those_of_others() -> None:
    first, second = list(EXPERIMENTS)[:2]
    known = [row(first, "a", "small", 0.2), row(first, "a", "large", 0.2)]
    found = [row(first, "a", "small", 0.3)]
    others = [row(second, "b", "small", 0.1)]
    assert merge([*others, *known], found) == [known[1], *found, *others]
