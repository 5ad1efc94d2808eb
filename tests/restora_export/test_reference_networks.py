"""The reference networks give the published networks' numbers."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from recipe import (
    DATA,
    draw_multiscale,
    draw_raw,
    fill_network,
    network_from_constructor,
    state_sha256,
)
from restora_export.reference import GFPGAN, GFPGANv1Clean, RRDBNet, SRVGGNetCompact
from stored import read_json

VECTORS: dict[str, Any] = read_json(DATA / "vectors" / "index.json.xz")
MANIFESTS: dict[str, Any] = read_json(DATA / "manifests.json.xz")


UPSAMPLERS = [name for name, v in VECTORS.items() if v["arch"] in ("RRDBNet", "SRVGGNetCompact")]
FACES = [name for name, vector in VECTORS.items() if vector["arch"].startswith("GFPGAN")]
PARSERS = [name for name, vector in VECTORS.items() if vector["arch"] == "ParseNet"]
DETECTORS = [name for name, vector in VECTORS.items() if vector["arch"] == "RetinaFace"]


def load_vector(name: str) -> tuple[torch.nn.Module, dict[str, np.ndarray]]:
    """The network with its weights, and the stored arrays."""
    vector = VECTORS[name]
    network = network_from_constructor(vector["arch"], vector["constructor"])
    fill_network(network, vector["seed"], vector["family"])
    assert state_sha256(network.state_dict()) == vector["state_sha256"]
    with np.load(DATA / "vectors" / f"{name}.npz") as stored:
        return network, dict(stored)


def assert_as_published(name: str, key: str, got: np.ndarray, arrays: dict[str, Any]) -> None:
    """Within the vector's own tolerance: 16 times its spread over threads and float64.

    Of large arrays a coarse grid and some windows are stored.
    """
    atol = VECTORS[name]["atol"][key]
    if key in arrays:
        np.testing.assert_allclose(got, arrays[key], rtol=0, atol=atol)
        return
    windows = arrays[f"{key}__crops"]
    for window, (y, x) in zip(windows, arrays[f"{key}__crop_yx"], strict=True):
        size = window.shape[-1]
        cut = got[..., y : y + size, x : x + size].reshape(window.shape)
        np.testing.assert_allclose(cut, window, rtol=0, atol=atol)
    if f"{key}__grid16" in arrays:
        packing = VECTORS[name]["packing"][key]
        start, step = packing["grid_start"], packing["grid_step"]
        cut = got[..., start::step, start::step].astype(np.float16).astype(np.float32)
        grid = arrays[f"{key}__grid16"].astype(np.float32)
        np.testing.assert_allclose(cut, grid, rtol=0, atol=atol)


def face_input(name: str) -> torch.Tensor:
    drawn = VECTORS[name]["input"]
    pixels = draw_multiscale(
        name, side=drawn["size"], batch=drawn["batch"], seed=VECTORS[name]["seed"]
    )
    return torch.from_numpy(pixels)


@pytest.mark.parametrize("name", UPSAMPLERS)
def test_an_upsampler_reproduces_its_published_vector(name: str) -> None:
    network, arrays = load_vector(name)
    with torch.inference_mode():
        output = network(torch.from_numpy(arrays["input"])).numpy()
    assert_as_published(name, "output", output, arrays)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=pytest.mark.slow if n == "GFPGANv1Clean_cm2" else [])  # the largest
        for n in FACES
    ],
)
def test_a_face_network_reproduces_its_published_vector(name: str) -> None:
    network, arrays = load_vector(name)
    assert isinstance(network, GFPGAN)
    x = face_input(name)
    if "input" in arrays:
        np.testing.assert_array_equal(x, arrays["input"])
    with torch.inference_mode():
        styles, conditions, features = network.remove_degradation(x)
        results = {"output": network.stylegan_decoder(styles, conditions)}
        for index, picture in enumerate(network.intermediate_pictures(features)):
            results[f"rgb_{index}"] = picture
        if x.shape[-1] <= 64:  # of one network of each kind; the large ones take seconds
            assert torch.equal(network(x), results["output"])
    keys = {key.split("__")[0] for key in arrays} & set(VECTORS[name]["atol"])
    assert {"output", "rgb_0"} <= keys
    for key in keys:
        assert_as_published(name, key, results[key].numpy(), arrays)


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_reproduces_its_published_vector(name: str) -> None:
    network, arrays = load_vector(name)
    with torch.inference_mode():
        scores, picture = network(face_input(name))
    assert_as_published(name, "mask_logits", scores.numpy(), arrays)
    if "image" in arrays:
        assert_as_published(name, "image", picture.numpy(), arrays)
    differing = (scores.argmax(1).numpy() != arrays["labels"]).mean()
    assert differing <= 0.002  # near ties


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_reproduces_its_published_vector(name: str) -> None:
    network, arrays = load_vector(name)
    means = np.array([104, 117, 123], np.float32)
    x = (arrays["input"].astype(np.float32) - means).transpose(2, 0, 1)[None]
    with torch.inference_mode():
        results = network(torch.from_numpy(x.copy()))
    for key, result in zip(("loc", "conf", "landms"), results, strict=True):
        assert_as_published(name, key, result.numpy(), arrays)


def test_noise_is_stored_and_its_strength_can_be_chosen() -> None:
    network = fill_network(GFPGANv1Clean(32, 16, 1, 2, narrow=0.125), seed=1, family="gfpgan_clean")
    x = torch.zeros(1, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(network(x), network(x))
        assert not torch.equal(network(x), network(x, noise=0.0))
        half = network(x, noise=0.5)
        assert not torch.equal(half, network(x))


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_network_has_the_keys_and_shapes_of_the_published_file(name: str) -> None:
    manifest = MANIFESTS[name]
    with torch.device("meta"):
        state = network_from_constructor(
            manifest["architecture"], manifest["constructor"]
        ).state_dict()
    ours = {key: list(value.shape) for key, value in state.items()}
    assert ours == {key: shape for key, shape, _ in manifest["state_dict"]}


def test_the_recipe_draws_the_stated_numbers() -> None:
    for check in json.loads((DATA / "recipe_check.json").read_text())["raw"]:
        raw = draw_raw(check["key"], tuple(check["shape"]), check["seed"]).ravel()
        first = check["first_values"]
        np.testing.assert_array_equal(raw[: len(first)], first)
        assert raw[-1] == check["last_value"]


@pytest.mark.parametrize(("upsamples", "scale", "multiple"), [(0, 1, 1), (1, 2, 1), (3, 8, 1)])
def test_an_rrdbnet_may_have_as_many_upsamples_as_it_needs(
    upsamples: int, scale: int, multiple: int
) -> None:
    network = RRDBNet(scale, 4, 2, 1, upsamples=upsamples).eval()
    assert network.size_multiple == multiple
    assert network(torch.rand(1, 3, 5, 6)).shape == (1, 3, 5 * scale, 6 * scale)


def test_an_impossible_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="must divide 4, got 3"):
        RRDBNet(3)
    with pytest.raises(ValueError, match="prelu, relu or leakyrelu, got 'gelu'"):
        SRVGGNetCompact(activation="gelu")  # type: ignore[arg-type]
