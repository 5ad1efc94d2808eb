"""Facts about the tables of a GPU check in README and docs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from restora_tools.gpu.tables import NOTICE, gpu_table

LINE = {
    "model": "x4plus",
    "precision": "fp16",
    "side": 512,
    "batch": 1,
    "device_ms": 12.345,
    "tflops": 200.04,
    "mfu": 0.25,
    "psnr_mean": 61.2,
}
PHOTO = {
    "model": "x4plus",
    "precision": "fp16",
    "photo": "4000x3000",
    "one_photo_s": 1.5,
    "mp_per_s": 8.0,
    "gpu_state": {"busy": [0.2, 0.97, 1.0]},
    "computed_share": 1.05,
}


def table(path: Path, **changes: Any) -> str:
    gpu = {"name": "Double", "tensorrt": "10.16", "driver": "13000"}
    machine = {"gpus": [{"name": "Double", "driver": "580.1"}]}
    result = {
        "gpu": gpu,
        "machine": machine,
        "lines": [LINE],
        "peers": [],
        "photos": [PHOTO],
        **changes,
    }
    file = path / "gpu.json"
    file.write_text(json.dumps(result))
    return gpu_table(file)


def test_without_results_the_page_says_that_nothing_was_measured(tmp_path: Path) -> None:
    assert gpu_table(tmp_path / "gpu.json") == NOTICE


def test_engines_and_photos_have_a_row_each_and_the_card_is_named(tmp_path: Path) -> None:
    text = table(tmp_path)
    assert (
        "| x4plus | **restora**, TensorRT FP16 | 512 | 1 | 12.35 | 200.0 | 25% | 61.2 dB |" in text
    )
    assert "| x4plus, FP16 | 4000 x 3000 | 1.500 | 8.0 | 97% | 1.05 |" in text
    assert text.endswith("Double, TensorRT 10.16, CUDA 13.0, driver 580.1.")


def test_the_network_of_trials_has_no_row(tmp_path: Path) -> None:
    peer = {"model": "tiny", "way": "eager PyTorch FP32", "not_measured": "not here"}
    assert "tiny" not in table(tmp_path, lines=[LINE, {**LINE, "model": "tiny"}], peers=[peer])


def test_a_figure_of_the_plan_for_all_sizes_says_so(tmp_path: Path) -> None:
    text = table(tmp_path, lines=[{**LINE, "plan": "1x8x8 to 1x1024x1024"}], machine={})
    assert "TensorRT FP16, engine for all sizes | 512 | 1 |" in text
    assert text.endswith("Double, TensorRT 10.16, CUDA 13.0.")
    assert "all sizes" not in table(tmp_path, lines=[{**LINE, "plan": "1x512x512"}])


def test_a_figure_that_is_missing_or_of_another_way_says_so(tmp_path: Path) -> None:
    line = {**LINE, "no_graphs": "error 906"}
    del line["mfu"]
    peer = {"model": "x4plus", "way": "ONNX Runtime CUDA FP32", "not_measured": "not installed"}
    text = table(tmp_path, lines=[line], peers=[peer], photos=[])
    assert "TensorRT FP16, without CUDA graphs | 512 | 1 | 12.35 | 200.0 | not measured |" in text
    assert "| x4plus | ONNX Runtime CUDA FP32 |  |  | not measured |" in text
