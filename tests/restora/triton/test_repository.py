"""Facts about model repositories: what is written, and what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes import PASSED, tiny_artifact
from restora.artifact import Artifact, read_artifact
from restora.backends.tensorrt.cache import CachedPlan, PlanCache
from restora.errors import (
    AccuracyGateError,
    MissingModelError,
    OptionError,
    OutputError,
)
from restora.faces.options import FaceOptions
from restora.options import RestoreOptions
from restora.triton import ServerOptions, export_repository
from restora.triton.photo_settings import settings_from_json


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """An artifact with its neighbors for 16 bits and in FP16."""
    folder = tmp_path / "models"
    folder.mkdir()
    for name, artifact in {
        "tiny.onnx": tiny_artifact(),
        "tiny.float32.onnx": tiny_artifact(io="float32"),
        "tiny.fp16.onnx": tiny_artifact(precision="fp16"),
    }.items():
        (folder / name).write_bytes(artifact.onnx)
    return folder / "tiny.onnx"


def write(path: Path, artifact: Artifact) -> Path:
    path.write_bytes(artifact.onnx)
    return path


def read_config(folder: Path) -> Any:
    text_format = pytest.importorskip("google.protobuf.text_format")
    model_config = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    text = (folder / "config.pbtxt").read_text()
    assert "precision_mode" not in text
    return text_format.Parse(text, model_config.ModelConfig())


def names_in(repository: Path) -> list[str]:
    return sorted(path.name for path in repository.iterdir())


def test_each_network_is_a_model_for_onnx_runtime_with_tensorrt(
    model: Path, tmp_path: Path
) -> None:
    server = ServerOptions(max_batch=4, queue_size=7, queue_timeout_s=1.5, instances=2, threads=3)
    written = export_repository(
        [model], tmp_path / "repo", server=server, restore=RestoreOptions(tile=64)
    )
    assert [(one.name, one.platform, one.max_batch) for one in written] == [
        ("tiny", "onnxruntime_onnx", 4),
        ("tiny.float32", "onnxruntime_onnx", 4),
        ("restora-photo", "python", 1),
    ]
    config = read_config(tmp_path / "repo" / "tiny")
    assert (config.name, config.platform, config.max_batch_size) == ("tiny", "onnxruntime_onnx", 4)
    assert [list(one.dims) for one in (*config.input, *config.output)] == [
        [-1, -1, 3],
        [-1, -1, 3],
        [3],
    ]
    policy = config.dynamic_batching.default_queue_policy
    # room for the tiles of four photos beside other clients
    assert policy.max_queue_size == 7 + 4 * 4
    assert policy.default_timeout_microseconds == 1_500_000
    photo = read_config(tmp_path / "repo" / "restora-photo")
    assert photo.dynamic_batching.default_queue_policy.max_queue_size == 7
    assert config.instance_group[0].count == 2
    (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.name == "tensorrt"
    assert accelerator.parameters["trt_profile_min_shapes"] == "image:1x8x8x3"
    assert accelerator.parameters["trt_profile_max_shapes"] == "image:4x64x64x3"
    assert [(w.batch_size, list(w.inputs["image"].dims)) for w in config.model_warmup] == [
        (1, [8, 8, 3]),
        (4, [64, 64, 3]),
    ]
    assert config.parameters["intra_op_thread_count"].string_value == "3"
    file = tmp_path / "repo" / "tiny" / "1" / "model.onnx"
    assert file.read_bytes() == model.read_bytes()


def test_fp16_is_an_artifact_of_its_own(model: Path, tmp_path: Path) -> None:
    server = ServerOptions(precisions=("fp32", "fp16"))
    export_repository([model], tmp_path / "repo", server=server)
    assert names_in(tmp_path / "repo") == ["restora-photo", "tiny", "tiny.float32", "tiny.fp16"]
    file = tmp_path / "repo" / "tiny.fp16" / "1" / "model.onnx"
    assert read_artifact(file).info.precision == "fp16"
    read_config(tmp_path / "repo" / "tiny.fp16")


def test_an_fp16_artifact_that_misses_its_threshold_is_not_written(
    model: Path, tmp_path: Path
) -> None:
    poor = replace(PASSED, psnr_mean=30.0, psnr_min=20.0)
    write(model.with_name("tiny.fp16.onnx"), tiny_artifact(precision="fp16", accuracy=poor))
    with pytest.raises(AccuracyGateError, match="mean PSNR 30"):
        export_repository([model], tmp_path / "repo", server=ServerOptions(precisions=("fp16",)))
    assert not (tmp_path / "repo").exists()


def test_an_fp16_network_that_is_not_there_is_asked_for(model: Path, tmp_path: Path) -> None:
    model.with_name("tiny.fp16.onnx").unlink()
    with pytest.raises(MissingModelError, match="restora export --precision fp16"):
        export_repository([model], tmp_path / "repo", server=ServerOptions(precisions=("fp16",)))


def test_a_model_that_is_there_is_kept_unless_it_may_be_replaced(
    model: Path, tmp_path: Path
) -> None:
    export_repository([model], tmp_path / "repo")
    old = tmp_path / "repo" / "tiny" / "old.txt"
    old.write_text("of an earlier export")
    with pytest.raises(OutputError, match="--overwrite"):
        export_repository([model], tmp_path / "repo")
    assert old.exists()
    export_repository([model], tmp_path / "repo", overwrite=True)
    assert not old.exists()
    assert names_in(tmp_path) == ["models", "repo"]


def test_the_earlier_model_stays_if_the_new_one_cannot_take_its_place(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_repository([model], tmp_path / "repo")
    old = tmp_path / "repo" / "tiny" / "old.txt"
    old.write_text("of an earlier export")
    move = shutil.move

    def fail(source: Path, target: Path) -> None:
        if target == old.parent and not (source / "old.txt").exists():
            target.mkdir()  # a part of it is there
            raise OSError(28, "No space left on device")
        move(source, target)

    monkeypatch.setattr("restora.triton.repository.shutil.move", fail)
    with pytest.raises(OutputError, match="No space left on device"):
        export_repository([model], tmp_path / "repo", overwrite=True)
    assert old.exists()
    assert names_in(tmp_path) == ["models", "repo"]


def test_a_model_that_cannot_be_written_leaves_nothing_behind(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, _data: object) -> None:
        if path.name == "config.pbtxt":
            raise OutputError("no space left")
        path.parent.mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr("restora.triton.repository.write_file", fail)
    with pytest.raises(OutputError, match="no space left"):
        export_repository([model], tmp_path / "repo")
    assert names_in(tmp_path / "repo") == []
    assert names_in(tmp_path) == ["models", "repo"]


def test_two_networks_of_one_name_are_refused(tmp_path: Path) -> None:
    one = write(tmp_path / "one.onnx", tiny_artifact())
    two = write(tmp_path / "two.onnx", tiny_artifact(gain=0.5))
    with pytest.raises(OptionError, match="two networks would be called tiny"):
        export_repository([one, two], tmp_path / "repo")


def test_names_are_safe_in_paths_and_addresses(tmp_path: Path) -> None:
    odd = write(tmp_path / "odd.onnx", tiny_artifact(model="../my net/4x"))
    export_repository([odd], tmp_path / "repo")
    assert names_in(tmp_path / "repo") == ["_my_net_4x", "restora-photo"]


def test_faces_bring_their_networks(model: Path, tmp_path: Path) -> None:
    face = write(tmp_path / "face.onnx", tiny_artifact(kind="face", scale=1, side=64, model="f"))
    write(tmp_path / "face.float32.onnx",
          tiny_artifact(kind="face", scale=1, side=64, model="f", io="float32"))  # fmt: skip
    faces = FaceOptions(model=face, detector="centerface", strength=0.5)
    export_repository([model], tmp_path / "repo", faces=faces)
    assert names_in(tmp_path / "repo") == [
        "f", "f.float32", "restora-photo", "tiny", "tiny.float32",
    ]  # fmt: skip
    config = read_config(tmp_path / "repo" / "f")
    parameters = config.optimization.execution_accelerators.gpu_execution_accelerator[0].parameters
    assert parameters["trt_profile_opt_shapes"] == "image:8x64x64x3"
    text = (tmp_path / "repo" / "restora-photo" / "1" / "settings.json").read_text()
    settings = settings_from_json(text)
    assert settings.faces == replace(faces, model=None)
    assert settings.upsamplers() == ("tiny",)
    assert settings.restore.tile == 256


def test_an_upsampler_is_needed(tmp_path: Path) -> None:
    face = write(tmp_path / "face.onnx", tiny_artifact(kind="face", scale=1, side=64))
    with pytest.raises(OptionError, match="at least one upsampler"):
        export_repository([face], tmp_path / "repo")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (RestoreOptions(backend="cpu"), "backend cannot be given for a server"),
        (RestoreOptions(precision="fp16"), "precision cannot be given"),
        (RestoreOptions(tile=0), "tile must not be 0"),
    ],
)
def test_options_that_are_the_servers_are_refused(
    model: Path, tmp_path: Path, options: RestoreOptions, words: str
) -> None:
    with pytest.raises(OptionError, match=words):
        export_repository([model], tmp_path / "repo", restore=options)


@pytest.mark.parametrize(
    "values",
    [
        {"precisions": ()},
        {"precisions": ("int8",)},
        {"max_batch": 0},
        {"queue_timeout_s": 0},
        {"engine_cache": "relative"},
        {"photos": 65},
    ],
)
def test_server_options_that_cannot_work_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(values)).removesuffix("s")[:9]):
        ServerOptions(**values)


def plan_facts(artifact: Artifact, capability: str, **options: object) -> dict[str, Any]:
    return {
        "onnx": artifact.sha256,
        "options": {"precision": "fp32", "strip_weights": False, **options},
        "device": {"capability": capability},
        "profile": {
            "smallest": [1, 8, 8, 3],
            "best": [1, 256, 256, 3],
            "largest": [1, 512, 512, 3],
        },
    }


def test_plans_of_the_cache_take_the_place_of_onnx_files(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTORA_PLANS", str(tmp_path / "plans"))
    cache, artifact = PlanCache(), read_artifact(model)
    static = plan_facts(artifact, "9.0")
    static["profile"]["smallest"] = static["profile"]["largest"]
    for key, plan, facts in (
        ("a1", b"for 8.9", plan_facts(artifact, "8.9")),
        ("b2", b"for 9.0", plan_facts(artifact, "9.0")),
        ("c3", b"static", static),
        ("d4", b"no weights", plan_facts(artifact, "8.6", strip_weights=True)),
        ("e5", b"other", {**plan_facts(artifact, "8.0"), "onnx": "0" * 64}),
    ):
        cache.store(key, CachedPlan(plan, facts))
    written = export_repository(
        [model], tmp_path / "repo", server=ServerOptions(plans=True, max_batch=8)
    )
    assert [(one.platform, one.max_batch) for one in written[:2]] == [
        ("tensorrt_plan", 1),
        ("onnxruntime_onnx", 8),  # there is none for 16-bit photos
    ]
    folder = tmp_path / "repo" / "tiny"
    config = read_config(folder)
    assert dict(config.cc_model_filenames) == {
        "8.9": "model_sm89.plan",
        "9.0": "model_sm90.plan",
    }
    assert (folder / "1" / "model_sm89.plan").read_bytes() == b"for 8.9"
    assert (folder / "1" / "model_sm90.plan").read_bytes() == b"for 9.0"
    assert config.platform == "tensorrt_plan"
    assert len(names_in(folder / "1")) == 2


def test_settings_of_another_format_are_refused(model: Path, tmp_path: Path) -> None:
    export_repository([model], tmp_path / "repo")
    path = tmp_path / "repo" / "restora-photo" / "1" / "settings.json"
    values = json.loads(path.read_text())
    for change, words in (
        ({"format": 2}, "export the repository again"),
        ({"networks": []}, "must name an upsampler"),
        ({"restore": {"tiles": 3}}, "cannot be used"),
    ):
        with pytest.raises(OptionError, match=words):
            settings_from_json(json.dumps({**values, **change}))
    with pytest.raises(OptionError, match="cannot be used"):
        settings_from_json("no JSON")
