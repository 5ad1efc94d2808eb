"""Facts that only a real GPU shows; the benchmarks' check of a machine covers full-size networks.

Run with `pytest -m gpu`; they are left out where there is no NVIDIA driver.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from fakes import tiny_artifact, with_selfcheck
from restora.artifact import Artifact, SelfCheck
from restora.backends import PlanOptions, SessionOptions, open_session
from restora.backends.tensorrt.cuda import Device, import_pycuda
from restora.backends.tensorrt.open import open_tensorrt
from restora.backends.tensorrt.session import TensorRTSession
from restora.tiling import Tiling, run_tiles

pytestmark = pytest.mark.gpu

OPTIONS = SessionOptions(
    backend="tensorrt", precision="fp32", plans=PlanOptions(tile=64, batches=(2,), max_tile=128)
)
LEAK_BYTES = 64 << 20


def checked() -> Artifact:
    artifact = tiny_artifact()
    image = np.random.default_rng(0).integers(0, 256, (2, 16, 24, 3), np.uint8)
    session = open_session(artifact, options=SessionOptions(backend="cpu"))
    return with_selfcheck(artifact, SelfCheck(image, session.run(image)))


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TensorRTSession]:
    monkeypatch.setenv("RESTORA_PLANS", str(tmp_path / "plans"))
    opened, _ = open_tensorrt([checked()], OPTIONS)
    yield opened
    opened.close()


def test_a_photo_is_restored_as_on_the_cpu(session: TensorRTSession) -> None:
    photo = np.random.default_rng(1).integers(0, 256, (200, 170, 3), np.uint8)
    tiling = Tiling(size=64, overlap=16, fixed=True)
    cpu = open_session(tiny_artifact(), options=SessionOptions(backend="cpu"))
    expected = run_tiles(photo, cpu.run, scale=2, tiling=tiling, multiple=2)
    for _ in range(4):  # plainly, while a graph is captured, and from the graph
        got = session.run_tiles(photo, tiling=tiling)
        assert np.abs(got.astype(int) - expected).max() <= 1


def test_threads_share_a_session(session: TensorRTSession) -> None:
    photos = [np.full((100 + 2 * n, 90, 3), 10 * n, np.uint8) for n in range(12)]
    tiling = Tiling(size=64, overlap=16, fixed=True)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda photo: session.run_tiles(photo, tiling=tiling), photos))
    for number, result in enumerate(results):
        assert result.shape == (200 + 4 * number, 180, 3)


def test_closing_gives_the_memory_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTORA_PLANS", str(tmp_path / "plans"))
    cuda = import_pycuda()
    device = Device(cuda)
    free = []
    for _ in range(5):
        opened, _ = open_tensorrt([checked()], OPTIONS)
        opened.run(np.zeros((2, 64, 64, 3), np.uint8))
        opened.close()
        with device.current():
            free.append(cuda.mem_get_info()[0])
    device.close()
    assert free[0] - free[-1] < LEAK_BYTES
