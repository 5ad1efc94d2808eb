"""The networks for damage on TensorRT, which only a real GPU runs.

Run with `pytest -m gpu`; they are left out where there is no NVIDIA driver.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from restora.artifact import Kind, measure_psnr, read_artifact
from restora.backends import PlanOptions, SessionOptions, open_session
from restora.models import find_artifact

pytestmark = pytest.mark.gpu

MODELS: dict[Kind, str] = {"damage-detector": "restora-damage", "repairer": "restora-repair"}


@pytest.mark.parametrize("kind", MODELS)
def test_a_network_for_damage_passes_its_self_check_and_changes_nothing_else(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTORA_PLANS", str(tmp_path))
    path = find_artifact(MODELS[kind], "uint8", kind)
    options = SessionOptions(backend="tensorrt", plans=PlanOptions(max_tile=512))
    session = open_session(path, options=options)  # builds the engines behind the gate
    known = read_artifact(path).read_selfcheck()
    assert known is not None
    answer = session.run(known.image)
    mean, least = measure_psnr(answer, known.answer)
    assert min(mean, least) > 40
    if kind == "repairer":
        outside = known.image[..., 3] < 128
        assert np.array_equal(answer[outside], known.image[..., :3][outside])
    session.close()
