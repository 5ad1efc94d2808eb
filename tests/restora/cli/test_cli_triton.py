"""Facts about `restora triton export`: flags become options, and models are reported."""

from __future__ import annotations

import json
from pathlib import Path

from fakes import tiny_artifact
from processes import run
from restora.triton.photo_settings import settings_from_json


def settings_of(folder: Path) -> str:
    return (folder / "models" / "restora-photo" / "1" / "settings.json").read_text()


def test_flags_reach_the_repository(tmp_path: Path) -> None:
    (tmp_path / "tiny.onnx").write_bytes(tiny_artifact().onnx)
    (tmp_path / "tiny.fp16.onnx").write_bytes(tiny_artifact(precision="fp16").onnx)
    done = run(
        tmp_path, "triton", "export", "tiny.onnx", "--repository", "models", "--json",
        "--precision", "both", "--max-batch", 2, "--queue-size", 9, "--queue-timeout", 2,
        "--instances", 3, "--photos", 5, "--threads", 1, "--tile", 64, "--tile-pad", 5,
        "--equal-tiles", "--engine-cache", "none", "--no-warmup", "--no-faces",
        "--max-pixels", 1000, "--max-output-pixels", 5000, "--alpha-upsampler", "bilinear",
        "--batch-delay", 0.5,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["name"], row["max_batch"]) for row in rows] == [
        ("tiny", 2),
        ("tiny.fp16", 2),
        ("restora-photo", 1),
    ]
    config = (tmp_path / "models" / "tiny" / "config.pbtxt").read_text()
    for line in (
        "max_queue_size: 19", "default_timeout_microseconds: 2000000", "count: 3",
        'string_value: "1"', "max_queue_delay_microseconds: 500", 'value: "image:2x64x64x3"',
    ):  # fmt: skip
        assert line in config
    assert "engine_cache" not in config
    assert "warmup" not in config
    assert "count: 5" in (tmp_path / "models" / "restora-photo" / "config.pbtxt").read_text()
    settings = settings_from_json(settings_of(tmp_path))
    assert (settings.restore.tile, settings.restore.overlap) == (64, 10)
    assert (settings.restore.alpha, settings.restore.max_output_pixels) == ("bilinear", 5000)
    assert (settings.limits.max_pixels, settings.equal_tiles, settings.faces) == (1000, True, None)


def test_models_are_listed_for_people(tmp_path: Path) -> None:
    done = run(
        tmp_path, "triton", "export", "restora-lite-x2", "--repository", "models", "--no-faces"
    )
    assert done.returncode == 0, done.stderr
    assert "restora-lite-x2.float32" in done.stdout
    assert "onnxruntime_onnx" in done.stdout
    assert settings_from_json(settings_of(tmp_path)).restore.tile == 256


def test_a_repository_that_is_there_is_kept(tmp_path: Path) -> None:
    words = ("triton", "export", "restora-lite-x2", "--repository", "models", "--no-faces")
    assert run(tmp_path, *words).returncode == 0
    again = run(tmp_path, *words)
    assert again.returncode == 6
    assert "--overwrite" in again.stderr
    assert run(tmp_path, *words, "--overwrite").returncode == 0


def test_an_unknown_model_is_an_error_of_the_model(tmp_path: Path) -> None:
    done = run(tmp_path, "triton", "export", "restora-lite-x3", "--repository", "models")
    assert done.returncode == 5
    assert "restora-lite-x2" in done.stderr
    assert not (tmp_path / "models").exists()
