"""Facts about the networks that find and repair damage, as plans: their inputs and outputs have
other numbers of channels than pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from damage_fakes import MAGENTA, detector_artifact, gray_picture, repairer_artifact
from fakes import open_on_cpu, with_selfcheck
from plans_fakes import working_tensorrt
from restora.artifact import Artifact, SelfCheck
from restora.backends import PlanOptions, SessionOptions
from restora.backends.tensorrt.build_options import BuildOptions
from restora.backends.tensorrt.check import PrecisionCandidate, check_gate
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.open import session_on
from restora.backends.tensorrt.session import TensorRTSession
from restora.damage.networks import DamageFinder, PhotoRepairer
from restora.errors import RefusedPlanError
from restora.image import Photo
from tensorrt_double import VERSIONS

ARTIFACTS = {"detector": detector_artifact, "repairer": repairer_artifact}


@pytest.fixture(autouse=True)
def _plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTORA_PLANS", str(tmp_path / "plans"))


def open_plans(artifact: Artifact, version: str = VERSIONS[-1]) -> TensorRTSession:
    cpu, info = open_on_cpu(artifact), artifact.info
    image = np.random.default_rng(0).integers(0, 256, (2, 32, 64, info.input_channels), np.uint8)
    checked = with_selfcheck(artifact, SelfCheck(image, cpu.run(image)))
    trt = working_tensorrt(version)
    trt.world.network = cpu.run
    options = SessionOptions(
        backend="tensorrt", plans=PlanOptions(tile=64, max_tile=96, batches=(2,))
    )
    session, _ = session_on(trt, Device(trt.world.cuda), [checked], options)
    return session


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ARTIFACTS)
def test_plans_answer_as_the_cpu_does(name: str, version: str) -> None:
    artifact = ARTIFACTS[name]()
    batch = np.random.default_rng(1).integers(
        0, 256, (3, 64, 64, artifact.info.input_channels), np.uint8
    )
    session, cpu = open_plans(artifact, version), open_on_cpu(artifact)
    for _ in range(3):  # plainly, while a graph is captured, and from the graph
        got = session.run(batch)
        assert got.shape == (3, 64, 64, artifact.info.output_channels)
        np.testing.assert_array_equal(got, cpu.run(batch))
    session.close()


def test_photos_that_are_larger_than_the_largest_tile_are_repaired() -> None:
    pixels = gray_picture(150, 230)
    pixels[70, 20:200] = MAGENTA
    photo = Photo(pixels)
    finder = DamageFinder(open_plans(detector_artifact()))
    repairer = PhotoRepairer(open_plans(repairer_artifact()))
    found = finder.find(photo)
    np.testing.assert_array_equal(found, DamageFinder(open_on_cpu(detector_artifact())).find(photo))
    repaired = repairer.repair(photo, found > 127).pixels
    assert not (repaired == MAGENTA).all(2).any()


def test_a_mask_has_its_own_gate_below_fp32() -> None:
    """Probabilities of damage need less accuracy than pictures."""
    for artifact, precision, passes in (
        (detector_artifact(), "fp16", True),
        (detector_artifact(), "fp32", False),
        (repairer_artifact(), "fp16", False),
    ):
        candidate = PrecisionCandidate(BuildOptions(precision=precision), artifact)  # type: ignore[arg-type]
        if passes:
            check_gate(candidate, 42, 37)
        else:
            with pytest.raises(RefusedPlanError, match=r"42\.0 dB mean and 37\.0 dB min"):
                check_gate(candidate, 42, 37)
