"""restora restore --gpu: a folder on several GPUs, by the command."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

import device_fakes
from device_fakes import photo_of
from processes import environment, read_rest, run
from restora.backends.driver import Driver
from restora.exit_codes import ExitCode
from restora.jobs.folder import restore_folder
from restora.jobs.options import RunOptions
from restora.pipeline import Restorer


@pytest.fixture(autouse=True)
def three_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restora.jobs.devices.require_driver", lambda: Driver((12, 4), 3))


def test_a_folder_on_two_gpus_is_one_report_and_one_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("restora.cli.restore.Restorer", device_fakes.FakeRestorer)
    for index in range(4):
        photo_of(tmp_path / "in" / f"{index}.png", 20 * index)
    (tmp_path / "in" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    words = ["restore", "-i", "in", "-o", "out", "--gpu", "0,2", "--no-faces"]
    done = run(tmp_path, *words, "--json")
    assert done.returncode == ExitCode.SOME_FAILED, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(row["status"] for row in rows) == ["failed", *["restored"] * 4]
    assert {row["device"] for row in rows} <= {"gpu:0", "gpu:2"}
    done = run(tmp_path, *words, "--overwrite")
    assert "4 restored, 1 failed" in done.stderr
    assert done.stderr.count("tiny runs in") == 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--gpu", "0,7"], ExitCode.ENVIRONMENT, "no gpu:7: it has gpu:0, gpu:1, gpu:2"),
        (["--gpu", "0,x"], ExitCode.USAGE, "--gpu must be all, or numbers of GPUs such as 0,2"),
        (["--gpu", ""], ExitCode.USAGE, "--gpu must be all"),
        (["--gpu", "0,0"], ExitCode.USAGE, "each of devices must be named once"),
        (["--gpu", "0,99999"], ExitCode.USAGE, "device must be one of"),
        (["--gpu", "all", "--gpu-id", "1"], ExitCode.USAGE, "contradict each other"),
    ],
)
def test_gpus_that_cannot_be_used_are_one_line(
    words: list[str], code: ExitCode, message: str, tmp_path: Path
) -> None:
    photo_of(tmp_path / "in" / "a.png")
    done = run(tmp_path, "restore", "-i", "in", "-o", "out", "--no-faces", *words)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert done.stderr.count("error:") == 1


def test_on_a_machine_with_one_gpu_all_is_that_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def open_here(*_: object, device: str, **__: object) -> Restorer:
        opened.append(device)
        return device_fakes.FakeRestorer(device=device)

    monkeypatch.setattr("restora.jobs.devices.require_driver", lambda: Driver((12, 4), 1))
    monkeypatch.setattr("restora.cli.restore.Restorer", open_here)
    photo_of(tmp_path / "in" / "a.png")
    done = run(tmp_path, "restore", "-i", "in", "-o", "out", "--gpu", "all", "--no-faces")
    assert done.returncode == 0, done.stderr
    assert opened == ["gpu:0"]


_PROGRAM = """
import sys
import device_fakes, restora.cli.restore, restora.jobs.devices
from restora.backends.driver import Driver
from restora.cli import main

restora.jobs.devices.require_driver = lambda: Driver((12, 4), 3)
restora.cli.restore.Restorer = device_fakes.FakeRestorer
sys.argv = ["restora", *sys.argv[1:]]
main()
"""


@pytest.mark.slow
def test_ctrl_c_finishes_what_every_gpu_is_at_and_the_next_run_does_the_rest(
    tmp_path: Path,
) -> None:
    for index in range(300):
        photo_of(tmp_path / "in" / f"{index:03}.png", index % 200)
    words = ["restore", "-i", "in", "-o", "out", "--gpu", "all", "--no-faces", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**environment(tmp_path), "PYTHONPATH": ":".join(sys.path)},
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = read_rest(process, 120)
    assert process.returncode == ExitCode.INTERRUPTED, err
    assert "finishing the current photos" in err
    rows = [json.loads(line) for line in [first, *out.splitlines()]]
    assert {row["status"] for row in rows} == {"restored"}
    assert len(rows) < 300
    done = {Path(row["output"]).name for row in rows}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {".restora", *done}
    result = restore_folder(
        tmp_path / "in",
        tmp_path / "out",
        partial(device_fakes.FakeRestorer, None),
        options=RunOptions(devices=("gpu:0", "gpu:2")),
    )
    assert result.counts == {"skipped": len(rows), "restored": 300 - len(rows)}
