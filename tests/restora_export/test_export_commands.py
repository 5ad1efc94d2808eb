"""Facts about the commands that make, check and find artifacts, run as users run them."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fakes import open_on_cpu, tiny_artifact
from processes import environment, run
from recipe import fill_network
from restora.artifact import read_artifact
from restora.errors import (
    CheckpointError,
    ChecksumError,
    MissingModelError,
    OptionError,
    OutputError,
    UnsafePathError,
)
from restora.image import Photo, read_photo, write_photo
from restora.models.resolve import artifact_finder, find_or_export
from restora_export import checkpoint
from restora_export.checkpoint import load_checkpoint, network_from_checkpoint
from restora_export.files import find_checkpoint
from restora_export.reference import RRDBNet, SRVGGNetCompact
from restora_export.target import check_target
from restora_export.verify import measure_accuracy


def save_rrdb(path: Path, seed: int = 3) -> Path:
    network = fill_network(RRDBNet(2, 8, 4, 1), seed, "rrdb")
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"params_ema": network.state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, its artifact as `restora export` made it, and a photo."""
    folder = tmp_path_factory.mktemp("work")
    save_rrdb(folder / "net.pth")
    pixels = np.random.default_rng(0).integers(0, 256, (30, 41, 3), np.uint8)
    write_photo(Photo(pixels), folder / "old.png")
    result = run(folder, "export", "net.pth", "-o", "net.onnx")
    assert result.returncode == 0, result.stderr
    assert "PSNR" in result.stderr
    return folder


def test_export_verify_and_restore_follow_each_other(folder: Path) -> None:
    verified = run(folder, "verify", "net.onnx", "--json")
    assert verified.returncode == 0, verified.stderr
    figures = json.loads(verified.stdout)
    assert figures["passed"]
    assert figures["max_error"] <= 1 / 255 + 1e-6
    restored = run(folder, "restore", "-i", "old.png", "-o", "new.png", "-n", "net.onnx")
    assert restored.returncode == 0, restored.stderr
    assert read_photo(folder / "new.png").pixels.shape == (60, 82, 3)


def test_verify_prints_measured_beside_the_gate(folder: Path) -> None:
    verified = run(folder, "verify", "net.onnx", "-c", "net.pth")
    assert verified.returncode == 0, verified.stderr
    assert "max error" in verified.stdout
    assert "passed" in verified.stdout


def test_verify_fails_an_artifact_that_computes_something_else(folder: Path) -> None:
    other = tiny_artifact(weights_sha256=read_artifact(folder / "net.onnx").info.weights_sha256)
    (folder / "other.onnx").write_bytes(other.onnx)
    verified = run(folder, "verify", "other.onnx", "-c", "net.pth")
    assert verified.returncode == 5
    assert "failed" in verified.stdout
    assert "gate" in verified.stderr


def test_verify_needs_the_checkpoint_it_was_made_from(folder: Path) -> None:
    save_rrdb(folder / "elsewhere" / "other.pth", seed=4)
    verified = run(folder, "verify", "net.onnx", "-c", "elsewhere/other.pth")
    assert verified.returncode != 0
    assert "SHA-256" in verified.stderr or "sha256" in verified.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["export", "none.pth"], 5, "none.pth"),
        (["export", "old.png"], 5, "old.png"),
        (["export", "net.pth", "--interpolate", "net.pth"], 2, "FILE:SHARE"),
        (["export", "net.pth", "--interpolate", "net.pth:1.5"], 2, "0..1"),
        (["verify", "none.onnx"], 5, "none.onnx"),
        (["models", "fetch", "RealESRGAN_x4"], 5, "RealESRGAN_x4plus"),
    ],
)
def test_wrong_arguments_are_answered_in_one_line(
    folder: Path, arguments: list[str], code: int, words: str
) -> None:
    result = run(folder, *arguments)
    assert result.returncode == code, result.stderr
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_models_are_listed_with_what_is_here(folder: Path) -> None:
    rows = [json.loads(line) for line in run(folder, "models", "--json").stdout.splitlines()]
    by_name = {row["name"]: row for row in rows}
    assert by_name["restora-lite-x2"]["present"] == ["bundled"]
    assert by_name["RealESRGAN_x4plus"]["present"] == []
    assert "RealESRGAN_x4plus" in run(folder, "models").stdout


def test_the_doctor_tries_the_default_model(folder: Path) -> None:
    result = run(folder, "doctor", "--json")
    assert result.returncode == 0
    findings = {row["what"]: row for row in json.loads(result.stdout)["findings"]}
    assert findings["default model"]["state"] == "ok"
    assert findings["CPU session"]["detail"].startswith("onnxruntime")


def test_a_checkpoint_is_exported_on_first_use_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTORA_MODELS", str(tmp_path / "models"))
    source = save_rrdb(tmp_path / "mine.pth")
    find = artifact_finder(str(source), None)
    wanted = (str(source), "uint8", "upsampler")
    artifact = find(*wanted)
    assert read_artifact(artifact).info.model == "mine"
    stamp = artifact.stat().st_mtime_ns
    assert find(*wanted) == artifact
    assert artifact.stat().st_mtime_ns == stamp
    save_rrdb(source, seed=9)
    assert artifact_finder(str(source), None)(*wanted) != artifact


def test_denoise_strength_mixes_the_published_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTORA_MODELS", str(tmp_path))
    names = ("realesr-general-x4v3", "realesr-general-wdn-x4v3")
    for seed, name in enumerate(names):
        network = fill_network(SRVGGNetCompact(4, 8, 2, "prelu"), seed, "srvgg")
        torch.save({"params": network.state_dict()}, tmp_path / f"{name}.pth")
        monkeypatch.delitem(checkpoint._PUBLISHED, f"{name}.pth")
    artifact = artifact_finder(names[0], 0.25)(names[0], "float32", "upsampler")
    mixed = load_checkpoint(tmp_path / f"{names[0]}.pth")
    other = load_checkpoint(tmp_path / f"{names[1]}.pth")
    state = {key: 0.25 * mixed.state[key] + 0.75 * other.state[key] for key in mixed.state}
    reference = network_from_checkpoint(replace(mixed, state=state))
    with closing(open_on_cpu(artifact)) as session:
        assert measure_accuracy(session, reference).max_error < 1e-5


def test_denoise_strength_is_for_one_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTORA_MODELS", str(tmp_path))
    with pytest.raises(OptionError, match="works with realesr-general-x4v3 only"):
        artifact_finder("RealESRGAN_x4plus", 0.5)
    with pytest.raises(OptionError, match="must be in"):
        artifact_finder("realesr-general-x4v3", 1.5)
    with pytest.raises(MissingModelError, match="models fetch realesr-general-x4v3"):
        artifact_finder("realesr-general-x4v3", 0.5)


def test_a_published_name_with_other_content_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTORA_MODELS", str(tmp_path))
    save_rrdb(tmp_path / "RealESRGAN_x2plus.pth")
    with pytest.raises(ChecksumError, match=r"must have the SHA-256 .* it is damaged"):
        find_or_export("RealESRGAN_x2plus", "uint8", "upsampler")


def test_a_result_is_replaced_only_when_asked(folder: Path) -> None:
    before = (folder / "net.onnx").read_bytes()
    (folder / "net.onnx").write_bytes(before + b"x")
    refused = run(folder, "export", "net.pth", "-o", "net.onnx")
    assert refused.returncode == 2, refused.stderr
    assert "net.onnx exists already: give --overwrite to replace it" in refused.stderr
    assert (folder / "net.onnx").read_bytes() == before + b"x"
    replaced = run(folder, "export", "net.pth", "-o", "net.onnx", "--overwrite")
    assert replaced.returncode == 0, replaced.stderr
    assert (folder / "net.onnx").read_bytes() == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_result_goes_to_a_plain_file_or_nowhere(tmp_path: Path, overwrite: bool) -> None:
    source = tmp_path / "net.pth"
    source.write_bytes(b"weights")
    (tmp_path / "link.onnx").symlink_to(source)
    (tmp_path / "loose.onnx").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.onnx")
    (tmp_path / "same.onnx").hardlink_to(source)
    cases: list[tuple[str, type[Exception], str]] = [
        ("link.onnx", UnsafePathError, "is a link"),
        ("loose.onnx", UnsafePathError, "is a link"),
        ("pipe.onnx", OutputError if overwrite else OptionError, "no regular file|exists already"),
        ("same.onnx", OptionError, "is the checkpoint itself"),
        ("net.pth", OptionError, "is the checkpoint itself"),
        (".", OptionError, "is a folder"),
        ("none/net.onnx", OutputError, "does not exist"),
        (f"{'a' * 5000}.onnx", OutputError, "cannot be written"),
    ]
    for name, error, message in cases:
        with pytest.raises(error, match=message):
            check_target(tmp_path / name, [source], overwrite=overwrite)
    check_target(tmp_path / "new.onnx", [source], overwrite=overwrite)


@pytest.mark.parametrize("name", ["", "a" * 5000, "pipe.pth", "folder.pth"])
@pytest.mark.parametrize("command", ["export", "verify", "restore"])
def test_what_is_no_file_is_answered_in_one_line(
    folder: Path, command: str, name: str, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    (tmp_path / "folder.pth").mkdir()
    output = tmp_path / "result"
    arguments = {
        "export": ["export", name, "-o", output],
        "verify": ["verify", name],
        "restore": ["restore", "-i", folder / "old.png", "-o", output, "-n", name],
    }[command]
    result = run(tmp_path, *arguments)
    assert result.returncode in (2, 5), result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr) < 1500
    assert not output.is_file()


def test_only_regular_files_are_looked_through_for_a_checkpoint(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RESTORA_MODELS", str(tmp_path / "none"))
    os.mkfifo(tmp_path / "a.pth")
    (tmp_path / "b.pth").symlink_to("/dev/zero")
    (tmp_path / "c.pth").mkdir()
    (tmp_path / "d.pth").touch()
    os.truncate(tmp_path / "d.pth", (2 << 30) + 1)
    shutil.copy(folder / "net.pth", tmp_path / "e.pth")
    digest = hashlib.sha256((folder / "net.pth").read_bytes()).hexdigest()
    assert find_checkpoint(digest, near=tmp_path) == tmp_path / "e.pth"
    assert "d.pth has 2147483649 bytes" in caplog.text
    with pytest.raises(MissingModelError, match="give it with --checkpoint"):
        find_checkpoint("0" * 64, near=tmp_path)


def test_a_checkpoint_that_is_no_regular_file_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTORA_MODELS", str(tmp_path / "models"))
    os.mkfifo(tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match="it is a named pipe"):
        find_or_export(str(tmp_path / "net.pth"), "uint8", "upsampler")
    with pytest.raises(MissingModelError, match="no checkpoint at"):
        find_or_export(str(tmp_path / "none.pth"), "uint8", "upsampler")
    (tmp_path / "models").mkdir()
    os.mkfifo(tmp_path / "models" / "RealESRGAN_x4plus.pth")
    with pytest.raises(MissingModelError, match="models fetch RealESRGAN_x4plus"):
        find_or_export("RealESRGAN_x4plus", "uint8", "upsampler")


def test_exported_artifacts_go_into_a_plain_folder_under_short_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTORA_MODELS", str(tmp_path / "models"))
    name = "é" * 120  # of 240 bytes
    source = save_rrdb(tmp_path / f"{name}.pth")
    artifact = find_or_export(str(source), "uint8", "upsampler")
    assert read_artifact(artifact).info.model == name
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("RESTORA_MODELS", str(tmp_path / "other"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "exported").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafePathError, match="is a link"):
        find_or_export(str(source), "uint8", "upsampler")
    monkeypatch.setenv("RESTORA_MODELS", str(source))  # a file
    with pytest.raises(OutputError, match="RESTORA_MODELS chooses another"):
        find_or_export(str(source), "uint8", "upsampler")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_user_without_a_home_directory_restores_with_the_bundled_model(tmp_path: Path) -> None:
    write_photo(Photo(np.full((8, 8, 3), 90, np.uint8)), tmp_path / "old.png")
    code = (
        "import pwd, sys; pwd.getpwuid = {}.__getitem__; "  # knows nobody: KeyError
        "sys.modules['openvino'] = None; "  # its telemetry needs a home directory
        "from restora.cli import main; sys.argv = ['restora', *sys.argv[1:]]; main()"
    )
    wanted = {
        name: value
        for name, value in environment(tmp_path).items()
        if name not in ("HOME", "XDG_CACHE_HOME", "RESTORA_MODELS", "RESTORA_PLANS")
    }
    for arguments in (["restore", "-i", "old.png", "-o", "new.png"], ["models"]):
        result = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=tmp_path,
            env=wanted,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0, result.stderr
        assert "Traceback" not in result.stderr
    assert read_photo(tmp_path / "new.png").pixels.shape == (16, 16, 3)
    assert "RESTORA_MODELS sets it" in result.stdout
