"""Facts about remembered self-checks: what a later start need not repeat."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fakes import open_on_cpu, tiny_artifact, with_selfcheck
from restora.artifact import AccuracyGate, Artifact, SelfCheck, find_gate
from restora.backends import passed_checks
from restora.backends.base import Batch
from restora.backends.onnxruntime_cpu import OnnxRuntimeCpuSession
from restora.backends.options import CpuOptions
from restora.backends.self_check import check_answer
from restora.errors import AccuracyGateError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RESTORA_CHECKS", str(tmp_path / "checks"))
    return tmp_path / "checks"


class CountingSession(OnnxRuntimeCpuSession):
    runs = 0

    def run(self, batch: Batch) -> Batch:
        self.runs += 1
        return super().run(batch)


def checked(*, off_by: int = 1) -> Artifact:
    """off_by: gray levels by which the answer is wrong; 1 level is 48.1 dB, 3 are 38.6 dB."""
    image = np.random.default_rng(0).integers(0, 200, (1, 16, 24, 3), np.uint8)
    answer = open_on_cpu(tiny_artifact()).run(image) + np.uint8(off_by)
    return with_selfcheck(tiny_artifact(precision="int8"), SelfCheck(image, answer))


def runs_of(artifact: Artifact, threads: int = 1, *, remember: bool = True) -> int:
    """How often a new session runs for its self-check."""
    session = CountingSession(artifact, CpuOptions(threads=threads))
    figures = check_answer(session, artifact, gate=passed_gate(artifact), remember=remember)
    assert figures == pytest.approx((48.13, 48.13), abs=0.01)
    return session.runs


def passed_gate(artifact: Artifact) -> AccuracyGate:
    return find_gate(artifact.info)


def test_a_self_check_that_passed_is_not_repeated_at_the_next_start() -> None:
    artifact = checked()
    assert [runs_of(artifact) for _ in range(3)] == [1, 0, 0]
    assert runs_of(artifact, remember=False) == 1


def test_it_is_repeated_with_another_setup_runtime_version_processor_or_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    artifact = checked()
    assert runs_of(artifact) == 1
    assert runs_of(artifact, threads=2) == 1
    with monkeypatch.context() as changed:
        changed.setattr("onnxruntime.__version__", "99.0")
        assert runs_of(artifact) == 1
    for name in ("name_cpu", "__version__"):
        with monkeypatch.context() as changed:
            other = (lambda: "another CPU") if name == "name_cpu" else "99.0"
            changed.setattr(passed_checks, name, other)
            assert runs_of(artifact) == 1
    other_file = with_selfcheck(tiny_artifact(precision="int8", model="other"), check_of(artifact))
    assert runs_of(other_file) == 1


def check_of(artifact: Artifact) -> SelfCheck:
    found = artifact.read_selfcheck()
    assert found is not None
    return found


def test_a_failed_self_check_is_measured_again() -> None:
    artifact = checked(off_by=3)
    for _ in range(2):
        session = CountingSession(artifact)
        with pytest.raises(AccuracyGateError, match=r"it reaches 38\.6"):
            check_answer(session, artifact, gate=passed_gate(artifact))
        assert session.runs == 1


def test_figures_that_were_kept_are_held_to_the_gate_of_today() -> None:
    artifact = checked()
    runs_of(artifact)
    session = CountingSession(artifact, CpuOptions(threads=1))
    with pytest.raises(AccuracyGateError, match="50 dB mean"):
        check_answer(session, artifact)
    assert not session.runs


@pytest.mark.parametrize("damage", ["{", "[]", '{"format": 2}', "\x00"])
def test_a_damaged_file_leads_to_another_run(damage: str, folder: Path) -> None:
    artifact = checked()
    runs_of(artifact)
    (path,) = folder.iterdir()
    path.write_text(damage)
    assert runs_of(artifact) == 1
    assert json.loads(path.read_text())["artifact"] == artifact.sha256
    assert runs_of(artifact) == 0


def test_a_folder_that_others_can_write_is_not_trusted(folder: Path) -> None:
    artifact = checked()
    runs_of(artifact)
    folder.chmod(0o777)
    assert runs_of(artifact) == 1


def test_no_folder_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passed_checks, "cache_folder", lambda *_names, **_options: None)
    assert [runs_of(checked()) for _ in range(2)] == [1, 1]
