"""`restora restore`: flags, exit codes, signals, kills."""

import json
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

from fakes import tiny_artifact
from processes import kill_after, run, start
from restora.image import Photo, read_photo, write_photo


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    (folder / "tiny.onnx").write_bytes(tiny_artifact(scale=2, io="uint8").onnx)
    (folder / "tiny.float32.onnx").write_bytes(tiny_artifact(scale=2, io="float32").onnx)
    return folder / "tiny.onnx"


def make_photo(path: Path, size: tuple[int, int] = (20, 12), seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_photo(Photo(pixels), path)
    return path


def rows_of(output: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.splitlines()]


def test_one_photo_is_restored_and_reported(model: Path, tmp_path: Path) -> None:
    make_photo(tmp_path / "old.png")
    arguments = ["restore", "-i", "old.png", "-o", "new.png", "-n", model, "--json", "--compare"]
    result = run(tmp_path, *arguments)
    assert result.returncode == 0, result.stderr
    (row,) = rows_of(result.stdout)
    assert row["status"] == "restored"
    assert row["output_size"] == [40, 24]
    assert row["model"] == "tiny"
    assert read_photo(tmp_path / "new.png").pixels.shape == (24, 40, 3)
    assert read_photo(tmp_path / "new_compare.jpg").width == 82


def test_one_bad_file_of_many_costs_only_itself(model: Path, tmp_path: Path) -> None:
    for index in range(5):
        make_photo(tmp_path / "in" / f"{index}.png", seed=index)
    (tmp_path / "in" / "bad.png").write_bytes(b"")
    (tmp_path / "in" / "half.jpg").write_bytes(
        make_photo(tmp_path / "whole.jpg").read_bytes()[:300]
    )
    (tmp_path / "in" / "notes.txt").write_text("not a picture")
    result = run(tmp_path, "restore", "-i", "in", "-o", "out", "-n", model, "--json")
    assert result.returncode == 3
    status = {Path(str(row["input"])).name: row["status"] for row in rows_of(result.stdout)}
    assert status.pop("notes.txt") == "skipped"
    assert status.pop("bad.png") == "failed"
    assert status.pop("half.jpg") == "failed"
    assert set(status.values()) == {"restored"}
    assert sorted(path.name for path in (tmp_path / "out").glob("[!.]*")) == [
        f"{index}.png" for index in range(5)
    ]
    assert "bad.png is empty" in result.stderr


def test_a_second_run_does_nothing_and_overwrite_does_it_again(model: Path, tmp_path: Path) -> None:
    make_photo(tmp_path / "in" / "a.png")
    arguments = ["restore", "-i", "in", "-o", "out", "-n", model, "--json"]
    assert rows_of(run(tmp_path, *arguments).stdout)[0]["status"] == "restored"
    before = (tmp_path / "out" / "a.png").stat().st_mtime_ns
    (row,) = rows_of(run(tmp_path, *arguments).stdout)
    assert (row["status"], row["reason"]) == ("skipped", "already done")
    assert (tmp_path / "out" / "a.png").stat().st_mtime_ns == before
    (row,) = rows_of(run(tmp_path, *arguments, "--overwrite").stdout)
    assert row["status"] == "restored"


def test_a_dry_run_writes_nothing(model: Path, tmp_path: Path) -> None:
    make_photo(tmp_path / "in" / "a.jpg")
    result = run(tmp_path, "restore", "-i", "in", "-o", "out", "-n", model, "--dry-run")
    assert result.returncode == 0
    assert "in/a.jpg -> out/a.jpg" in result.stderr
    assert not (tmp_path / "out").exists()


def test_16_bit_photos_with_alpha_go_through_the_float_artifact(
    model: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 65536, (9, 7, 3)).astype(np.uint16)
    alpha = rng.integers(0, 65536, (9, 7)).astype(np.uint16)
    write_photo(Photo(pixels, alpha), tmp_path / "deep.png")
    result = run(tmp_path, "restore", "-i", "deep.png", "-o", "out.png", "-n", model)
    assert result.returncode == 0, result.stderr
    photo = read_photo(tmp_path / "out.png")
    assert photo.pixels.dtype == np.uint16
    assert photo.pixels.shape == (18, 14, 3)
    assert photo.alpha is not None


def test_underscore_spellings_and_published_flags_are_taken(model: Path, tmp_path: Path) -> None:
    make_photo(tmp_path / "a.png", (50, 40))
    result = run(
        tmp_path, "restore", "--input", "a.png", "--output", "out", "--model_name", model,
        "--outscale", "1.5", "--tile", "24", "--tile_pad=4", "--pre_pad", "2", "--suffix", "out",
        "--alpha_upsampler", "realesrgan", "--ext", "jpg", "--fp32", "--on_error", "stop",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    photo = read_photo(tmp_path / "out" / "a_out.jpg")
    assert (photo.width, photo.height) == (75, 60)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["-i", "nowhere"], 2, "nowhere does not exist"),
        (["-i", "a.png", "-o", "a.png"], 2, "overwritten by its own result"),
        (["-i", "a.png", "--tile", "big"], 2, "--tile must be auto, 0 or a number"),
        (["-i", "a.png", "--outscale", "0"], 2, "outscale must be a number above 0"),
        (["-i", "a.png", "--ext", "gif"], 2, "--ext"),
        (["-i", "a.png", "-n", "RealESRGAN_x4pluss"], 5, "did you mean RealESRGAN_x4plus"),
        (["-i", "a.png", "-n", "RealESRGAN_x4plus"], 5, "restora models fetch RealESRGAN_x4plus"),
        (["-i", "a.png", "-n", "GFPGANv1.4"], 2, "model of kind face, upsampler is needed"),
        (["-i", "a.png", "-n", "missing.onnx"], 5, "missing.onnx"),
        (["-i", "a.png", "-dn", "0.5"], 2, "realesr-general-x4v3 only"),
        (["-i", "a.png", "--face-enhance"], 5, "restora models fetch GFPGANv1.4"),
        (["-i", "a.png", "-g", "0"], 6, "tensorrt, cuda: no NVIDIA driver"),
        (["-i", "a.png", "--max-pixels", "100"], 4, "the limit is 0.0001"),
        (["-i", "a.png", "--max-output-pixels", "100"], 4, "max_output_pixels"),
    ],
)
def test_wrong_usage_is_said_with_its_exit_code(
    arguments: list[str], code: int, message: str, model: Path, tmp_path: Path
) -> None:
    make_photo(tmp_path / "a.png")
    named = [] if "-n" in arguments or "-dn" in arguments else ["-n", str(model)]
    result = run(tmp_path, "restore", "-o", "out", *named, *arguments)
    assert result.returncode == code, result.stderr
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


def test_a_linked_output_folder_is_not_left(model: Path, tmp_path: Path) -> None:
    make_photo(tmp_path / "in" / "sub" / "a.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "sub").symlink_to(tmp_path / "elsewhere")
    result = run(tmp_path, "restore", "-i", "in", "-o", "out", "-n", model, "--recursive")
    assert result.returncode != 0
    assert "outside" in result.stderr
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.slow
def test_killed_runs_leave_no_broken_file_and_redo_nothing(model: Path, tmp_path: Path) -> None:
    for index in range(24):
        make_photo(tmp_path / "in" / f"{index:02}.png", (400, 300), seed=index)
    arguments = ["restore", "-i", "in", "-o", "out", "-n", model, "--json"]
    done: dict[str, int] = {}
    rng = np.random.default_rng(0)
    for _ in range(8):
        kill_after(start(tmp_path, *arguments), int(rng.integers(1, 4)))
        for path in (tmp_path / "out").glob("[0-9]*.png"):
            assert read_photo(path).pixels.shape == (600, 800, 3)
            written = path.stat().st_mtime_ns
            assert done.setdefault(path.name, written) == written
    assert run(tmp_path, *arguments).returncode == 0
    finished = sorted((tmp_path / "out").glob("[0-9]*.png"))
    assert len(finished) == 24
    for path in finished:
        assert done.get(path.name, path.stat().st_mtime_ns) == path.stat().st_mtime_ns


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_the_run_with_their_own_code(
    number: signal.Signals, code: int, model: Path, tmp_path: Path
) -> None:
    for index in range(60):
        make_photo(tmp_path / "in" / f"{index:02}.png", (800, 600), seed=index)
    process = start(tmp_path, "restore", "-i", "in", "-o", "out", "-n", model, "--json")
    assert process.stdout is not None
    process.stdout.readline()  # the first photo is done
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "run again to go on" in err
    assert not list((tmp_path / "out").glob(".*.part"))


def test_a_full_disk_ends_the_run_with_a_clear_error(model: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path / "out")]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs is not permitted here")
    try:
        for index in range(4):
            make_photo(tmp_path / "in" / f"{index}.png", (300, 300), seed=index)
        result = run(tmp_path, "restore", "-i", "in", "-o", "out", "-n", model, "--json")
        assert result.returncode in (3, 6)
        assert "No space left" in result.stderr
        statuses = [row["status"] for row in rows_of(result.stdout)]
        assert len(statuses) == 4
        assert "failed" in statuses
        assert not list((tmp_path / "out").rglob(".*.part"))
    finally:
        subprocess.run(["umount", str(tmp_path / "out")], check=True)
